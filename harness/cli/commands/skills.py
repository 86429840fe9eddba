"""/skills: loaded, untrusted, disabled and failed plugins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from harness.api.skill import Call, Result
from harness.cli.commands.base import AppCommand
from harness.errors import UsageError
from harness.plugins.catalogue import Catalogue, Found
from harness.runs import grammar
from harness.support.suggestions import did_you_mean
from harness.terminal.tables import table

BARE = ("disable", "enable")
"""Subcommands that must work although a plugin cannot be loaded, or ends the process."""


class Skills(AppCommand):
    """Shows the catalogue, and changes which plugins are loaded."""

    name = "skills"
    summary = "List skills with their origin, and plugins that were not loaded"
    usage = "NAME"
    text = "optional"
    subcommands = {
        "trust": "trust a project's plugin in its current state, and load it",
        "disable": "do not load plugins and skills of this name any more",
        "enable": "undo disable",
    }

    def run(self, call: Call) -> Result:
        name = call.text.strip().removeprefix("/")
        if call.subcommand:
            if not name:
                raise UsageError(f"/skills {call.subcommand} needs a name", hint="`/skills`")
            return {"trust": self._trust, "disable": self._disable, "enable": self._enable}[
                call.subcommand
            ](name, call)
        if name:
            raise UsageError(f"/skills has no subcommand {name!r}", hint="`/help skills`")
        data = describe(self._app.catalogue)
        rows = [(f"/{s['name']}", s["origin"], s["summary"]) for s in data["skills"]]
        return Result("\n".join([table(("skill", "from", ""), rows), *_remarks(data)]), data)

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


def describe(catalogue: Catalogue) -> dict[str, Any]:
    """Return the catalogue as data, for `--json`."""
    return {
        "skills": [_described(found) for found in catalogue.skills.values()],
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
            }
            for name, file in catalogue.untrusted.items()
        ],
        "disabled": [
            {"name": name, "origin": origin} for name, origin in sorted(catalogue.disabled.items())
        ],
        "failures": [asdict(failure) for failure in catalogue.failures],
        "remarks": catalogue.remarks,
    }


def _described(found: Found) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": found.name,
        "summary": found.summary,
        "origin": found.origin,
        "problems": list(found.problems),
    }
    if found.file is not None:
        data["file"] = str(found.file.path)
        data["front_matter"] = dict(found.file.fields)
    return data


def _remarks(data: dict[str, Any]) -> Iterator[str]:
    """Yield the lines below the table."""
    for skill in (*data["skills"], *data["untrusted"]):
        yield from (f"/{skill['name']}: {problem}" for problem in skill["problems"])
    for waiting in data["untrusted"]:
        yield (
            f"/{waiting['name']} ({waiting['folder']}) is not trusted: read it, then "
            f"`/skills trust {waiting['name']}`"
        )
    for one in data["frameworks"]:
        yield f"framework {one['name']} ({one['origin']}): {one['path']}"
    for one in data["formats"]:
        yield f"format {one['suffix']} ({one['origin']}): {one['summary']}"
    for one in data["listeners"]:
        yield f"listens to runs: {one['name']} ({one['origin']})"
    for off in data["disabled"]:
        name = off["name"]
        origin = off["origin"] or "not found"
        yield f"{name} ({origin}) is disabled; `/skills enable {name}`"
    yield from data["remarks"]
    for failure in data["failures"]:
        yield f"left out: {failure['name']} ({failure['origin']}): {failure['reason']}"
        if failure["traceback"]:
            yield failure["traceback"].rstrip()
