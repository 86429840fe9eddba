"""An application with a scripted annotator and a table of gold, for tests of /evaluate."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.cli.app import App
from harness.errors import HarnessError, UsageError
from harness.models.backend import OnText, Reply, Request
from harness.runs.frontend import Outcome
from harness.testing import FakeModel, assert_refuses, fake_app
from skills.evaluate import annotators as evaluate_annotators
from skills.evaluate.annotators import Moves
from skills.evaluate.outputs import Answer
from skills.nanda.framework import nanda

NOT = nanda().not_stated
ABSTRACT = "Papers lie in heaps. We present method {0}, which sorts {0}00 of them. It is quick."


def gold(number: int) -> dict[str, str]:
    moves = dict.fromkeys(nanda().names, NOT)
    moves["claim"] = f"Method {number} sorts papers."
    moves["method"] = f"It sorts {number}00 of them."
    return moves


def row(number: int) -> dict[str, str]:
    return {"arxiv_id": f"2401.{number:05}", "abstract": ABSTRACT.format(number), **gold(number)}


class Annotator(FakeModel):
    """Answers with the gold of each paper, or calls the function in `faults`.

    `asked` counts the requests by paper and by whether they had a schema.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[tuple[int, bool], int] = {}
        self.faults: dict[int, Callable[[Request], str]] = {}
        self.requests: list[Request] = []

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        text = request.messages[1].content
        number = int(text.partition("method ")[2].split(",")[0])
        key = (number, request.json_schema is not None)
        with self._arriving:
            self.asked[key] = self.asked.get(key, 0) + 1
            self.requests.append(request)
        fault = self.faults.get(number)
        text = fault(request) if fault else json.dumps(gold(number))
        return Reply(text, "stop", 100, 20, 0.01)


class Workspace:
    """An application in its own folder, with a table of papers and their gold."""

    def __init__(self, folder: Path, rows: int = 6) -> None:
        self.folder = folder
        self.model = Annotator()
        self.app: App = fake_app(folder, self.model)
        self.table = folder / "gold.csv"
        self.write([row(number) for number in range(1, rows + 1)])

    def write(self, rows: list[dict[str, str]]) -> None:
        with self.table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def write_labels(self, first: str = "method") -> None:
        """Write labels.jsonl: six papers with labelled sentences; `first` is one of the first."""
        lines = [
            {
                "paper_id": str(number),
                "sentences": [
                    *("Papers lie in heaps.", f"We present method {number}, which is quick."),
                    f"It sorts {number}00 of them.",
                ],
                "labels": ["background", first if number == 1 else "method", "result"],
            }
            for number in range(1, 7)
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (self.folder / "labels.jsonl").write_text(text, encoding="utf-8")

    def evaluate(self, rest: str = "--models producer") -> Outcome:
        return self.app.dispatch(self.line(rest))

    def line(self, rest: str) -> str:
        again = "" if "--consistency" in rest else "--consistency 0 "
        return f"/evaluate {self.table} {again}{rest}"

    def refused(self, rest: str, kind: type[HarnessError] = UsageError) -> str:
        error = assert_refuses(self.app, self.line(rest), code=kind.exit_code)
        assert isinstance(error, kind)
        return str(error)

    @property
    def corpus(self) -> Path:
        return self.app.settings.data_dir / "corpus.db"


FACTS = {
    "model": "m",
    "served": "fake",
    "form": "json",
    "digests": {},
    "slots": 1,
    "failed": {},
    "speed": {"papers_per_minute": None, "papers": 8, "memory": None},
}


def annotator_of(
    name: str,
    annotations: Sequence[Moves | None],
    facts: Mapping[str, Any] | None = None,
    **columns: Sequence[Any],
) -> evaluate_annotators.Annotator:
    """Return an annotator with these moves; `columns` are further fields of its answers."""
    rows: list[dict[str, Any]] = [
        {"moves": moves, "valid": moves is not None, "tokens": None} for moves in annotations
    ]
    for field, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            row[field] = value
    answers, kind = [Answer(**row) for row in rows], "baseline" if facts is None else "model"
    return evaluate_annotators.Annotator(name, answers, facts, kind)  # type: ignore[arg-type]
