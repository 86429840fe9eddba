"""The base class of the harness's own commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.api.skill import Skill

if TYPE_CHECKING:
    from harness.cli.app import App


class AppCommand(Skill):
    """Base class of the application's commands, which are not logged by default."""

    logged = False
    tool = False

    def __init__(self, app: App) -> None:
        self._app = app
