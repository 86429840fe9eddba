"""/help, /reload, /clear, /exit and /quit."""

from __future__ import annotations

from harness.api import options
from harness.api.skill import Call, Result, Skill
from harness.cli import help as help_texts
from harness.cli.commands.base import AppCommand
from harness.cli.layout import WIDTH
from harness.cli.overview import overview
from harness.errors import UsageError
from harness.support.suggestions import did_you_mean


class Help(AppCommand):
    """Shows help generated from the declarations of skills."""

    name = "help"
    summary = "List the commands, or show help on one"
    usage = "NAME [SUBCOMMAND]"
    text = "optional"

    def run(self, call: Call) -> Result:
        catalogue = self._app.catalogue
        found = catalogue.skills
        width = self._app.screen.width(WIDTH)
        name, _, subcommand = call.text.strip().removeprefix("/").partition(" ")
        if not name:
            commands = [
                {"name": f.name, "summary": f.summary} for f in found.values() if f.for_users
            ]
            shown = overview(catalogue, self._app.settings, width)
            return Result(shown, {"commands": commands})
        if name not in found:
            raise self._app.catalogue.unknown(name)
        skill = found[name].skill
        if subcommand:
            return _subcommand_help(skill, subcommand.strip(), width)
        formats = list(self._app.catalogue.formats_for(skill))
        data = {
            "name": skill.name,
            "summary": skill.summary,
            "usage": help_texts.usage(skill),
            "subcommands": dict(skill.subcommands),
            "options": skill.Options.model_json_schema(),
            "general_options": options.GeneralOptions.model_json_schema(),
            "saves": [*skill.saves, *formats],
        }
        return Result(help_texts.skill_help(skill, formats, width, brief=True), data)


def _subcommand_help(skill: Skill, subcommand: str, width: int) -> Result:
    if subcommand not in skill.subcommands:
        known = ", ".join(skill.subcommands) or "none"
        raise UsageError(
            f"/{skill.name} has no subcommand {subcommand[:40]!r}",
            hint=did_you_mean(subcommand, skill.subcommands) or f"It has {known}.",
        )
    schema = skill.Options.model_json_schema()
    keys = [flag.key for flag in options.flags_for(skill, subcommand).values()]
    data = {
        "name": skill.name,
        "subcommand": subcommand,
        "summary": skill.subcommands[subcommand],
        "options": {key: schema["properties"][key] for key in keys},
    }
    return Result(help_texts.subcommand_help(skill, subcommand, width), data)


class Reload(AppCommand):
    """Reloads skills and registry, for their authors."""

    name = "reload"
    summary = "Read the registry and the skills' folders again"
    details = """\
    Skills in folders and pip-installed skills are imported again, with their modules. Built-in
    skills, and packages installed with `pip install --editable` since the start, need a restart.
    Loaded models are freed, and the servers of mcp.json start again when they are needed."""
    text = "none"

    def run(self, call: Call) -> Result:
        before = set(self._app.catalogue.skills)
        self._app.reload()
        self._app.stop_servers()
        after = self._app.catalogue
        new, waiting = sorted(set(after.skills) - before), sorted(after.untrusted)
        gone = sorted(before - {*after.skills, *waiting})
        lines = [f"{len(after.skills)} skills, {len(self._app.pool.registry.models)} models"]
        lines += [f"new: /{name}" for name in new] + [f"gone: /{name}" for name in gone]
        lines += [f"not trusted: /{name}; read it, then `/skills trust {name}`" for name in waiting]
        data = {"skills": sorted(after.skills), "new": new, "gone": gone, "untrusted": waiting}
        return Result("\n".join(lines), {**data, "failed": [f.name for f in after.failures]})


class Exit(AppCommand):
    """Ends the session, as Ctrl-D does."""

    name = "exit"
    summary = "End the session"
    text = "none"

    def run(self, call: Call) -> Result:
        return Result(leave=True)


class Quit(Exit):
    """The same under the name that other programs use."""

    name = "quit"
    summary = "End the session, as /exit does"


class Clear(AppCommand):
    """Starts a new conversation, as in other clients."""

    name = "clear"
    summary = "Begin a new conversation and clear the screen"
    text = "none"

    def run(self, call: Call) -> Result:
        self._app.conversation.forget()
        self._app.screen.clear()
        return Result("A new conversation begins.")
