"""The base classes of the harness's own commands, and of the data of their results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from harness.api.skill import Result, Skill

if TYPE_CHECKING:
    from harness.cli.app import App


class AppCommand(Skill):
    """Base class of the application's commands, which are not logged by default."""

    logged = False
    tool = False

    def __init__(self, app: App) -> None:
        self._app = app


class CommandData(BaseModel):
    """Base class of the data of a command's result; fields that were not set are left out."""

    model_config = ConfigDict(defer_build=True)

    def as_result(self, text: str, **more: Any) -> Result:
        """Return a result with this data and a text for a person; `more` sets other fields."""
        data = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return Result(text, data, **more)
