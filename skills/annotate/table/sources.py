"""The papers of a job: those of a table, or those found on a topic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import InputError
from skills.annotate.papers import FEWEST_WORDS
from skills.corpus.tables.reader import Columns, Table, TableRow, open_table
from skills.corpus.tables.refusals import Refusals, accepted
from skills.nanda.paper import Paper


@dataclass(frozen=True, slots=True)
class Source:
    """Papers to annotate.

    Attributes:
        name: the path or the topic.
        id_column: the name of the id column in a table of these papers.
        rows: the number of rows, including those that were left out.
        filtered: the number of rows that were left out, by reason.
        refused: the rows among them that cannot be used.
        path: the file that the papers were read from, if any.
    """

    name: str
    papers: Sequence[Paper]
    id_column: str
    rows: int
    filtered: Mapping[str, int] = field(default_factory=dict)
    refused: Refusals = field(default_factory=Refusals)
    path: Path | None = None

    @property
    def title(self) -> str:
        """The heading of a page about these papers."""
        return self.path.name if self.path else self.name


def from_table(path: Path, columns: Columns, limit: int | None) -> Source:
    """Read a table.

    Rows without an abstract, rows that repeat an earlier one, and rows that cannot be used are left
    out.

    Raises:
        InputError: the table cannot be read, or no paper is left.
    """
    table = open_table(path, columns, limit=limit)
    return from_rows(table, table.rows_or_errors())


def from_rows(table: Table, rows: Generator[TableRow | InputError, None, None]) -> Source:
    """Return the papers of a table's rows, as `from_table` does."""
    filtered: Counter[str] = Counter()
    papers: list[Paper] = []
    refused = Refusals()
    for row in accepted(rows, refused.add):
        if reason := _reason_to_leave_out(row.paper, repeat=row.repeat):
            filtered[reason] += 1
        else:
            papers.append(row.paper)
    if refused:
        filtered["refused"] = len(refused)
    count = len(papers) + filtered.total()
    if not papers:
        refused.raise_first()
        raise InputError(
            "no row has an abstract" if count else "has no rows below its header",
            where=str(table.path),
        )
    id_column = table.id_column or "id"
    return Source(str(table.path), papers, id_column, count, filtered, refused, table.path)


def from_papers(topic: str, papers: Sequence[Paper]) -> Source:
    """Return papers that were found on a topic."""
    return Source(topic, papers, papers[0].id_field, len(papers))


def is_long_enough(paper: Paper) -> bool:
    """Return True if a paper has an abstract of at least `FEWEST_WORDS`."""
    return len(paper.abstract.split()) >= FEWEST_WORDS


def _reason_to_leave_out(paper: Paper, *, repeat: bool) -> str:
    if not paper.abstract:
        return "no abstract"
    if not is_long_enough(paper):
        return f"fewer than {FEWEST_WORDS} words"
    return "repeats an earlier row" if repeat else ""
