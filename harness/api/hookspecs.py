"""The hooks of plugins. This page is the table of contents.

    register_skills      commands
    register_backends    engines and servers that run models
    register_frameworks  named YAML files that define what a skill looks for
    register_formats     file formats for results
    run_started          a run has started
    run_finished         a run has ended, with whatever status

The `register_` hooks are called once, when the plugin is loaded. An implementation may take fewer
arguments than listed here, but no others. docs/hooks.md states what may change in which version.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pluggy

if TYPE_CHECKING:
    from harness.api.events import RunFinished, RunStarted
    from harness.api.formats import Format
    from harness.api.skill import Skill
    from harness.models.backends.base import Backend
    from harness.models.weights import FileStore

API_VERSION = "1.0"
"""The version of these hooks and of what `harness` exports. A plugin states the version it was
written for as `harness_api`; it is left out if the major version differs."""
PROJECT = "harness"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class RegisterSkill(Protocol):
    def __call__(self, skill: Skill) -> None: ...


class RegisterBackend(Protocol):
    def __call__(self, backend: Backend) -> None: ...


class RegisterFramework(Protocol):
    def __call__(self, name: str, path: Path) -> None: ...


class RegisterFormat(Protocol):
    def __call__(self, output_format: Format) -> None: ...


@hookspec
def register_skills(register: RegisterSkill) -> None:
    """Call `register(skill)` for each skill of the plugin."""


@hookspec
def register_backends(register: RegisterBackend, files: FileStore) -> None:
    """Call `register(backend)` for each backend; `files` locates and verifies files of weights."""


@hookspec
def register_frameworks(register: RegisterFramework) -> None:
    """Call `register(name, path)` for each framework, a YAML file that skills can use by name.

    The harness stores name and path; the skill reads the file and reports errors in it.
    `/annotate --framework NAME` is one such skill.
    """


@hookspec
def register_formats(register: RegisterFormat) -> None:
    """Call `register(format)` for each format, which `save to PATH` then accepts by its suffix."""


@hookspec
def run_started(run: RunStarted) -> None:
    """Receive the start of a run, after its line, input and targets were accepted.

    Runs that are not logged are not reported here either. An exception raised by a hook is shown as
    one notice and never affects the run; the plugin's hooks are not called again before `/reload`.
    A hook should return at once.
    """


@hookspec
def run_finished(run: RunFinished) -> None:
    """Receive the end of a run: done, failed or interrupted. The rules of `run_started` apply."""
