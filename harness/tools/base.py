"""What a built-in tool is, and where it works."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from harness.errors import InputError
from harness.permissions.permission import Kind, Permission
from harness.permissions.permissions import Permissions
from harness.runs import consent
from harness.runs.frontend import Frontend
from harness.runs.run_log import Run
from harness.settings import Settings
from harness.support.stopping.stop_token import StopToken
from harness.terminal.console import Screen


class Arguments(BaseModel):
    """Base class of the arguments of a tool."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where one call of a tool works, and for whom.

    Attributes:
        skills: folders of the skills in use by name, the newest last.
        run: the call's row of the run log.
    """

    permissions: Permissions
    frontend: Frontend
    screen: Screen
    skills: Mapping[str, Path] = field(default_factory=dict)
    run: Run = field(default_factory=Run)
    cancel: StopToken = field(default_factory=StopToken)

    @property
    def settings(self) -> Settings:
        return self.permissions.settings

    @property
    def project(self) -> Path:
        return self.settings.project_dir.resolve()

    def path(self, given: str) -> Path:
        """Return a path of a model without links and "..", relative to the project.

        Raises:
            InputError: it cannot be the path of a file.
        """
        try:
            path = (self.project / Path(given).expanduser()).resolve()
            path.exists()  # raises an error for a name that is too long
        except (OSError, RuntimeError, ValueError) as exc:  # links in a circle, ~nobody, NUL
            reason = getattr(exc, "strerror", None) or exc
            raise InputError(f"it cannot be a path: {reason}", where=given[:200]) from exc
        return path

    def path_to_read(self, given: str) -> Path:
        """Return a path as `path` does; one that is missing there may be in a skill's folder."""
        path = self.path(given)
        if path.exists() or Path(given).is_absolute():
            return path
        for folder in reversed([*self.skills.values()]):
            inside = self.path(str(folder / given))
            if inside.exists() and inside.is_relative_to(folder.resolve()):
                return inside
        return path

    def shown(self, path: Path) -> str:
        """Return a path as models and users see it: relative if it is below the project."""
        inside = path.is_relative_to(self.project)
        return str(path.relative_to(self.project) if inside else path)

    def is_free(self, path: Path) -> bool:
        """Return True if a model may read the resolved path without asking.

        That is below the project, except for the harness's own files, and in the folders of skills.
        """
        if any(path.is_relative_to(folder.resolve()) for folder in self.skills.values()):
            return True
        private = self.settings.config_dir, self.settings.data_dir
        return path.is_relative_to(self.project) and not consent.is_protected(path, private)

    def allow_reading(self, path: Path) -> None:
        """Return if a resolved path may be read; raises as `allow`."""
        if not self.is_free(path):
            self.allow("read", str(path))

    def allow(self, kind: Kind, subject: str, detail: str = "") -> None:
        """Return if the user allows it for the skill that was activated last, if there is one.

        Raises as `Permissions.check`; how it is allowed is recorded.
        """
        name, folder = [*self.skills.items()][-1] if self.skills else ("", None)
        wanted = Permission(kind, subject, detail, name, folder)
        self.run.allow(self.permissions.check(wanted))


class BuiltinTool(ABC):
    """A tool of the harness that a model may call.

    Attributes:
        summary: what it does, for the model.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    Arguments: ClassVar[type[Arguments]]

    @abstractmethod
    def shown(self, given: Any) -> str:
        """Return what a call works on, for the line that the user sees."""

    @abstractmethod
    def call(self, given: Any, place: Workplace) -> Mapping[str, Any]:
        """Do the work and return the result for the model, of limited size.

        Raises:
            NotAllowed: the user does not allow it.
            HarnessError: the call failed.
        """
