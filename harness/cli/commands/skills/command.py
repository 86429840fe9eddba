"""/skills: what is loaded, untrusted, disabled or left out, and changes of that."""

from __future__ import annotations

from pydantic import Field

from harness.api.skill import Call, Result, SkillOptions
from harness.cli.commands.base import AppCommand
from harness.cli.commands.skills import views
from harness.errors import NothingFound, UsageError
from harness.runs import grammar
from harness.support.suggestions import did_you_mean

BARE = ("disable", "enable", "remove")
"""Subcommands that must work although a plugin cannot be loaded, or ends the process."""


class Skills(AppCommand):
    """Shows the catalogue, and changes which plugins are loaded."""

    name = "skills"
    summary = "List, search, install, test and disable skills"
    usage = "NAME|TEXT|SOURCE"
    details = """\
    With a NAME: the origin, fields and problems of that skill. With another TEXT: the skills that
    have all its words in their name, origin or description. `/skills add SOURCE` copies skills from
    a folder, a .zip file or the URL of a git repository into your own folder, after showing them;
    nothing of them runs."""
    text = "optional"
    subcommands = {
        "add": "install skills from a folder, a .zip file or a git repository",
        "remove": "delete a skill from your own folder",
        "test": "try the requests of a skill's evals/evals.json; exit code 1 if one fails",
        "trust": "trust a project's plugin in its current state, and load it",
        "disable": "do not load plugins and skills of this name any more",
        "enable": "undo disable",
    }

    class Add(SkillOptions):
        skill: list[str] = Field([], description="install only this skill of the source")
        all_skills: bool = Field(False, alias="all", description="install all of its skills")

    class Options(Add):
        pass

    variants = {"add": Add}

    def run(self, call: Call) -> Result:
        if call.subcommand == "add":
            return self._add(call)
        name = call.text.strip().removeprefix("/")
        if call.subcommand:
            if not name:
                raise UsageError(f"/skills {call.subcommand} needs a name", hint="`/skills`")
            return {
                "remove": self._remove,
                "test": self._test,
                "trust": self._trust,
                "disable": self._disable,
                "enable": self._enable,
            }[call.subcommand](name, call)
        data = views.describe(self._app.catalogue, self._app.settings)
        return self._found(name, data) if name else Result(views.overview(data), data)

    def _found(self, text: str, data: views.Data) -> Result:
        """Return the skill of that name, or else all that match the text."""
        about = views.about(data, text)
        if any(about[key] for key in about if key != "name"):
            from harness.cli.commands.skills.installing import installed

            for skill in (*about["skills"], *about["untrusted"]):
                installed(self._app, skill)
            return Result(views.in_full(about), about)
        found = views.matching(data, text)
        if not any(found.values()):
            near = did_you_mean(text, [*self._app.catalogue.skills, *self.subcommands])
            raise NothingFound(
                f"no skill matches {text[:80]!r}", hint=near or "`/skills` lists all."
            )
        return Result(views.matches(found), found)

    def _add(self, call: Call) -> Result:
        from harness.cli.commands.skills.installing import add

        if not (source := call.text.strip()):
            raise UsageError("/skills add needs a path or a URL", hint="`/help skills add`")
        return add(self._app, source, call)

    def _remove(self, name: str, call: Call) -> Result:
        from harness.cli.commands.skills.installing import delete

        return delete(self._app, name, call)

    def _test(self, name: str, call: Call) -> Result:
        from harness.cli.commands.skills.testing import test

        return test(self._app, name, call)

    def _trust(self, name: str, call: Call) -> Result:
        if name in self._app.catalogue.skills:  # loaded before the last edit
            self._app.reload()
        if name not in self._app.catalogue.untrusted:
            waiting = ", ".join(sorted(self._app.catalogue.untrusted)) or "none"
            raise UsageError(
                f"there is no untrusted plugin {name!r}", hint=f"Untrusted: {waiting}."
            )
        self._app.discovery.trust(name)
        return Result(f"/{name} is trusted in its current state.", {"trusted": name})

    def _disable(self, name: str, call: Call) -> Result:
        if not grammar.is_name(name):
            raise UsageError(f"{name!r} is not a valid name", hint="`/skills`")
        if name in self._app.catalogue.framework:
            raise UsageError(f"/{name} is part of the harness and cannot be disabled")
        if name not in (known := self._app.discovery.names()):
            near = did_you_mean(name, sorted(known))
            call.screen.notice(f"no plugin or skill named {name} is known. {near}".rstrip())
        self._app.discovery.disabled.add(name)
        self._app.reload()
        return Result(f"{name} is disabled. `/skills enable {name}` undoes it.", {"disabled": name})

    def _enable(self, name: str, call: Call) -> Result:
        if name not in (disabled := self._app.catalogue.disabled):
            names = ", ".join(sorted(disabled)) or "none"
            raise UsageError(f"{name!r} is not disabled", hint=f"Disabled: {names}.")
        self._app.discovery.disabled.remove(name)
        self._app.reload()
        return Result(f"{name} is enabled.", {"enabled": name})


def needs_no_plugins(line: str) -> bool:
    """Return True for lines that must run without plugins: `/skills disable NAME`."""
    name, rest = grammar.split_command(line) or ("", "")
    return name == Skills.name and bool(set(rest.split()[:1]) & set(BARE))
