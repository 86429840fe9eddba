"""Tables of papers, a model that annotates them, and a folder to work in."""

from __future__ import annotations

import contextlib
import csv
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cli.app import App
from harness.errors import InputError
from harness.models.backend import OnText, Reply, Request
from harness.runs.frontend import Outcome
from harness.testing import FakeModel, fake_app
from skills.corpus import table as tables
from skills.corpus.table import Table, TableRow
from skills.corpus.tables.columns import Columns, Reader
from skills.nanda.framework import nanda

REGISTRY = """\
version: 1
models:
  nanda-annotator:
    tasks: [annotate]
    serve: [{{backend: openai, model: "smollm2:latest", url: "{url}/v1"}}]
"""
ABSTRACT = "We present method {0} for the task of sorting papers, and it is {0} times as fast."


def paper(number: int) -> dict[str, str]:
    return {
        "arxiv_id": f"2401.{number:05}",
        "title": f"Paper {number}",
        "abstract": ABSTRACT.format(number),
    }


def write_table(path: Path, *rows: dict[str, str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_registry(folder: Path, url: str) -> None:
    """Write a registry.yaml in which the server at `url`, of OpenAI's protocol, annotates."""
    (folder / "registry.yaml").write_text(REGISTRY.format(url=url), encoding="utf-8")


@contextlib.contextmanager
def counting_reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count how often each table is opened and parsed in the block."""
    counts: Counter[str] = Counter()
    rows, find = Table.rows_or_errors, tables.reader_of

    def parsed(table: Table) -> Generator[TableRow | InputError, None, None]:
        counts[f"parsed {table.path.name}"] += 1
        return rows(table)

    def opened(path: Path, columns: Columns) -> Reader:
        counts[f"opened {path.name}"] += 1
        return find(path, columns)

    with monkeypatch.context() as patched:
        patched.setattr(Table, "rows_or_errors", parsed)
        patched.setattr(tables, "reader_of", opened)
        yield counts


class Annotator(FakeModel):
    """Annotates "method N" with moves about it, or calls `faults[N]` instead.

    Args:
        seconds: time that an answer takes.

    Attributes:
        counts: the number of requests for each N.
    """

    def __init__(self, seconds: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.seconds = seconds
        self.counts: dict[int, int] = {}
        self.faults: dict[int, Callable[[], str]] = {}

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        text = request.messages[1].content
        number = int(text.partition("method ")[2].split()[0])
        with self._arriving:
            self.counts[number] = self.counts.get(number, 0) + 1
        time.sleep(self.seconds)
        if number in self.faults:
            text = self.faults[number]()
        else:
            moves = {name: f"{name.capitalize()} of method {number}." for name in nanda().names}
            text = json.dumps({**moves, "limitation": "Not stated."})
        if on_text:
            on_text(text)
        return Reply(text, "stop", self.count_tokens(request), 20, 0.01)


class Workspace:
    """A folder with a table of papers, and an application in it."""

    def __init__(self, folder: Path, model: FakeModel | None = None, **options: Any) -> None:
        self.folder = folder
        self.model = Annotator() if model is None else model
        self.app: App = fake_app(folder, self.model, **options)
        self.table = folder / "papers.csv"

    def rows(self, *numbers: int) -> Path:
        return write_table(self.table, *map(paper, numbers))

    def annotate(self, rest: str = "save to out.jsonl", table: Path | None = None) -> Outcome:
        return self.app.dispatch(f"/annotate {table or self.table} {rest}")

    def reopened(self, model: FakeModel | None = None) -> Workspace:
        """Return the same folder with a new application, as in another process."""
        self.app.close()
        return Workspace(self.folder, model)

    @property
    def annotator(self) -> Annotator:
        assert isinstance(self.model, Annotator)
        return self.model

    @property
    def stderr(self) -> str:
        return str(self.app.screen.err.getvalue())  # type: ignore[attr-defined]

    def ids(self, name: str = "out.jsonl") -> list[str]:
        lines = (self.folder / name).read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["arxiv_id"] for line in lines]

    @property
    def corpus(self) -> Path:
        return self.app.settings.data_dir / "corpus.db"
