"""Base class of the framework's own commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.api.skill import Call, Skill
from harness.errors import NotAllowed

if TYPE_CHECKING:
    from harness.cli.services import Services


class AppCommand(Skill):
    """A command that shows or changes the application. It is not logged."""

    logged = False
    tool = False

    def __init__(self, app: Services) -> None:
        self._app = app


def consent(action: str, call: Call, *, needed: bool = True) -> None:
    """Ask the user whether a command may do something.

    Args:
        needed: whether the line alone is not enough where nobody can be asked.

    Raises:
        NotAllowed: the user refuses, or cannot be asked.
    """
    if call.yes or (call.confirm and call.confirm(f"{action[:1].upper()}{action[1:]}?")):
        return
    if call.confirm is None:
        if not needed:
            return
        hint = "`--yes` before the line allows it."
        raise NotAllowed(f"nobody is here to allow this: {action}", hint=hint)
    raise NotAllowed(f"you did not allow this: {action}")
