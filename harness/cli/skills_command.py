"""/skills: shows which skills are loaded, untrusted, disabled or left out, and changes that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from pydantic import Field

from harness.api.skill import Call, Result, SkillOptions
from harness.cli.app_command import AppCommand
from harness.errors import NothingFound, UsageError, did_you_mean
from harness.plugins.catalogue import Catalogue, Found
from harness.plugins.locations import owner
from harness.runs.invocation import is_name, split_command
from harness.settings import Settings
from harness.terminal.rendering import table

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
    a folder or the URL of a git repository into your own folder, after showing them; nothing of
    them runs."""
    text = "optional"
    subcommands = {
        "add": "install skills from a folder or a git repository",
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
        data = describe(self._app.catalogue, self._app.settings)
        return self._found(name, data) if name else Result(overview(data), data)

    def _found(self, text: str, data: Data) -> Result:
        """Return the skill of that name, or else all that match the text."""
        known = about(data, text)
        if any(known[key] for key in known if key != "name"):
            from harness.cli.skill_installation import installed

            for skill in (*known["skills"], *known["untrusted"]):
                installed(self._app, skill)
            return Result(in_full(known), known)
        found = matching(data, text)
        if not any(found.values()):
            near = did_you_mean(text, [*self._app.catalogue.skills, *self.subcommands])
            raise NothingFound(
                f"no skill matches {text[:80]!r}", hint=near or "`/skills` lists all."
            )
        return Result(matches(found), found)

    def _add(self, call: Call) -> Result:
        from harness.cli.skill_installation import add

        if not (source := call.text.strip()):
            raise UsageError("/skills add needs a path or a URL", hint="`/help skills add`")
        return add(self._app, source, call)

    def _remove(self, name: str, call: Call) -> Result:
        from harness.cli.skill_installation import delete

        return delete(self._app, name, call)

    def _test(self, name: str, call: Call) -> Result:
        from harness.cli.skill_evals import test

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
        if not is_name(name):
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
    name, rest = split_command(line) or ("", "")
    return name == Skills.name and bool(set(rest.split()[:1]) & set(BARE))


FIELDS = ("name", "origin", "summary")
"""What a text is searched in."""
Data = dict[str, Any]


def describe(catalogue: Catalogue, settings: Settings) -> Data:
    """Return the catalogue as data, for `--json`."""
    return {
        "skills": [_described(found, settings) for found in catalogue.skills.values()],
        "frameworks": [
            {"name": name, "path": str(found.path), "origin": found.origin}
            for name, found in catalogue.frameworks.items()
        ],
        "formats": [
            {"suffix": suffix, "summary": found.format.summary, "origin": found.origin}
            for suffix, found in catalogue.formats.items()
        ],
        "listeners": [{"name": one.name, "origin": one.origin} for one in catalogue.listeners],
        "untrusted": [
            {
                "name": name,
                "summary": file.description,
                "folder": str(file.folder),
                "problems": list(file.problems),
                "front_matter": dict(file.fields),
            }
            for name, file in catalogue.untrusted.items()
        ],
        "disabled": [
            {"name": name, "origin": origin} for name, origin in sorted(catalogue.disabled.items())
        ],
        "shadowed": [asdict(one) for one in catalogue.shadowed],
        "failures": [asdict(failure) for failure in catalogue.failures],
        "remarks": catalogue.remarks,
    }


def _described(found: Found, settings: Settings) -> Data:
    data: Data = {
        "name": found.name,
        "summary": found.summary,
        "origin": found.origin,
        "owner": owner(found.origin, settings),
        "problems": list(found.problems),
    }
    if found.file is not None:
        data["file"] = str(found.file.path)
        data["front_matter"] = dict(found.file.fields)
        data["for_users"], data["for_models"] = found.file.for_users, found.file.for_models
    return data


def overview(data: Data) -> str:
    """Return all that was found."""
    return "\n".join([_skill_table(data["skills"]), *_remarks(data)])


def matching(data: Data, text: str) -> Data:
    """Return the skills with all words of the text in their names, origins and summaries."""
    words = text.casefold().split()

    def matches(skill: Data) -> bool:
        shown = " ".join(str(skill.get(key, "")) for key in FIELDS).casefold()
        return all(word in shown for word in words)

    lists = ("skills", "untrusted", "disabled", "shadowed")
    return {key: [one for one in data[key] if matches(one)] for key in lists}


def matches(found: Data) -> str:
    """Return the result of `matching`."""
    lines = [_skill_table(found["skills"])] if found["skills"] else []
    lines += [f"{_untrusted(one)}: {one['summary']}" for one in found["untrusted"]]
    return "\n".join([*lines, *_left_out(found)])


def about(data: Data, name: str) -> Data:
    """Return all that is known of one name; empty lists if nothing has it."""
    lists = ("skills", "untrusted", "disabled", "shadowed", "failures")
    return {"name": name, **{key: [o for o in data[key] if o["name"] == name] for key in lists}}


def in_full(found: Data) -> str:
    """Return the result of `about`: origin, fields and problems of a skill."""
    lines: list[str] = []
    for skill in found["skills"]:
        lines += [f"/{skill['name']}: {skill['summary']}", "", *_rows(_facts(skill))]
        lines += [f"problem: {problem}" for problem in skill["problems"]]
    for waiting in found["untrusted"]:
        lines += [f"/{waiting['name']}: {waiting['summary']}", "", _untrusted(waiting)]
        lines += _rows([*_installed(waiting), *_fields(waiting)])
        lines += [f"problem: {problem}" for problem in waiting["problems"]]
    return "\n".join([*lines, *_left_out(found), *_failures(found["failures"])])


def _facts(skill: Data) -> Iterator[tuple[str, str]]:
    yield "from", skill["origin"]
    yield from _installed(skill)
    if "front_matter" in skill:
        callers = ["users"] * skill["for_users"] + ["models"] * skill["for_models"]
        yield "called by", " and ".join(callers) or "nobody"
        yield from _fields(skill)


def _installed(skill: Data) -> Iterator[tuple[str, str]]:
    if installed := skill.get("installed"):
        yield "installed", f"{installed['source']} on {installed['date']}"
        changed = "" if installed["unchanged"] else " (the folder has been changed since)"
        yield "sha256", f"{installed['sha256']}{changed}"


def _fields(skill: Data) -> Iterator[tuple[str, str]]:
    for key, value in skill["front_matter"].items():
        if key in ("name", "description"):
            continue
        parts = value.items() if isinstance(value, dict) else ()
        shown = ", ".join(f"{k}: {v}" for k, v in parts) if parts else str(value)
        yield key, " ".join(shown.split())


def _rows(pairs: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(pairs)
    left = max((len(key) for key, _ in rows), default=0) + 2
    return [f"{key:<{left}}{value}" for key, value in rows]


def _skill_table(skills: list[Data]) -> str:
    rows = [(f"/{skill['name']}", skill["origin"], skill["summary"]) for skill in skills]
    return table(("skill", "from", ""), rows)


def _remarks(data: Data) -> Iterator[str]:
    """Yield the lines below the table."""
    for skill in (*data["skills"], *data["untrusted"]):
        yield from (f"/{skill['name']}: {problem}" for problem in skill["problems"])
    yield from (_untrusted(waiting) for waiting in data["untrusted"])
    for one in data["frameworks"]:
        yield f"framework {one['name']} ({one['origin']}): {one['path']}"
    for one in data["formats"]:
        yield f"format {one['suffix']} ({one['origin']}): {one['summary']}"
    for one in data["listeners"]:
        yield f"listens to runs: {one['name']} ({one['origin']})"
    yield from _left_out(data)
    yield from data["remarks"]
    yield from _failures(data["failures"])


def _untrusted(waiting: Data) -> str:
    name = waiting["name"]
    return f"/{name} ({waiting['folder']}) is not trusted: read it, then `/skills trust {name}`"


def _left_out(data: Data) -> Iterator[str]:
    for off in data["disabled"]:
        origin = off["origin"] or "not found"
        yield f"{off['name']} ({origin}) is disabled; `/skills enable {off['name']}`"
    for one in data["shadowed"]:
        by = f"the name belongs to the one from {one['by']}"
        yield f"/{one['name']} ({one['origin']}) is not loaded: {by}"


def _failures(failures: list[Data]) -> Iterator[str]:
    for failure in failures:
        yield f"left out: {failure['name']} ({failure['origin']}): {failure['reason']}"
        if failure["traceback"]:
            yield failure["traceback"].rstrip()
