"""Plugin with the framework's own commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.api.hookspecs import RegisterSkill, hookimpl
from harness.cli.commands.logs import Logs
from harness.cli.commands.mcp import McpCommand
from harness.cli.commands.models import ModelCommand, ModelsCommand
from harness.cli.commands.new_skill import NewSkill
from harness.cli.commands.permissions import PermissionsCommand
from harness.cli.commands.session import Clear, Exit, Help, Quit, Reload
from harness.cli.commands.sessions import Resume, Sessions
from harness.cli.commands.skills.command import Skills

if TYPE_CHECKING:
    from harness.cli.app import App


class Commands:
    """Registers the commands of an application."""

    def __init__(self, app: App) -> None:
        self._app = app

    @hookimpl
    def register_skills(self, register: RegisterSkill) -> None:
        app = self._app
        for skill in (
            Help(app),
            Skills(app),
            NewSkill(app),
            ModelsCommand(app),
            ModelCommand(app),
            McpCommand(app),
            Reload(app),
            Logs(app),
            PermissionsCommand(app),
            Sessions(app),
            Resume(app),
            Clear(app),
            Exit(app),
            Quit(app),
            app.chat,
        ):
            register(skill)
