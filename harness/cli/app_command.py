"""Base class of the framework's own commands, and their results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.api.skill import Result, Skill

if TYPE_CHECKING:
    from pydantic import BaseModel

    from harness.cli.services import Services


class AppCommand(Skill):
    """A command that shows or changes the application. It is not logged."""

    logged = False
    tool = False

    def __init__(self, app: Services) -> None:
        self._app = app


def result_of(data: BaseModel, text: str, **more: Any) -> Result:
    """Return a result whose fields are those of a model: for `--json`, programs and the text.

    Fields that were not set are left out.
    """
    return Result(text, data.model_dump(mode="json", by_alias=True, exclude_unset=True), **more)
