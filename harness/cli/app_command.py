"""Base class of the framework's own commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.api.skill import Skill

if TYPE_CHECKING:
    from harness.cli.services import Services


class AppCommand(Skill):
    """A command that shows or changes the application. It is not logged."""

    logged = False
    tool = False

    def __init__(self, app: Services) -> None:
        self._app = app
