"""Tables of papers: .csv, .tsv, .jsonl, .parquet, and the arXiv lists kept as .md.

table = open_table(Path("papers.csv"))
for row in table.rows(): ...        # from the beginning, as often as wanted
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import InputError
from harness.support.text_input import shown
from skills.corpus.tables.columns import Columns, Layout, find_columns
from skills.corpus.tables.csv_reader import CsvReader
from skills.corpus.tables.files import Reader, place, regular_file
from skills.corpus.tables.jsonl_reader import JsonlReader
from skills.corpus.tables.markdown_reader import MarkdownReader, is_list
from skills.corpus.tables.parquet_reader import ParquetReader
from skills.nanda.arxiv_id import WHOLE, find_arxiv_id
from skills.nanda.paper import Paper, iso_date, own_id
from skills.nanda.text import flatten

__all__ = ["SUFFIXES", "Columns", "Row", "Table", "is_list", "open_table"]

READERS: Mapping[str, Callable[[Path], Reader]] = {
    ".csv": CsvReader,
    ".tsv": CsvReader,
    ".jsonl": JsonlReader,
    ".parquet": ParquetReader,
    ".md": MarkdownReader,
}
SUFFIXES = tuple(READERS)
OWN_ID = re.compile(r"[0-9a-f]{12}")
"""What may be an own id: only such a one is worth a digest."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        number: from 1, in file order; empty and repeated rows count.
        where: the row for people, "papers.csv, line 7" (the line it begins in) or
            "papers.parquet, row 3".
        paper: its abstract is "" where the row has none.
        moves: the moves that have a column, as the file writes them; "" where a cell is empty.
        repeat: an earlier row has the same id and the same abstract.
    """

    number: int
    where: str
    paper: Paper
    moves: Mapping[str, str] = field(default_factory=dict)
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose header has been read.

    Attributes:
        id_column: the table's own name of its ids' column, None where it has none.
        columns: the names of all columns, as the table writes them.
    """

    path: Path
    id_column: str | None
    columns: tuple[str, ...]
    _reader: Reader
    _layout: Layout
    _limit: int | None

    def rows(self) -> Iterator[Row]:
        """All rows in file order, read as they are asked for; of each, an id and a digest is kept.

        An id names one paper: where a table has none, or none in this row, it is made of the
        abstract. One of arXiv is read without its version or address, which the paper's source
        keeps as "arxiv_id".

        Raises:
            InputError: a row cannot be read, or its id stands for another abstract before.
        """
        roles = [want.role for want in self._layout.wanted]
        seen: dict[str, tuple[int, bytes]] = {}
        records = itertools.islice(self._reader.records(self._layout.wanted), self._limit)
        for number, record in enumerate(records, start=1):
            values = dict(zip(roles, record.values, strict=True))
            paper = self._paper(values, number)
            yield Row(
                number=number,
                where=place(self.path, self._reader.unit, record.position),
                paper=paper,
                moves={move: values[move] for move in self._layout.moves},
                repeat=bool(paper.abstract) and self._is_repeat(paper, record.position, seen),
            )

    def _paper(self, values: Mapping[str, str], number: int) -> Paper:
        abstract = _storable(values["abstract"])
        written = flatten(values.get("id", ""))
        paper_id = written or own_id(abstract)
        source = {"kind": "table", "path": shown(self.path), "row": str(number)}
        if self._layout.id_field == "arxiv_id":
            paper_id = bare_arxiv_id(written) or paper_id
            if written and paper_id != written:
                source["arxiv_id"] = written
        published = flatten(values.get("published", ""))
        # A target has own ids in the column of the others: read again, they are own ids still.
        own = OWN_ID.fullmatch(paper_id) and paper_id == own_id(abstract)
        return Paper(
            id_field="id" if own else self._layout.id_field,
            id=paper_id,
            title=flatten(values.get("title", "")),
            abstract=abstract,
            source=source,
            authors=flatten(values.get("authors", "")),
            published=iso_date(published) or published,
            categories=flatten(values.get("categories", "")),
        )

    def _is_repeat(self, paper: Paper, position: int, seen: dict[str, tuple[int, bytes]]) -> bool:
        digest = bytes.fromhex(paper.sha256)
        first, known = seen.setdefault(paper.id, (position, digest))
        if known != digest:
            unit = self._reader.unit
            hint = "Give each paper an id of its own, or name another column of ids."
            if paper.id_field == "arxiv_id" and bare_arxiv_id(paper.id):
                hint = "The versions of a paper at arXiv count as one paper: keep one of these."
            raise InputError(
                f"has the id {paper.id} of {unit} {first}, and another abstract",
                where=place(self.path, unit, position),
                hint=hint,
            )
        return first != position


def bare_arxiv_id(text: str) -> str | None:
    """The arXiv id that `text` is (`arxiv_id.WHOLE`), without its version; else None."""
    return find_arxiv_id(text, alone=True) if WHOLE.fullmatch(text) else None


def _storable(abstract: str) -> str:
    """Without what JSON can write and no file or database can hold: half a surrogate pair, a NUL.

    They become what `flatten` makes of them.
    """
    text = re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", abstract)
    return text.replace("\0", " ").strip()


def open_table(
    path: Path,
    columns: Columns | None = None,
    *,
    moves: Sequence[str] = (),
    limit: int | None = None,
) -> Table:
    """Read a table's header.

    Columns are found by name, in any case: abstract; arxiv_id, else paper_id, else id; title,
    authors, published, categories.

    Args:
        columns: names given by option, which come before those.
        moves: names of moves, whose columns are read where they are present.
        limit: rows read at most.

    Raises:
        InputError: the file cannot be read or is none of `SUFFIXES`, or a column is missing.
    """
    where = shown(path)
    make_reader = READERS.get(path.suffix.lower())
    if make_reader is None:
        raise InputError(
            f"tables are not read from {path.suffix or 'files without a suffix'}",
            where=where,
            hint=f"They are read from {', '.join(SUFFIXES)}.",
        )
    reader = make_reader(regular_file(path))
    names = tuple(name for name in reader.header() if name)
    layout = find_columns(names, columns or Columns(), moves, where)
    return Table(path, layout.id_column, names, reader, layout, limit)
