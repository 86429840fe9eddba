"""The papers of a job: those of a table, or those found on a topic."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from harness.errors import InputError
from harness.support.reading.text_input import shown
from skills.annotate.papers import FEWEST_WORDS
from skills.annotate.plausible import problem_of
from skills.corpus.tables.pdf.reader import is_of_pdfs
from skills.corpus.tables.reader import Columns, Table, TableRow, open_table
from skills.corpus.tables.refusals import Refusals, accepted
from skills.nanda.paper import Paper

TICK_ROWS = 1000
"""Rows between two reports of the progress."""


class Papers(Protocol):
    """Papers that can be iterated over any number of times, always in the same order."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Paper]: ...


@dataclass(frozen=True, slots=True)
class Source:
    """Papers to annotate.

    Attributes:
        name: the path or the topic.
        id_column: the name of the id column in a table of these papers.
        rows: the number of rows, including those that were left out.
        filtered: the number of rows that were left out, by reason.
        refused: the rows among them that cannot be used.
        doubts: the places of rows that are hardly English abstracts, by the reason.
        path: the file that the papers were read from, if any.
    """

    name: str
    papers: Papers
    id_column: str
    rows: int
    filtered: Mapping[str, int] = field(default_factory=dict)
    refused: Refusals = field(default_factory=Refusals)
    path: Path | None = None
    doubts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The heading of a page about these papers."""
        return self.path.name if self.path else self.name


@dataclass(frozen=True, slots=True)
class TablePapers:
    """The first papers of a table, which is read again each time: none of them is kept.

    Rows that are appended meanwhile are not read.

    Raises:
        InputError: while iterating, if the table has fewer papers than before.
    """

    table: Table
    count: int
    strict: bool = False

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Paper]:
        number = 0
        rows = _usable(self.table.rows_or_errors(), strict=self.strict)
        for number, row in enumerate(rows, start=1):
            yield row.paper
            if number == self.count:
                return
        raise changed(shown(self.table.path))


@dataclass(frozen=True, slots=True)
class Selection:
    """The papers at these places of others, in order."""

    papers: Papers
    places: Sequence[int]

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Paper]:
        places = iter(self.places)
        wanted = next(places, None)
        for place, paper in enumerate(self.papers):
            if place == wanted:
                yield paper
                wanted = next(places, None)


def from_table(
    path: Path,
    columns: Columns,
    limit: int | None,
    tick: Callable[[str], None] = lambda status: None,
    notice: Callable[[str], None] = lambda _: None,
    *,
    strict: bool = False,
) -> Source:
    """Read a table once, and return its papers, which are read again when they are needed.

    Rows without an abstract, rows that repeat an earlier one, and rows that cannot be used are left
    out.

    Args:
        tick: called with the progress.
        notice: as in `open_table`.
        strict: refuse rows that are hardly English abstracts.

    Raises:
        InputError: the table cannot be read, or no paper is left.
    """
    table = open_table(path, columns, limit=limit, notice=notice)
    tick_rows = 1 if is_of_pdfs(path) else TICK_ROWS
    filtered: Counter[str] = Counter()
    refused = Refusals()
    doubts: defaultdict[str, list[str]] = defaultdict(list)
    count = 0
    rows = _usable(table.rows_or_errors(), filtered, refused, strict=strict)
    for count, row in enumerate(rows, start=1):
        if not strict and (problem := problem_of(row.paper.abstract)):
            doubts[problem].append(row.where.rpartition(", ")[2])
        if count % tick_rows == 0:
            tick(f"{count:,} papers")
    source = _source(table, TablePapers(table, count, strict), filtered, refused)
    return replace(source, doubts=doubts)


def from_rows(table: Table, rows: Generator[TableRow | InputError, None, None]) -> Source:
    """Return the papers of a table's rows as `from_table` does, but keep them in memory."""
    filtered: Counter[str] = Counter()
    refused = Refusals()
    papers = [row.paper for row in _usable(rows, filtered, refused)]
    return _source(table, papers, filtered, refused)


def from_papers(topic: str, papers: Sequence[Paper]) -> Source:
    """Return papers that were found on a topic."""
    return Source(topic, papers, id_column(papers), len(papers))


def id_column(papers: Sequence[Paper]) -> str:
    """Return the name of the ids of these papers, "id" if there are several."""
    fields = {paper.id_field for paper in papers}
    return fields.pop() if len(fields) == 1 else "id"


def changed(name: str) -> InputError:
    """Return the error for a table whose rows are not those that were read before."""
    return InputError(
        "has changed since this command began to read it",
        where=name,
        hint="Repeat the line: what is done is kept.",
    )


def is_long_enough(paper: Paper) -> bool:
    """Return True if a paper has an abstract of at least `FEWEST_WORDS`."""
    return len(paper.abstract.split()) >= FEWEST_WORDS


def _usable(
    rows: Generator[TableRow | InputError, None, None],
    filtered: Counter[str] | None = None,
    refused: Refusals | None = None,
    *,
    strict: bool = False,
) -> Iterator[TableRow]:
    """Yield the rows that can be used, and count the others."""
    filtered = Counter() if filtered is None else filtered
    refused = Refusals() if refused is None else refused
    for row in accepted(rows, refused.add):
        if reason := reason_to_leave_out(row.paper, repeat=row.repeat):
            filtered[reason] += 1
        elif strict and (problem := problem_of(row.paper.abstract)):
            hint = "Omit `--strict` to annotate it."
            refused.add(InputError(problem, where=row.where, hint=hint))
        else:
            yield row


def _source(table: Table, papers: Papers, filtered: Counter[str], refused: Refusals) -> Source:
    if refused:
        filtered["refused"] = len(refused)
    count = len(papers) + filtered.total()
    if not len(papers):
        refused.raise_first()
        raise InputError(
            "no row has an abstract" if count else "has no rows below its header",
            where=shown(table.path),
        )
    id_column = table.id_column or "id"
    return Source(shown(table.path), papers, id_column, count, filtered, refused, table.path)


def reason_to_leave_out(paper: Paper, *, repeat: bool) -> str:
    """Return why a row of a table is not annotated, or ""."""
    if not paper.abstract:
        return "no abstract"
    if not is_long_enough(paper):
        return f"fewer than {FEWEST_WORDS} words"
    return "repeats an earlier row" if repeat else ""
