"""The rows a data set is made of: read from tables, held to the schema, or left out by name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from harness.errors import InputError
from skills.corpus.tables.annotated_reader import Entry
from skills.corpus.tables.reader import Columns, bare_arxiv_id
from skills.finetune.data.annotation_pairs import completion_of, valid_moves
from skills.nanda.framework import Framework, nanda
from skills.nanda.paper import Paper

if TYPE_CHECKING:
    from sqlite_utils import Database

Source = Literal["gold", "curated", "agent"]
SOURCES: tuple[Source, ...] = ("gold", "curated", "agent")
"""The first of them that has a paper gives its row."""
Split = Literal["dev", "test"]
Why = Literal["rejected", "repeated", "excluded", "overridden", "not_curated", "near_duplicate"]
WHYS: tuple[Why, ...] = (
    *("rejected", "repeated", "excluded"),
    *("overridden", "not_curated", "near_duplicate"),
)
"""Why a row is not in the data set, in the order in which that is asked."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How tables are read.

    Attributes:
        columns: names of columns, for all tables; they are found by name otherwise.
        corpus: the database that has the abstracts of annotations saved as .jsonl without them,
            None for the user's own; it is not opened for other files.
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
        completion: the same in the form that is trained.
    """

    source: Source
    where: str
    paper: Paper
    moves: Mapping[str, str]
    completion: str

    @property
    def key(self) -> str:
        """What two rows of one paper have in common."""
        return paper_key(self.paper.id)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that is not in the data set, and why.

    Attributes:
        of, of_where: the id and the row that stand for it, or are kept apart from it.
        similarity: of the two abstracts, 0 to 1, where that is the reason.
        split: what it is kept apart for.
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
        """Ready for JSON, without what is not known."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class SourceRows:
    """What one source brings.

    Attributes:
        read: how many rows it has: `rows` and `left_out` together.
    """

    source: Source
    rows: tuple[AnnotationRow, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def read(self) -> int:
        return len(self.rows) + len(self.left_out)


def paper_key(paper_id: str) -> str:
    """An id as papers are told apart by it: an arXiv id without its version, "arXiv:", address."""
    return bare_arxiv_id(paper_id) or paper_id


def rows_of(source: Source, entries: Iterable[Entry], framework: Framework) -> SourceRows:
    """Hold rows to the schema: all moves, each with a text that fits its line, and an abstract.

    Of a paper that comes twice the first valid row stays.

    Raises:
        InputError: the rows have no column for a move.
    """
    rows: dict[str, AnnotationRow] = {}
    left_out = []
    for entry in entries:
        if entry.lacks:
            raise InputError(
                f"has no column for {', '.join(entry.lacks)}",
                where=entry.where,
                hint=f"Annotations have a column for each of {', '.join(framework.names)}.",
            )
        try:
            row = _valid(source, entry, framework)
        except InputError as exc:
            left_out.append(LeftOut(source, entry.where, entry.paper.id, "rejected", exc.message))
            continue
        first = rows.setdefault(row.key, row)
        if first is not row:
            left_out.append(_repeated(row, first))
    return SourceRows(source, tuple(rows.values()), tuple(left_out))


def read_entries(paths: Sequence[Path], reading: Reading) -> Iterator[Entry]:
    """All rows of tables, in order.

    Raises:
        InputError: a file or a row cannot be read, or an abstract is nowhere.
    """
    from skills.corpus.tables import annotated_reader

    for path in paths:
        with _corpus_for(path, reading) as db:
            found = annotated_reader.entries(
                cast("Database", db), path, reading.framework, reading.columns
            )
            yield from found


def _valid(source: Source, entry: Entry, framework: Framework) -> AnnotationRow:
    """The row of an entry.

    Raises:
        InputError: it does not fit the schema.
    """
    made_with = (entry.provenance or {}).get("framework")
    name = made_with.get("name") if isinstance(made_with, dict) else None
    if isinstance(name, str) and name != framework.name:
        raise InputError(f"was made with the framework {name}, and not {framework.name}")
    if not entry.paper.abstract:
        raise InputError("has no abstract")
    moves = valid_moves(entry.moves or {}, framework)
    completion = completion_of(moves, framework)
    return AnnotationRow(source, entry.where, entry.paper, moves, completion)


def _repeated(row: AnnotationRow, first: AnnotationRow) -> LeftOut:
    if row.paper.sha256 != first.paper.sha256:
        reason = "the paper stands before, with another abstract"
    elif row.moves != first.moves:
        reason = "the paper stands before, with other moves"
    else:
        reason = "the same row stands before"
    return LeftOut(
        row.source, row.where, row.paper.id, "repeated", reason, first.paper.id, first.where
    )


@contextlib.contextmanager
def _corpus_for(path: Path, reading: Reading) -> Iterator[Database | None]:
    """The corpus, if the abstracts of `path` must be looked up there."""
    from skills.corpus.tables.annotated_reader import PROVENANCE
    from skills.corpus.tables.files import regular_file
    from skills.corpus.tables.jsonl_reader import JsonlReader

    if path.suffix.lower() == ".jsonl" and reading.columns.abstract is None:
        names = JsonlReader(regular_file(path)).header()
        if PROVENANCE in names and "abstract" not in map(str.casefold, names):
            from harness import settings
            from skills.corpus.db.connection import default_path, open_corpus

            own = reading.corpus or default_path(settings.from_environment())
            with open_corpus(own, must_exist=True) as db:
                yield db
            return
    yield None
