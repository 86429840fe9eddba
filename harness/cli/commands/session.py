"""/help, /reload and /exit."""

from __future__ import annotations

from harness.api import options
from harness.api.skill import Call, Result
from harness.cli import help as help_texts
from harness.cli.commands.base import AppCommand


class Help(AppCommand):
    """Shows help generated from the declarations of skills."""

    name = "help"
    summary = "List the commands, or show help on one"
    usage = "NAME"
    text = "optional"

    def run(self, call: Call) -> Result:
        found = self._app.catalogue.skills
        name = call.text.strip().removeprefix("/")
        if not name:
            commands = [{"name": f.name, "summary": f.summary} for f in found.values()]
            return Result(help_texts.overview(found.values()), {"commands": commands})
        if name not in found:
            raise self._app.catalogue.unknown(name)
        skill = found[name].skill
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
        return Result(help_texts.skill_help(skill, formats), data)


class Reload(AppCommand):
    """Reloads skills and registry, for their authors."""

    name = "reload"
    summary = "Read the registry and the skills' folders again"
    details = """\
    Skills in folders and pip-installed skills are imported again, with their modules. Built-in
    skills, and packages installed with `pip install --editable` since the start, need a restart.
    Loaded models are freed."""
    text = "none"

    def run(self, call: Call) -> Result:
        before = set(self._app.catalogue.skills)
        self._app.reload()
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
