"""/help, /reload and /exit."""

from __future__ import annotations

from harness.api import options
from harness.api.skill import Call, Result, Skill
from harness.cli import help as help_texts
from harness.cli.commands.host import Host


class Help(Skill):
    """Made from what the skills declare."""

    name = "help"
    summary = "List the commands, or tell all about one"
    usage = "NAME"
    text = "optional"
    logged = False
    tool = False

    def __init__(self, host: Host) -> None:
        self._host = host

    def run(self, call: Call) -> Result:
        found = self._host.catalogue.skills
        name = call.text.strip().removeprefix("/")
        if not name:
            commands = [{"name": f.name, "summary": f.summary} for f in found.values()]
            return Result(help_texts.overview(found.values()), {"commands": commands})
        if name not in found:
            raise self._host.catalogue.unknown(name)
        skill = found[name].skill
        formats = list(self._host.catalogue.formats_for(skill))
        data = {
            "name": skill.name,
            "summary": skill.summary,
            "usage": help_texts.usage(skill),
            "subcommands": dict(skill.subcommands),
            "options": skill.Options.model_json_schema(),
            "general_options": options.GeneralOptions.model_json_schema(),
            "saves": [*skill.saves, *formats],
        }
        return Result(help_texts.skill_help(skill, formats), data)


class Reload(Skill):
    """For those who write skills and registries."""

    name = "reload"
    summary = "Read the registry and the skills' folders anew, without leaving"
    details = """\
    Skills in folders and pip-installed ones are imported again, with the modules they brought.
    Built-in ones, and what was installed with `pip install --editable` since the start, need a
    restart. Loaded models are freed."""
    text = "none"
    logged = False
    tool = False

    def __init__(self, host: Host) -> None:
        self._host = host

    def run(self, call: Call) -> Result:
        before = set(self._host.catalogue.skills)
        self._host.reload()
        after = self._host.catalogue
        new, waiting = sorted(set(after.skills) - before), sorted(after.untrusted)
        gone = sorted(before - {*after.skills, *waiting})
        lines = [f"{len(after.skills)} skills, {len(self._host.pool.registry.models)} models"]
        lines += [f"new: /{name}" for name in new] + [f"gone: /{name}" for name in gone]
        lines += [f"not trusted: /{name}; read it, then `/skills trust {name}`" for name in waiting]
        data = {"skills": sorted(after.skills), "new": new, "gone": gone, "untrusted": waiting}
        return Result("\n".join(lines), {**data, "failed": [f.name for f in after.failures]})


class Exit(Skill):
    """The same as Ctrl-D."""

    name = "exit"
    summary = "Leave the session"
    text = "none"
    logged = False
    tool = False

    def run(self, call: Call) -> Result:
        return Result(leave=True)
