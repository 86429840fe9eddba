"""Read tables of papers and annotations: .csv, .tsv, .jsonl, .parquet, .md lists.

table = open_table(Path("papers.csv"))
for row in table.rows(): ...
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.support.reading.text_input import place, regular_file, shown
from harness.support.well_formed import well_formed
from skills.corpus.tables.columns import (
    OBJECTS,
    AbstractBy,
    Columns,
    Layout,
    Reader,
    as_text,
    find_columns,
)
from skills.corpus.tables.csv_reader import CsvReader
from skills.corpus.tables.jsonl_reader import JsonlReader
from skills.corpus.tables.markdown_reader import MarkdownReader, is_list
from skills.corpus.tables.parquet_reader import ParquetReader
from skills.corpus.tables.refusals import accepted, refusing
from skills.nanda.arxiv_id import bare_arxiv_id
from skills.nanda.framework import Framework
from skills.nanda.paper import ID_FIELDS, IdField, Paper, iso_date, own_id
from skills.nanda.text import flatten

__all__ = ["SUFFIXES", "Columns", "Table", "TableRow", "is_list", "open_table"]

READERS: Mapping[str, Callable[[Path], Reader]] = {
    ".csv": CsvReader,
    ".tsv": CsvReader,
    ".jsonl": JsonlReader,
    ".parquet": ParquetReader,
    ".md": MarkdownReader,
}
SUFFIXES = tuple(READERS)
OWN_ID = re.compile(r"[0-9a-f]{12}")
"""What an id made from an abstract looks like; only such a one is compared with the digest."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a table: a paper, and its annotation where the table has one.

    Attributes:
        where: the row for messages: "papers.csv, line 7" (its first line), "papers.parquet, row 3".
        paper: its abstract is "" if the row has none.
        moves: the moves that have a column, as the file writes them; "" for an empty cell.
        anchors, confidence, provenance: `OBJECTS` of the stored annotation, if the row has them.
        repeat: an earlier row has the same id and the same abstract.
    """

    where: str
    paper: Paper
    moves: Mapping[str, str] = field(default_factory=dict)
    _: KW_ONLY
    anchors: Mapping[str, Any] | None = None
    confidence: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] | None = None
    repeat: bool = False

    @property
    def has_moves(self) -> bool:
        return any(text.strip() for text in self.moves.values())

    @property
    def abstract_sha256(self) -> str:
        """The digest of the annotated abstract according to the provenance, "" if unknown."""
        made_from = (self.provenance or {}).get("input")
        return str(made_from.get("sha256", "")) if isinstance(made_from, dict) else ""

    def valid_moves(self, framework: Framework) -> dict[str, str]:
        """Return the moves as they are stored.

        Raises:
            InputError: a move does not fit, or the annotation was made with another framework.
        """
        made_with = (self.provenance or {}).get("framework")
        name = made_with.get("name") if isinstance(made_with, dict) else None
        if isinstance(name, str) and name != framework.name:
            raise InputError(
                f"was made with the framework {name}, not {framework.name}",
                where=self.where,
                hint="`--framework FILE` selects the one it was made with.",
            )
        return framework.valid_moves(self.moves, self.where)


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose header has been read.

    Attributes:
        moves: the moves to read.
    """

    path: Path
    moves: tuple[str, ...]
    _reader: Reader
    _layout: Layout
    _limit: int | None

    @property
    def id_column(self) -> str | None:
        """The table's own name of its id column, None if it has none."""
        return self._layout.id_column

    @property
    def has_abstracts(self) -> bool:
        """False if they must be looked up elsewhere."""
        return "abstract" in self._layout.columns

    @property
    def missing_moves(self) -> tuple[str, ...]:
        """The moves without a column."""
        return tuple(move for move in self.moves if move not in self._layout.columns)

    def require_moves(self) -> None:
        """Raise an InputError unless each move has a column."""
        if missing := self.missing_moves:
            raise InputError(
                f"has no column {', '.join(missing)}",
                where=shown(self.path),
                hint="A table of annotations has the abstract and a column for each move.",
            )

    def rows(self) -> Iterator[TableRow]:
        """Yield all rows, as `rows_or_errors`, if none is refused.

        Raises:
            InputError: a row cannot be read, or its id was used for another abstract.
        """
        return accepted(self.rows_or_errors())

    def rows_or_errors(self) -> Generator[TableRow | InputError, None, None]:
        """Yield all rows in file order, or why one is refused.

        An id identifies one paper; without one, it is made from the abstract. An arXiv id is read
        without its version or URL, which the paper's source keeps as "arxiv_id". A row is refused
        if it cannot be read, or its id was used for another abstract. Of the rows before, only ids
        and digests are kept.

        Raises:
            InputError: from a row on, the file cannot be read.
        """
        seen: dict[str, tuple[int, bytes]] = {}
        columns = list(self._layout.columns.values())
        rows = itertools.islice(self._reader.rows(columns), self._limit)
        for number, (position, row) in enumerate(rows, start=1):
            where = place(self.path, self._reader.unit, position)
            with refusing(where) as refused:
                if isinstance(row, InputError):
                    raise row
                made = self._row(row, number, where)
                repeat = bool(made.paper.abstract) and self._is_repeat(made.paper, position, seen)
            yield refused.error or replace(made, repeat=repeat)

    def _row(self, row: Mapping[str, Any], number: int, where: str) -> TableRow:
        columns = self._layout.columns
        texts = {
            role: as_text(row.get(name), role, name, where)
            for role, name in columns.items()
            if role not in OBJECTS
        }
        objects = (_object(row.get(columns.get(role, ""))) for role in OBJECTS)
        anchors, confidence, provenance = objects
        paper = self._paper(texts, number, provenance is not None)
        moves = {move: texts[move] for move in self.moves if move in columns}
        return TableRow(
            where, paper, moves, anchors=anchors, confidence=confidence, provenance=provenance
        )

    def _paper(self, values: Mapping[str, str], number: int, saved: bool) -> Paper:
        texts = {role: flatten(values.get(role, "")) for role in _FLAT}
        abstract = _storable(values.get("abstract", ""))
        id_field = self._id_field(texts)
        written = texts[id_field]
        paper_id = written or (own_id(abstract) if abstract else "")
        source = {"kind": "table", "path": shown(self.path), "row": str(number)}
        if id_field == "arxiv_id":
            paper_id = bare_arxiv_id(written) or paper_id
            if written and paper_id != written:
                source["arxiv_id"] = written
        elif saved and self._layout.id_fields == ("id",) and bare_arxiv_id(written):
            id_field = "arxiv_id"  # saved here, in a table with ids of several sources
        # Ids made from abstracts are saved in the column of the others.
        if OWN_ID.fullmatch(paper_id) and paper_id == own_id(abstract):
            id_field = "id"
        return Paper(
            id_field,
            paper_id,
            texts["title"],
            abstract,
            source,
            authors=texts["authors"],
            published=iso_date(texts["published"]) or texts["published"],
            categories=texts["categories"],
        )

    def _id_field(self, texts: Mapping[str, str]) -> IdField:
        fields = self._layout.id_fields
        return next((name for name in fields if texts[name]), fields[0] if fields else "id")

    def _is_repeat(self, paper: Paper, position: int, seen: dict[str, tuple[int, bytes]]) -> bool:
        digest = bytes.fromhex(paper.sha256)
        first, known = seen.setdefault(paper.id, (position, digest))
        if known != digest:
            unit = self._reader.unit
            hint = "Give each paper an id of its own, or name another id column."
            if paper.id_field == "arxiv_id" and bare_arxiv_id(paper.id):
                hint = "Versions of a paper at arXiv count as one paper: keep one of these."
            raise InputError(
                f"has the id {paper.id} of {unit} {first}, but another abstract",
                where=place(self.path, unit, position),
                hint=hint,
            )
        return first != position


_FLAT = (*ID_FIELDS, "title", "authors", "published", "categories")


def paper_key(paper_id: str) -> str:
    """Return an id as papers are compared by it: an arXiv id without version, "arXiv:" or URL."""
    return bare_arxiv_id(paper_id) or paper_id


def read_header(path: Path) -> tuple[str, ...]:
    """Return the names of a table's columns.

    Raises:
        InputError: the file cannot be read, or its suffix is not one of `SUFFIXES`.
    """
    return tuple(filter(None, _reader(path).header()))


def open_table(
    path: Path,
    columns: Columns | None = None,
    *,
    moves: Sequence[str] = (),
    limit: int | None = None,
    abstract_by: AbstractBy = "column",
) -> Table:
    """Read a table's header.

    Columns are found by name, in any case: abstract; arxiv_id, else paper_id, else id; title,
    authors, published, categories; with `moves`, also provenance, anchors and confidence.

    Args:
        columns: names given by options, which take precedence.
        moves: names of moves, whose columns are read where they are present.
        limit: rows at most.
        abstract_by: accept a table without abstracts that has provenance or ids.

    Raises:
        InputError: the file cannot be read, its suffix is not one of `SUFFIXES`, or a column is
            missing.
    """
    reader = _reader(path)
    names = tuple(filter(None, reader.header()))
    layout = find_columns(names, columns or Columns(), moves, shown(path), abstract_by)
    return Table(path, tuple(moves), reader, layout, limit)


def _reader(path: Path) -> Reader:
    make_reader = READERS.get(path.suffix.lower())
    if make_reader is None:
        raise InputError(
            f"cannot read a table from {path.suffix or 'a file without a suffix'}",
            where=shown(path),
            hint=f"Supported suffixes are {', '.join(SUFFIXES)}.",
        )
    return make_reader(regular_file(path))


def _object(value: Any) -> Mapping[str, Any] | None:
    """Return the value of an object column: an object, or its JSON."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _storable(abstract: str) -> str:
    """Replace what JSON can contain and a file cannot, as `flatten` does: surrogates and NUL."""
    return well_formed(abstract).replace("\0", " ").strip()
