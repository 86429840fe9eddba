"""The rows of a data set: read from tables and validated, or left out with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.errors import InputError
from skills.corpus.tables.reader import Columns, TableRow, open_table, paper_key
from skills.finetune.data.annotation_pairs import completion_of
from skills.nanda.framework import Framework, nanda
from skills.nanda.paper import Paper

Source = Literal["gold", "curated", "agent"]
SOURCES: tuple[Source, ...] = ("gold", "curated", "agent")
"""In order of precedence."""
Split = Literal["dev", "test"]
Why = Literal["rejected", "repeated", "excluded", "overridden", "not_curated", "near_duplicate"]
WHYS: tuple[Why, ...] = (
    *("rejected", "repeated", "excluded"),
    *("overridden", "not_curated", "near_duplicate"),
)
"""Why a row is not in the data set, in the order of the checks."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How tables are read.

    Attributes:
        columns: names of columns, for all tables; otherwise they are recognized by name.
        corpus: the database with the abstracts of annotations saved as .jsonl without them, None
            for the user's own; it is not opened for other files.
    """

    framework: Framework = field(default_factory=nanda)
    columns: Columns = field(default_factory=Columns)
    corpus: Path | None = None


@dataclass(frozen=True, slots=True)
class AnnotationRow:
    """A valid row.

    Attributes:
        where: the row for people: "gold.csv, line 7".
        moves: on one line each, in the framework's order.
        completion: the moves in the form that is trained.
    """

    source: Source
    where: str
    paper: Paper
    moves: Mapping[str, str]
    completion: str

    @property
    def key(self) -> str:
        """The key that identifies the paper."""
        return paper_key(self.paper.id)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that is not in the data set, and why.

    Attributes:
        of, of_where: the id and the place of the row that is used instead, or that is held out.
        similarity: of the two abstracts, 0 to 1, if that is the reason.
        split: the set it is held out for.
    """

    source: Source
    where: str
    id: str
    why: Why
    reason: str
    of: str | None = None
    of_where: str | None = None
    similarity: float | None = None
    split: Split | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the known values, ready for JSON."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class SourceRows:
    """The rows of one source."""

    source: Source
    rows: tuple[AnnotationRow, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def read(self) -> int:
        """The number of rows read."""
        return len(self.rows) + len(self.left_out)


def rows_of(source: Source, entries: Iterable[TableRow], framework: Framework) -> SourceRows:
    """Validate rows: all moves, each with a text that fits its line, and an abstract.

    Of a repeated paper, the first valid row is kept.
    """
    rows: dict[str, AnnotationRow] = {}
    left_out = []
    for entry in entries:
        try:
            row = _valid(source, entry, framework)
        except InputError as exc:
            left_out.append(LeftOut(source, entry.where, entry.paper.id, "rejected", exc.message))
            continue
        first = rows.setdefault(row.key, row)
        if first is not row:
            left_out.append(_repeated(row, first))
    return SourceRows(source, tuple(rows.values()), tuple(left_out))


def read_annotations(paths: Sequence[Path], reading: Reading) -> Iterator[TableRow]:
    """Yield all rows of tables of annotations, in order.

    Raises:
        InputError: a file or a row cannot be read, lacks a move, or an abstract is missing.
    """
    for path in paths:
        yield from _rows(path, reading, annotated=True)


def read_papers(path: Path, reading: Reading) -> Iterator[TableRow]:
    """Yield all rows of a table of papers, with or without annotations.

    Raises:
        InputError: the file or a row cannot be read, or an abstract is missing.
    """
    return _rows(path, reading, annotated=False)


def _rows(path: Path, reading: Reading, *, annotated: bool) -> Iterator[TableRow]:
    """Yield the rows of a table, with abstracts from the corpus if the table has none."""
    table = open_table(
        path, reading.columns, moves=reading.framework.names, abstract_by="provenance"
    )
    if annotated:
        table.require_moves()
    if table.has_abstracts:
        yield from table.rows()
        return
    from harness import settings
    from skills.corpus.db.connection import default_path, open_corpus
    from skills.corpus.tables.abstract_lookup import complete_rows

    corpus = reading.corpus or default_path(settings.from_environment())
    with open_corpus(corpus, must_exist=True) as db:
        yield from complete_rows(db, table)


def _valid(source: Source, entry: TableRow, framework: Framework) -> AnnotationRow:
    """Return the validated row of an entry.

    Raises:
        InputError: it does not fit the schema.
    """
    if not entry.paper.abstract:
        raise InputError("has no abstract")
    moves = entry.valid_moves(framework)
    completion = completion_of(moves, framework)
    return AnnotationRow(source, entry.where, entry.paper, moves, completion)


def left_out(
    row: AnnotationRow,
    why: Why,
    reason: str,
    over: AnnotationRow | None = None,
    similarity: float | None = None,
) -> LeftOut:
    """Return a valid row that is left out, in favour of the row `over`."""
    return LeftOut(
        row.source,
        row.where,
        row.paper.id,
        why,
        reason,
        of=over.paper.id if over else None,
        of_where=over.where if over else None,
        similarity=None if similarity is None else round(similarity, 4),
    )


def _repeated(row: AnnotationRow, first: AnnotationRow) -> LeftOut:
    if row.paper.sha256 != first.paper.sha256:
        reason = "the paper occurs before, with another abstract"
    elif row.moves != first.moves:
        reason = "the paper occurs before, with other moves"
    else:
        reason = "the same row occurs before"
    return left_out(row, "repeated", reason, first)
