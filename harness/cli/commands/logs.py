"""/logs: past runs."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.cli.commands.host import Host
from harness.errors import NothingFound, UsageError
from harness.terminal.tables import table

SHOWN = 60
"""Characters of a line shown in the list."""


class Logs(Skill):
    """The run log, newest first, or one run in full."""

    name = "logs"
    summary = "Show the newest runs, or all about one"
    usage = "RUN"
    text = "optional"
    logged = False
    tool = False
    subcommands = {"path": "print where the run log is"}

    class Options(SkillOptions):
        limit: int = Field(20, ge=1, description="how many runs to list")

    def __init__(self, host: Host) -> None:
        self._host = host

    def run(self, call: Call) -> Result:
        log = self._host.run_log
        if call.subcommand == "path":
            return Result(str(log.path), {"path": str(log.path)})
        number = call.text.strip()
        if not number:
            runs = log.recent(call.options.limit)
            return Result(_list(runs) if runs else "No runs yet.", {"runs": runs})
        if not number.isdigit():
            raise UsageError(f"{number!r} is no run's number", hint="`/logs` lists them.")
        run = log.get(int(number))
        if run is None:
            raise NothingFound(f"there is no run {number}", hint="`/logs` lists them.")
        return Result(_one(run), run)


def _list(runs: list[dict[str, Any]]) -> str:
    rows = [
        (
            run["id"],
            run["started_at"],
            run["status"],
            run["resolved"],
            _tokens(run),
            " ".join(run["line"].split())[:SHOWN],
        )
        for run in runs
    ]
    return table(("run", "started", "status", "model", "tokens", "line"), rows)


def _tokens(run: dict[str, Any]) -> str:
    if not run["generations"]:
        return ""
    return f"{run['prompt_tokens']} + {run['completion_tokens']}"


def _one(run: dict[str, Any]) -> str:
    lines = []
    for name, value in run.items():
        if value in (None, [], "{}"):
            continue
        shown = json.dumps(value) if isinstance(value, list) else str(value)
        lines.append(f"{name}:\n{shown}" if "\n" in shown else f"{name}: {shown}")
    return "\n".join(lines)
