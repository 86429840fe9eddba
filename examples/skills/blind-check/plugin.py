"""/blind-check: find text that identifies the authors."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import asdict
from typing import Literal

from pydantic import Field

from harness import Call, Result, Skill, SkillOptions, hookimpl

from .rules import Finding, findings


class BlindCheck(Skill):
    name = "blind-check"
    summary = "Find text that identifies the authors to a reviewer"
    usage = "TEXT|FILE"
    saves = (".csv", ".txt")

    class Options(SkillOptions):
        allow: list[Literal["address", "link", "own-work", "funding", "affiliation"]] = Field(
            [], description="a kind of finding to ignore; repeatable"
        )

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        return ""  # a run changes nothing except the file it saves

    def run(self, call: Call) -> Result:
        found = findings(call.read_text(), call.options.allow)
        lines = [f'line {f.line}: "{f.text}": {f.reason}' for f in found]
        text = "\n".join(lines) or "Nothing found that identifies the authors."
        data = {"findings": [{**asdict(f), "reason": f.reason} for f in found]}
        renderers = {".csv": lambda: table(found), ".txt": lambda: text + "\n"}
        return Result(text, data, renderers)


def table(found: list[Finding]) -> str:
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(("line", "rule", "text", "reason"))
    rows.writerows((f.line, f.rule, f.text, f.reason) for f in found)
    return file.getvalue()


@hookimpl
def register_skills(register: Callable[[Skill], None]) -> None:
    register(BlindCheck())
