"""Read tables of papers and annotations: .csv, .tsv, .jsonl, .parquet, .md, references, PDF files.

A folder or a pattern of .parquet files is one table (`parquet.files`); so is a library of Zotero.

table = open_table(Path("papers.csv"))
for row in table.rows(): ...
"""

from __future__ import annotations

import itertools
import json
import re
import textwrap
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.support.reading.text_input import shown
from harness.support.well_formed import well_formed
from skills.corpus.tables.columns import (
    IDENTITY,
    OBJECTS,
    SHOWN_CHARS,
    AbstractBy,
    Columns,
    Layout,
    Reader,
    as_text,
    find_columns,
)
from skills.corpus.tables.formats import reader_of
from skills.corpus.tables.references.tex import typographic
from skills.corpus.tables.refusals import accepted, refusing
from skills.corpus.tables.seen_ids import SeenIds
from skills.corpus.tables.table_row import TableRow
from skills.nanda.paper import ID_FIELDS, IdField, Paper, Section, bare_arxiv_id, iso_date, own_id
from skills.nanda.text import flatten

__all__ = ["Columns", "Table", "TableRow", "open_table"]

OWN_ID = re.compile(r"[0-9a-f]{12}")
"""What an id made from an abstract looks like; only such a one is compared with the digest."""


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
        columns = list(self._layout.columns.values())
        rows = itertools.islice(self._reader.rows(columns), self._limit)
        with SeenIds() as seen:
            for number, (position, row) in enumerate(rows, start=1):
                path, at = self._reader.located(position)
                where = self._reader.place(position)
                with refusing(where) as refused:
                    if isinstance(row, InputError):
                        raise row
                    made = self._row(row, where, path, number if path is self.path else at)
                    counts = bool(made.paper.abstract) and not made.error
                    repeat = counts and self._repeats(made, position, seen)
                yield refused.error or (replace(made, repeat=True) if repeat else made)

    def _row(self, row: Mapping[str, Any], where: str, path: Path, number: int) -> TableRow:
        columns = self._layout.columns
        texts = {
            role: as_text(row.get(name), role, name, where)
            for role, name in columns.items()
            if role not in OBJECTS or role in self.moves
        }
        objects = (_object(row.get(columns.get(role, ""))) for role in OBJECTS)
        anchors, confidence, suggestions, sections, provenance, error = objects
        source = {"kind": "table", "path": shown(path), "row": str(number)}
        source |= {role: flatten(texts[role]) for role in IDENTITY if texts.get(role)}
        source |= {name: row[name] for name in self._reader.source_keys if row.get(name)}
        mixed = provenance is not None or self._reader.has_ids_of_several_sources
        paper = self._paper(texts, source, mixed=mixed)
        if self._reader.has_sections and row["sections"]:
            paper = replace(paper, sections=tuple(Section(**one) for one in row["sections"]))
        return TableRow(
            where,
            paper,
            {move: texts[move] for move in self.moves if move in columns},
            anchors=anchors,
            confidence=confidence,
            suggestions=suggestions,
            sections=sections,
            provenance=provenance,
            error=error,
        )

    def _paper(self, values: Mapping[str, str], source: dict[str, str], *, mixed: bool) -> Paper:
        """Return a paper.

        Args:
            mixed: the id column has ids of several sources, as in a table that was saved here.
        """
        texts = {role: flatten(values.get(role, "")) for role in _FLAT}
        abstract = _storable(values.get("abstract", ""))
        id_field = self._id_field(texts)
        written = texts[id_field]
        paper_id = written or (own_id(abstract) if abstract else "")
        if id_field == "arxiv_id":
            paper_id = bare_arxiv_id(written) or paper_id
            if written and paper_id != written:
                source["arxiv_id"] = written
        elif mixed and self._layout.id_fields == ("id",) and bare_arxiv_id(written):
            id_field = "arxiv_id"
        # Ids made from abstracts are saved in the column of the others.
        if OWN_ID.fullmatch(paper_id) and paper_id == own_id(abstract):
            id_field = "id"
        return Paper(
            id_field,
            paper_id,
            typographic(texts["title"]),
            abstract,
            source,
            authors=texts["authors"],
            published=iso_date(texts["published"]) or texts["published"],
            categories=texts["categories"],
        )

    def _id_field(self, texts: Mapping[str, str]) -> IdField:
        fields = self._layout.id_fields
        return next((name for name in fields if texts[name]), fields[0] if fields else "id")

    def _repeats(self, row: TableRow, position: int, seen: SeenIds) -> bool:
        paper = row.paper
        digest = bytes.fromhex(paper.sha256)
        first, known = seen.first(paper.id, position, digest)
        if known != digest:
            (path, _), (before, earlier) = map(self._reader.located, (position, first))
            of = "" if before == path else f" of {shown(before)}"
            hint = "Give each paper an id of its own, or name another id column."
            if paper.id_field == "arxiv_id" and bare_arxiv_id(paper.id):
                hint = "Versions of a paper at arXiv count as one paper: keep one of these."
            raise InputError(
                f"has the id {paper.id} of {self._reader.unit} {earlier}{of}, but another abstract",
                where=row.where,
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
        InputError: the file cannot be read, or its suffix is not one of `formats.SUFFIXES`.
    """
    return tuple(filter(None, reader_of(path, Columns()).header()))


def open_table(
    path: Path,
    columns: Columns | None = None,
    *,
    moves: Sequence[str] = (),
    limit: int | None = None,
    abstract_by: AbstractBy = "column",
    notice: Callable[[str], None] = lambda _: None,
) -> Table:
    """Read a table's header.

    Columns are found by name, in any case: abstract; arxiv_id, else paper_id, else id; title,
    authors, published, categories, doi, pmid, venue; with `moves`, also provenance, and beside it
    the other `OBJECTS`. `headings` has the other names that are recognized.

    Args:
        columns: names given by options, which take precedence.
        moves: names of moves, whose columns are read where they are present.
        limit: rows at most.
        abstract_by: accept a table without abstracts that has provenance or ids.
        notice: called with what was assumed, and with the columns that are not read.

    Raises:
        InputError: the file cannot be read, its suffix is not one of `formats.SUFFIXES`, a column
            is missing, or files that are read together differ.
    """
    reader = reader_of(path, columns or Columns())
    names = tuple(filter(None, reader.header()))
    where = f"{shown(path)} ({', '.join(reader.assumed)})" if reader.assumed else shown(path)
    layout = find_columns(names, columns or Columns(), moves, where, abstract_by)
    if assumed := [*reader.assumed, *layout.guessed(columns or Columns())]:
        notice(f"{shown(path)}: {', '.join(assumed)}")
    if unused := layout.unused(names):
        listed = textwrap.shorten(flatten(", ".join(unused)), SHOWN_CHARS, placeholder=" ...")
        notice(f"{shown(path)}: columns that are not used: {listed}")
    return Table(path, tuple(moves), reader, layout, limit)


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
