"""The plugin that brings the framework's own commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.commands.logs import Logs
from harness.commands.models import ModelsCommand
from harness.commands.session import Exit, Help, Reload
from harness.commands.skills import Skills
from harness.hookspecs import RegisterSkill, hookimpl

if TYPE_CHECKING:
    from harness.app import App


class Commands:
    """Built with the application, which the commands show and change."""

    def __init__(self, app: App) -> None:
        self._app = app

    @hookimpl
    def register_skills(self, register: RegisterSkill) -> None:
        app = self._app
        for skill in (
            Help(app),
            Skills(app),
            ModelsCommand(app),
            Reload(app),
            Logs(app),
            Exit(),
            app.chat,
        ):
            register(skill)
