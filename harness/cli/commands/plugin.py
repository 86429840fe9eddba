"""The plugin that brings the framework's own commands."""

from __future__ import annotations

from harness.api.hookspecs import RegisterSkill, hookimpl
from harness.cli.commands.host import Host
from harness.cli.commands.logs import Logs
from harness.cli.commands.models import ModelsCommand
from harness.cli.commands.new_skill import NewSkill
from harness.cli.commands.session import Exit, Help, Reload
from harness.cli.commands.skills import Skills


class Commands:
    """Built with the application, which the commands show and change."""

    def __init__(self, host: Host) -> None:
        self._host = host

    @hookimpl
    def register_skills(self, register: RegisterSkill) -> None:
        host = self._host
        for skill in (
            Help(host),
            Skills(host),
            NewSkill(host),
            ModelsCommand(host),
            Reload(host),
            Logs(host),
            Exit(),
            host.chat,
        ):
            register(skill)
