"""Read tables of papers and annotations from files, folders, patterns and Zotero libraries."""

from __future__ import annotations

import contextlib
import glob
import itertools
import json
import pkgutil
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import InputError, UsageError
from harness.support.text_input import at_home, regular_file, shown, well_formed
from harness.terminal.console import Screen
from skills.corpus.db.connection import open_temporary
from skills.corpus.tables.columns import (
    IDENTITY,
    OBJECTS,
    PROVENANCE,
    AbstractBy,
    Columns,
    Layout,
    Reader,
    as_text,
    find_columns,
    listed,
)
from skills.corpus.tables.refusals import accepted, refusing
from skills.corpus.tex import typographic
from skills.nanda.framework import Framework
from skills.nanda.paper import ID_FIELDS, Paper, Section, bare_arxiv_id, iso_date, own_id
from skills.nanda.text import flatten

__all__ = ["Columns", "Table", "TableRow", "open_table"]

_FLAT = (*ID_FIELDS, "title", "authors", "published", "categories")
SHEETS, REFERENCES = (".xlsx", ".ods", ".xls"), (".bib", ".ris", ".nbib", ".json")
PARQUET, PDF, DATABASE = ".parquet", ".pdf", ".sqlite"
READERS = {
    ".csv": "tables.text_tables:CsvReader",
    ".tsv": "tables.text_tables:CsvReader",
    **dict.fromkeys(SHEETS, "tables.spreadsheets:SheetReader"),
    ".jsonl": "tables.text_tables:JsonlReader",
    PARQUET: "tables.parquet_files:ParquetReader",
    ".md": "tables.markdown_lists:MarkdownReader",
    **dict.fromkeys(REFERENCES, "references.reference_files:ReferenceReader"),
}
"""The module and the class of the reader for each suffix; the modules are imported when needed."""
SUFFIXES = (*READERS, PDF, DATABASE)


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a table: a paper, and its annotation if the table contains annotations.

    Attributes:
        where: the place of the row as text, such as "papers.csv, line 7" or "papers.parquet, row
            3".
        paper: the paper; its abstract is "" if the row has no abstract.
        moves: the texts of the moves that have a column, as written; "" for an empty cell.
        anchors, confidence, suggestions, sections, provenance: the values of these keys in the
            stored annotation, or None.
        error: the failure of the paper, or None. Only parts that a job has written have failures.
        repeat: True if an earlier row has the same id and abstract.
    """

    where: str
    paper: Paper
    moves: Mapping[str, str] = field(default_factory=dict)
    _: KW_ONLY
    anchors: Mapping[str, Any] | None = None
    confidence: Mapping[str, Any] | None = None
    suggestions: Mapping[str, Any] | None = None
    sections: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    repeat: bool = False

    @property
    def has_moves(self) -> bool:
        return any(text.strip() for text in self.moves.values())

    @property
    def abstract_sha256(self) -> str:
        """The digest of the abstract that was annotated, according to the provenance, or ""."""
        made_from = (self.provenance or {}).get("input")
        return str(made_from.get("sha256", "")) if isinstance(made_from, dict) else ""

    def require_framework(self, framework: Framework) -> None:
        """Raise InputError if the annotation was made with another framework."""
        made_with = (self.provenance or {}).get("framework")
        name = made_with.get("name") if isinstance(made_with, dict) else None
        if isinstance(name, str) and name != framework.name:
            raise InputError(
                f"was made with the framework {name}, not {framework.name}",
                where=self.where,
                hint="`--framework FILE` selects another framework.",
            )

    def valid_moves(self, framework: Framework) -> dict[str, str]:
        """Return the moves in their stored form.

        Raises:
            InputError: a move is invalid, or the annotation was made with another framework.
        """
        self.require_framework(framework)
        return framework.valid_moves(self.moves, self.where)


@dataclass(frozen=True, slots=True)
class Table:
    """A table after its header has been read.

    Attributes:
        path: the path of the file, folder or pattern.
        moves: the names of the moves to read.
    """

    path: Path
    moves: tuple[str, ...]
    _reader: Reader
    _layout: Layout
    _limit: int | None

    @property
    def id_column(self) -> str | None:
        """The name of the id column, or None."""
        return self._layout.id_column

    @property
    def is_read_fast(self) -> bool:
        """True unless each row is read from a separate file, such as a PDF file."""
        return self._reader.unit != "file"

    @property
    def has_abstracts(self) -> bool:
        """True if the table has a column of abstracts, so that no abstract must be looked up."""
        return "abstract" in self._layout.columns

    @property
    def missing_moves(self) -> tuple[str, ...]:
        """The names of the moves in `moves` that have no column in the table."""
        return tuple(move for move in self.moves if move not in self._layout.columns)

    def require_moves(self) -> None:
        """Raise an InputError if a move has no column."""
        if missing := self.missing_moves:
            raise InputError(
                f"has no column {', '.join(missing)}",
                where=shown(self.path),
                hint="A table of annotations has the abstract and a column for each move.",
            )

    def rows(self) -> Iterator[TableRow]:
        """Yield the rows in the order of the file, until a row is refused.

        Raises:
            InputError: a row is refused, or the file cannot be read to its end (see
                `rows_or_errors`).
        """
        return accepted(self.rows_or_errors())

    def rows_or_errors(self) -> Generator[TableRow | InputError, None, None]:
        """Yield the rows in the order of the file; for a refused row, yield an error instead.

        A row is refused if it cannot be read, or if an earlier row has the same id and another
        abstract. A row without an id gets an id that is made from its abstract. In a column
        of arXiv ids, the version and the URL of an id are removed; the written form is kept in
        `Paper.source` as "arxiv_id". The memory use does not grow with the number of rows.

        Raises:
            InputError: the file cannot be read to its end.
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
        objects: dict[str, Any] = {
            role: _object(row.get(columns.get(role, ""))) for role in OBJECTS
        }
        # The absolute path is kept, since the PDF file is opened again to write highlights.
        place = path.absolute() if self._reader.has_sections else path
        source = {"kind": "table", "path": shown(place), "row": str(number)}
        source |= {role: flatten(texts[role]) for role in IDENTITY if texts.get(role)}
        source |= {name: row[name] for name in self._reader.source_keys if row.get(name)}
        mixed = bool(objects[PROVENANCE]) or self._reader.has_ids_of_several_sources
        paper = self._paper(texts, source, mixed=mixed)
        if self._reader.has_sections and row["sections"]:
            paper = replace(paper, sections=tuple(Section(**one) for one in row["sections"]))
        moves = {move: texts[move] for move in self.moves if move in columns}
        return TableRow(where, paper, moves, **objects)

    def _paper(self, values: Mapping[str, str], source: dict[str, str], *, mixed: bool) -> Paper:
        """Return the paper in a row.

        Args:
            values: the texts of the row, by the role of the column (see `Layout`).
            source: the value of `Paper.source`. An arXiv id that is written with a version or as a
                URL is added to this mapping.
            mixed: True if the id column may contain ids of several sources, as in tables that the
                harness saved.
        """
        texts = {role: flatten(values.get(role, "")) for role in _FLAT}
        # JSON texts may contain surrogates and NUL, which cannot be written to files.
        abstract = well_formed(values.get("abstract", "")).replace("\0", " ").strip()
        fields = self._layout.id_fields
        id_field = next((name for name in fields if texts[name]), fields[0] if fields else "id")
        written = texts[id_field]
        paper_id = written or (own_id(abstract) if abstract else "")
        if id_field == "arxiv_id":
            paper_id = bare_arxiv_id(written) or paper_id
            if written and paper_id != written:
                source["arxiv_id"] = written
        elif mixed and self._layout.id_fields == ("id",) and bare_arxiv_id(written):
            id_field = "arxiv_id"
        # An id that was made from the abstract may be saved in the column of another id field.
        if paper_id == own_id(abstract):
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

    def _repeats(self, row: TableRow, position: int, seen: SeenIds) -> bool:
        """Add a row to `seen`; return True if an earlier row has the same id and abstract.

        Raises:
            InputError: an earlier row has the same id and another abstract.
        """
        paper = row.paper
        digest = bytes.fromhex(paper.sha256)
        first, known = seen.first(paper.id, position, digest)
        if known != digest:
            (path, _), (before, earlier) = map(self._reader.located, (position, first))
            of = "" if before == path else f" of {shown(before)}"
            hint = "Give each paper an id of its own, or name another id column."
            if paper.id_field == "arxiv_id" and bare_arxiv_id(paper.id):
                hint = "Versions of an arXiv paper count as one paper: keep only one of these rows."
            raise InputError(
                f"has the id {paper.id} of {self._reader.unit} {earlier}{of}, but another abstract",
                where=row.where,
                hint=hint,
            )
        return first != position


def paper_key(paper_id: str) -> str:
    """Return the form of an id that is compared with other ids.

    The version, the prefix "arXiv:" and the URL of an arXiv id are removed.
    """
    return bare_arxiv_id(paper_id) or paper_id


def read_header(path: Path) -> tuple[str, ...]:
    """Return the column names of a table.

    Raises:
        InputError: the file cannot be read, or has an unknown suffix.
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
    """Return a table, after its header has been read and the columns to read have been found.

    A column is found by its name or by another heading in `tables.columns.HEADINGS`; case is
    ignored. The columns of a paper are abstract, title, authors, published, categories, doi, pmid,
    venue and one id column: arxiv_id if it exists, otherwise paper_id, otherwise id. With `moves`,
    the columns of annotations are also read (see `find_columns`).

    Args:
        columns: the options of the user; a column that an option names takes precedence.
        moves: the names of the moves to read.
        limit: maximum number of rows; None for all.
        abstract_by: how the table must provide abstracts; see `AbstractBy`.
        notice: called with assumptions about the file, and with the columns that are not read.

    Raises:
        InputError: the file cannot be read, has an unknown suffix or lacks a column, or the files
            of a folder have different columns.
    """
    reader = reader_of(path, columns or Columns())
    names = tuple(filter(None, reader.header()))
    where = f"{shown(path)} ({', '.join(reader.assumed)})" if reader.assumed else shown(path)
    layout = find_columns(names, columns or Columns(), moves, where, abstract_by)
    if assumed := [*reader.assumed, *layout.guessed(columns or Columns())]:
        notice(f"{shown(path)}: {', '.join(assumed)}")
    if unused := layout.unused(names):
        notice(f"{shown(path)}: columns that are not used: {listed(unused)}")
    return Table(path, tuple(moves), reader, layout, limit)


def _object(value: Any) -> Mapping[str, Any] | None:
    """Return a JSON object, given as an object or as text; return None for any other value."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def is_several(path: Path) -> bool:
    """Return True if a path is a folder, or a .parquet pattern and not an existing file."""
    place = at_home(path)
    try:
        is_magic = glob.has_magic(str(path)) and path.suffix.lower() == PARQUET
        return place.is_dir() or (is_magic and not place.exists())
    except (OSError, ValueError):  # the path is too long, or contains a NUL
        return False


def refuse_targets(targets: Iterable[Path], path: Path) -> None:
    """Refuse targets that would become input if the user repeated the line.

    Raises:
        UsageError: a target is a .parquet file in the input folder, or matches the input pattern.
    """
    if not is_several(path):
        return
    place = at_home(path).resolve()
    pattern = place / f"*{PARQUET}" if place.is_dir() else place
    for target in targets:
        if target.resolve().match(str(pattern)):
            raise UsageError(
                f"would be a part of the input {shown(path)}",
                where=str(target),
                hint="Save to another folder.",
            )


def is_pdf(path: Path) -> bool:
    """Return True if a path has the suffix of a PDF file."""
    return path.suffix.lower() == PDF


def reader_of(path: Path, columns: Columns) -> Reader:
    """Return the reader of a table.

    Args:
        columns: the options; an option for another kind of table is refused.

    Raises:
        InputError: the file cannot be read, has an unknown suffix, or an option does not apply.
    """
    library, suffix, is_of_several = None, path.suffix.lower(), is_several(path)
    of_pdfs = suffix == PDF
    if is_of_several or suffix == DATABASE:
        from skills.corpus.references.zotero_library import ZoteroReader, database_in

        library = database_in(path)
    if is_of_several and library is None:
        from skills.corpus.pdf.pdf_files import is_of_pdfs

        of_pdfs = is_of_pdfs(path)
    if library is None and (columns.collection is not None or columns.tags):
        raise InputError(
            "--collection and --tag require a Zotero library",
            where=shown(path),
            hint="Name Zotero's data directory, such as ~/Zotero, or its zotero.sqlite.",
        )
    if not of_pdfs and columns.sections:
        raise InputError(
            "--sections requires PDF files",
            where=shown(path),
            hint="Name a PDF file, or a folder of PDF files.",
        )
    if library is not None:
        return ZoteroReader(path, library, columns.collection, columns.tags)
    if of_pdfs:
        from skills.corpus.pdf.pdf_files import PdfReader

        return PdfReader(path, columns)
    if is_of_several:
        from skills.corpus.tables.parquet_files import ParquetFiles, find_files

        return ParquetFiles(path, find_files(path))
    file = regular_file(path)
    if suffix not in READERS:
        raise InputError(
            f"cannot read a table from {path.suffix or 'a file without a suffix'}",
            where=shown(path),
            hint=f"Supported suffixes are {', '.join(SUFFIXES)}.",
        )
    reader: type[Reader] = pkgutil.resolve_name(f"{__package__}.{READERS[suffix]}")
    return reader(file, columns)


def report_encoding(path: Path, screen: Screen) -> None:
    """Print a notice if the encoding of a reference file had to be guessed."""
    if path.suffix.lower() not in REFERENCES:
        return
    from skills.corpus.tables.text_formats import GUESSED, encoding_of

    if encoding_of(at_home(path)) == GUESSED:
        screen.notice(
            f"{shown(path)} is not UTF-8; it is read as Windows-1252. If letters are wrong, save "
            "it as UTF-8."
        )


class SeenIds(contextlib.AbstractContextManager["SeenIds"]):
    """A temporary database with the position and abstract digest of the first row of each id."""

    def __init__(self) -> None:
        self._db = open_temporary(
            "CREATE TABLE ids (id TEXT PRIMARY KEY, position INTEGER, digest BLOB) WITHOUT ROWID"
        )

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def first(self, paper_id: str, position: int, digest: bytes) -> tuple[int, bytes]:
        """Return the first position of an id, and the digest of the abstract at this position.

        An id that was not added before is added with `position` and `digest`.
        """
        row = paper_id, position, digest
        if self._db.execute("INSERT OR IGNORE INTO ids VALUES (?, ?, ?)", row).rowcount:
            return position, digest
        query = "SELECT position, digest FROM ids WHERE id = ?"
        known: tuple[int, bytes] = self._db.execute(query, [paper_id]).fetchone()
        return known
