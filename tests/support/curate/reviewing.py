"""Support for the tests of reviews: invented annotations, and typed keys."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput, Output

from harness.api.skill import Call, Result
from harness.runs.run_log import Run
from harness.terminal.console import Screen
from harness.testing import FakeModel, fake_models, fake_settings
from skills.curate.review.review_command import open_desk, review
from skills.curate.review.reviewer import Desk
from skills.nanda.framework import nanda

CTRL_A, CTRL_C, CTRL_D, CTRL_K, ENTER = "\x01", "\x03", "\x04", "\x0b", "\r"
CLEARED = CTRL_A + CTRL_K
ABSTRACT = (
    "Plans of agents break in many ways. We present Ledger {0}, which rehearses each plan. "
    "On PlanBench it finds {0}2 faults. It needs no oracle."
)
MOVES = {
    "claim": "Plans of agents break in many ways.",
    "evidence": "Ledger finds faults on PlanBench.",
    "method": "Ledger rehearses each plan.",
    "scope": "Plans of agents.",
    "limitation": "Not stated.",
    "comparison": "Not stated.",
    "implication": "It needs no oracle.",
    "novelty": "It rehearses plans without an oracle.",
}
HEADER = ["arxiv_id", "title", "abstract", *MOVES]


def row(number: int, **values: str) -> dict[str, str]:
    """Return annotation `number`; `values` replaces cells."""
    return {
        "arxiv_id": f"2405.{number:05}",
        "title": f"Ledger {number}",
        "abstract": ABSTRACT.format(number),
        **MOVES,
        **values,
    }


def write_rows(path: Path, *rows: dict[str, str]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(one)}\n" for one in rows), encoding="utf-8")
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@dataclass
class Workspace:
    """A folder with agent.csv, gold.csv and the journal of a review."""

    folder: Path
    stderr: str = ""

    @property
    def agent(self) -> Path:
        return self.folder / "agent.csv"

    @property
    def gold(self) -> Path:
        return self.folder / "gold.csv"

    @property
    def journal(self) -> Path:
        return self.folder / "gold_review.jsonl"

    def annotations(self, *rows: dict[str, str]) -> None:
        write_rows(self.agent, *rows)

    def review(
        self, typed: str, path: Path | None = None, terminal: Output | None = None, **options: Any
    ) -> Any:
        """Review with these keys, then close the terminal; return the summary."""
        return self.result(typed, path, terminal, **options).summary

    def result(
        self, typed: str, path: Path | None = None, terminal: Output | None = None, **options: Any
    ) -> Result:
        call = self.call(**options)
        with create_pipe_input() as keys:
            keys.send_text(typed)
            keys.close()  # type: ignore[attr-defined]
            try:
                return review(call, path or self.agent, self.gold, keys, terminal or DummyOutput())
            finally:
                self.stderr = call.screen.err.getvalue()  # type: ignore[attr-defined]

    def call(self, **options: Any) -> Call:
        names = ("framework", "db", "from_", "abstract_column", "id_column", "title_column")
        queue = {
            "reviewer": "",
            "double": None,
            "disputes": False,
            "words": "",
            "where": "",
            "sample": None,
            "seed": 0,
            "order": None,
        }
        return Call(
            text="",
            options=SimpleNamespace(**{**dict.fromkeys(names), **queue, **options}),
            models=fake_models(FakeModel()),
            screen=Screen(io.StringIO(), io.StringIO()),
            log=Run(),
            settings=fake_settings(self.folder),
        )

    def desk(self, reviewer: str = "", path: Path | None = None, **options: Any) -> Desk:
        """Return the place of a reviewer at agent.csv, or another table."""
        call = self.call(**options)
        return open_desk(call, path or self.agent, self.gold, reviewer)

    def ids(self) -> list[str]:
        """Return the last digits of the ids in gold.csv."""
        return [one["arxiv_id"][-1] for one in read_rows(self.gold)]

    def decisions(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.read_text("utf-8").splitlines()]

    def shown(self) -> list[str]:
        """Return the headings of the papers that were shown."""
        return [line for line in self.stderr.splitlines() if " · " in line]


assert list(MOVES) == list(nanda().names)
