"""The base class of the framework's own commands, and their results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.api.skill import Result, Skill

if TYPE_CHECKING:
    from pydantic import BaseModel

    from harness.cli.app import App


class AppCommand(Skill):
    """Base class of commands that show or change the application; they are not logged."""

    logged = False
    tool = False

    def __init__(self, app: App) -> None:
        self._app = app


def result_of(data: BaseModel, text: str, **more: Any) -> Result:
    """Return a result with the fields of a model as data.

    Fields that were not set are left out.
    """
    return Result(text, data.model_dump(mode="json", by_alias=True, exclude_unset=True), **more)
