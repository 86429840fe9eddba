"""The plugin that brings the framework's own commands."""

from __future__ import annotations

from harness.commands.host import Host
from harness.commands.logs import Logs
from harness.commands.models import ModelsCommand
from harness.commands.new_skill import NewSkill
from harness.commands.session import Exit, Help, Reload
from harness.commands.skills import Skills
from harness.hookspecs import RegisterSkill, hookimpl


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
