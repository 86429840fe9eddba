"""/logs: past runs."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from harness.api.skill import Call, Result, SkillOptions
from harness.cli.commands.base import AppCommand
from harness.errors import NothingFound, UsageError
from harness.terminal.tables import table

SHOWN = 60
"""Characters of a line in the list."""


class Logs(AppCommand):
    """Shows the run log, newest first, or one run."""

    name = "logs"
    summary = "List the newest runs, or show one in full"
    usage = "RUN"
    text = "optional"
    subcommands = {"path": "print the path of the run log"}

    class Options(SkillOptions):
        limit: int = Field(20, ge=1, description="number of runs to list")

    def run(self, call: Call) -> Result:
        log = self._app.run_log
        if call.subcommand == "path":
            return Result(str(log.path), {"path": str(log.path)})
        number = call.text.strip()
        if not number:
            runs = log.recent(call.options.limit)
            return Result(_list(runs) if runs else "No runs yet.", {"runs": runs})
        if not number.isdigit():
            raise UsageError(f"{number!r} is not the number of a run", hint="`/logs` lists them.")
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
