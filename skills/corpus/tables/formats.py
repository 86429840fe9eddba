"""The kinds of tables: their suffixes, and the reader of each."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.errors import InputError
from harness.support.reading.text_input import regular_file, shown
from skills.corpus.tables.columns import Columns, Reader, find_columns
from skills.corpus.tables.csv_reader import CsvReader
from skills.corpus.tables.jsonl_reader import JsonlReader
from skills.corpus.tables.markdown.reader import MarkdownReader, is_list
from skills.corpus.tables.parquet.files import ParquetFiles, find_files, is_several
from skills.corpus.tables.parquet.reader import ParquetReader
from skills.corpus.tables.pdf.reader import PdfReader, is_of_pdfs
from skills.corpus.tables.references.reader import FORMATS, ReferenceReader
from skills.corpus.tables.sheets.reader import SHEETS, SheetReader
from skills.corpus.tables.zotero import reader as zotero

READERS: Mapping[str, Callable[[Path, Columns], Reader]] = {
    ".csv": CsvReader,
    ".tsv": CsvReader,
    **dict.fromkeys(SHEETS, SheetReader),
    ".jsonl": JsonlReader,
    ".parquet": ParquetReader,
    ".md": MarkdownReader,
    **dict.fromkeys(FORMATS, ReferenceReader),
    ".pdf": PdfReader,
}
SUFFIXES = (*READERS, zotero.SUFFIX)


_BEGINNINGS = {
    ".bib": re.compile(r"@\w+\s*[{(]"),
    ".ris": re.compile(r"TY  - "),
    ".nbib": re.compile(r"PMID- "),
    ".jsonl": re.compile(r"\{"),
    ".json": re.compile(r"\[\s*\{"),
    ".csv": re.compile(r"sep=[;,]\r?\n"),
}
"""How a table without a name begins, by suffix."""


def suffix_of(text: str) -> str:
    """Return the suffix of a text's table format, or "" if it is not a table."""
    begun = text.lstrip("\ufeff \t\r\n")
    for suffix, beginning in _BEGINNINGS.items():
        if beginning.match(begun):
            return suffix
    for delimiter, suffix in ((",", ".csv"), (";", ".csv"), ("\t", ".tsv")):
        rows = filter(None, csv.reader(io.StringIO(begun, newline=""), delimiter=delimiter))
        with contextlib.suppress(InputError, csv.Error):
            names, first = next(rows, []), next(rows, [])
            if len(names) == len(first) > 1:  # the line "Abstract" begins a text, too
                find_columns(tuple(map(str.strip, names)), Columns(), (), "stdin")
                return suffix
    return ".md" if is_list(text) else ""


def reader_of(path: Path, columns: Columns) -> Reader:
    """Return the reader of a table.

    Args:
        columns: what options select; some select it in one kind of table alone.

    Raises:
        InputError: the file cannot be read, its suffix is not one of `SUFFIXES`, or an option is
            for another kind of table.
    """
    library = zotero.database_in(path)
    of_pdfs = library is None and is_of_pdfs(path)
    if library is None and (columns.collection is not None or columns.tags):
        raise InputError(
            "--collection and --tag select papers of a Zotero library, and this is another table",
            where=shown(path),
            hint="Name Zotero's data directory, such as ~/Zotero, or its zotero.sqlite.",
        )
    if not of_pdfs and columns.sections:
        raise InputError(
            "--sections reads sections of PDF files, and this is another table",
            where=shown(path),
            hint="Name a PDF file, or a folder of them.",
        )
    if library is not None:
        return zotero.ZoteroReader(path, library, columns.collection, columns.tags)
    if of_pdfs:
        return PdfReader(path, columns)
    if is_several(path):
        return ParquetFiles(path, find_files(path))
    if (make_reader := READERS.get(path.suffix.lower())) is None:
        regular_file(path)  # a name that is misspelled is none of another kind
        raise InputError(
            f"cannot read a table from {path.suffix or 'a file without a suffix'}",
            where=shown(path),
            hint=f"Supported suffixes are {', '.join(SUFFIXES)}.",
        )
    return make_reader(regular_file(path), columns)
