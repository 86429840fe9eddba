"""What a plugin can give the harness, and what it is told. This page is the table of contents.

    register_skills      commands
    register_backends    what models are served by
    register_frameworks  named YAML files that tell a skill what to look for
    register_formats     files that results can be saved in
    run_started          a command begins
    run_finished         it has ended, well or not

The `register_` hooks are called once, when the plugin is loaded. A plugin may take fewer arguments
than stand here, never others. docs/hooks.md says what may change in which version.
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
"""The version of these hooks and of what `harness` exports; a plugin states the one it was written
for as `harness_api`, and is left out where the first number differs."""
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
    """Call `register(skill)` for each skill the plugin brings."""


@hookspec
def register_backends(register: RegisterBackend, files: FileStore) -> None:
    """Call `register(backend)` for each backend; `files` finds and verifies files of weights."""


@hookspec
def register_frameworks(register: RegisterFramework) -> None:
    """Call `register(name, path)` for each framework: a YAML file that skills are given by name.

    The harness keeps name and path; the skill that is asked for it reads the file, and says what is
    wrong with it. `/annotate --framework NAME` is one such skill.
    """


@hookspec
def register_formats(register: RegisterFormat) -> None:
    """Call `register(format)` for each format: a suffix that `save to PATH` may then have."""


@hookspec
def run_started(run: RunStarted) -> None:
    """A run begins: its line was understood, and its input and targets were not refused.

    Runs that are kept out of the run log are kept from here as well. What a hook raises costs one
    notice and never the run; it is not called again before `/reload`. It should return at once.
    """


@hookspec
def run_finished(run: RunFinished) -> None:
    """The run has ended: done, failed or interrupted. Under the same terms as `run_started`."""
