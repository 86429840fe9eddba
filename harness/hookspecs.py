"""What a plugin can give the harness. Each hook is called once, when the plugin is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pluggy

if TYPE_CHECKING:
    from harness.backends.base import Backend
    from harness.files import FileStore
    from harness.skills import Skill

PROJECT = "harness"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class RegisterSkill(Protocol):
    def __call__(self, skill: Skill) -> None: ...


class RegisterBackend(Protocol):
    def __call__(self, backend: Backend) -> None: ...


@hookspec
def register_skills(register: RegisterSkill) -> None:
    """Call `register(skill)` for each skill the plugin brings."""


@hookspec
def register_backends(register: RegisterBackend, files: FileStore) -> None:
    """Call `register(backend)` for each backend; `files` finds and verifies files of weights."""
