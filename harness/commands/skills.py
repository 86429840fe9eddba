"""/skills: what was found, what was left out and why, and trust."""

from __future__ import annotations

from typing import Any

from harness.commands.host import Host
from harness.errors import UsageError
from harness.skills import Call, Result, Skill
from harness.tables import table


class Skills(Skill):
    """The catalogue, with every failure in full."""

    name = "skills"
    summary = "Show every skill and where it comes from, and every plugin that was left out"
    usage = "NAME"
    text = "optional"
    logged = False
    tool = False
    subcommands = {"trust": "trust a project's plugin as it is now, and load it"}

    def __init__(self, host: Host) -> None:
        self._host = host

    def run(self, call: Call) -> Result:
        name = call.text.strip().removeprefix("/")
        if call.subcommand == "trust":
            return self._trust(name)
        if name:
            raise UsageError(f"/skills has no subcommand {name!r}", hint="`/help skills`")
        data = self._describe()
        rows = [(f"/{s['name']}", s["origin"], s["summary"]) for s in data["skills"]]
        parts = [table(("skill", "from", ""), rows)]
        for skill in data["skills"]:
            parts += [f"/{skill['name']}: {problem}" for problem in skill["problems"]]
        for waiting in data["untrusted"]:
            parts.append(
                f"/{waiting['name']} ({waiting['folder']}) is not trusted: read it, then "
                f"`/skills trust {waiting['name']}`"
            )
        for failure in data["failures"]:
            parts.append(f"left out: {failure['name']} ({failure['origin']}): {failure['reason']}")
            parts.append(failure["traceback"].rstrip())
        return Result("\n".join(parts), data)

    def _trust(self, name: str) -> Result:
        if name not in self._host.catalogue.untrusted:
            waiting = ", ".join(sorted(self._host.catalogue.untrusted)) or "none"
            raise UsageError(f"no plugin {name!r} waits for trust", hint=f"Waiting: {waiting}.")
        self._host.trust(name)
        return Result(f"/{name} is trusted as it is now.", {"trusted": name})

    def _describe(self) -> dict[str, Any]:
        catalogue = self._host.catalogue
        return {
            "skills": [
                {
                    "name": found.skill.name,
                    "summary": found.skill.summary,
                    "origin": found.origin,
                    "problems": list(found.problems),
                }
                for found in catalogue.skills.values()
            ],
            "untrusted": [
                {"name": name, "summary": file.description, "folder": str(file.folder)}
                for name, file in catalogue.untrusted.items()
            ],
            "failures": [
                {
                    "name": failure.name,
                    "origin": failure.origin,
                    "reason": failure.reason,
                    "traceback": failure.traceback,
                }
                for failure in catalogue.failures
            ],
        }
