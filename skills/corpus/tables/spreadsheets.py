"""Read a sheet of a spreadsheet (.xlsx, .ods, .xls) as a table, and write .xlsx files.

A spreadsheet is read once, by a separate process, into a temporary database. A single cell far from
the other cells can make the parser exceed the memory limit, which ends only the separate process.
"""

from __future__ import annotations

import datetime
import functools
import json
import signal
import sqlite3
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

from harness.errors import InputError, OutputError
from harness.support.text_input import MAX_ROW, shown
from skills.corpus.db.connection import open_temporary
from skills.corpus.tables.columns import HEADINGS, SHOWN_CHARS, Reader
from skills.corpus.tables.reader_process import ReaderProcess, Unreadable, memory_for, serve
from skills.corpus.tables.saved_tables import inert
from skills.corpus.tables.text_tables import without_mark
from skills.nanda.text import letters_of

MOST_BYTES = 200_000_000
"""Maximum size of a file in bytes."""
WORKER = "skills.corpus.tables.spreadsheets"
_CREATED = datetime.datetime(1980, 1, 1)
"""The creation date in every written file; it is constant, so that equal rows give equal files."""
_REFUSED = {
    -1: "a spreadsheet has 1,048,576 rows at most",
    -2: "a cell of a spreadsheet has 32,767 characters at most",
}
"""Messages for the error codes of xlsxwriter: too many rows, and a text that is too long."""
MOST_UNPACKED = 500_000_000
"""Maximum uncompressed size of a file in bytes."""


class SheetReader(Reader):
    """Reads one sheet: the only sheet, or the first sheet with a column of abstracts.

    The first non-empty row of the sheet is its header.
    """

    unit = "row"

    @property
    def assumed(self) -> list[str]:
        return [f"sheet {self._sheet!r}"] * (len(self._headers) > 1)

    def header(self) -> tuple[str, ...]:
        return self._headers[self._sheet]

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        header = self.header()
        query = "SELECT number, cells FROM rows WHERE sheet = ? ORDER BY number LIMIT -1 OFFSET 1"
        for number, cells in self._read.execute(query, [self._sheet]):
            yield number, dict(zip(header, json.loads(cells), strict=False))

    @functools.cached_property
    def _headers(self) -> dict[str, tuple[str, ...]]:
        """The first non-empty row of each sheet, by the name of the sheet."""
        query = "SELECT sheet, cells, min(number) FROM rows GROUP BY sheet ORDER BY min(rowid)"
        found = {
            sheet: tuple(str(cell).strip() for cell in json.loads(cells))
            for sheet, cells, _ in self._read.execute(query)
        }
        if not found:
            raise InputError(
                "has no rows", where=shown(self.path), hint="Name the columns in the first row."
            )
        return found

    @functools.cached_property
    def _sheet(self) -> str:
        """The name of the sheet to read: the only sheet, or the first sheet with abstracts."""
        headers = self._headers
        if len(headers) == 1:
            return next(iter(headers))
        given = self._columns.abstract
        known = HEADINGS["abstract"] if given is None else (letters_of(given),)
        for sheet, names in headers.items():
            if any(letters_of(name) in known for name in names):
                return sheet
        listed = "; ".join(
            f"{sheet!r} with {', '.join(filter(None, names))}" for sheet, names in headers.items()
        )
        raise InputError(
            f"no sheet has a column {given or 'abstract'!r}",
            where=shown(self.path),
            hint=f"The sheets are {listed[:SHOWN_CHARS]}; `--abstract-column NAME` selects the "
            "sheet with this column.",
        )

    @functools.cached_property
    def _read(self) -> sqlite3.Connection:
        """A temporary database with the rows of all sheets, each row as a JSON array.

        Raises:
            InputError: the file is too large, protected, damaged, or not a spreadsheet.
        """
        read = open_temporary("CREATE TABLE rows (sheet TEXT, number INTEGER, cells TEXT)")
        try:
            if self.path.stat().st_size > MOST_BYTES:
                raise Unreadable(f"has more than {MOST_BYTES // 1_000_000} MB")
            with ReaderProcess(WORKER, "calamine") as process:
                for sheet, number, cells in process.read(self.path):
                    row = [sheet, number, json.dumps(cells, ensure_ascii=False)]
                    read.execute("INSERT INTO rows VALUES (?, ?, ?)", row)
        except Unreadable as exc:
            reason = str(exc)
            if exc.signal == signal.SIGABRT:  # calamine aborts if memory is exhausted
                most = memory_for(self.path) // 1_000_000
                reason = f"needs more than {most:,} MB of memory; a cell may be far from the others"
            hint = "Save the sheet as a .csv file."
            raise InputError(reason, where=shown(self.path), hint=hint) from exc
        read.execute("CREATE INDEX of_sheet ON rows (sheet, number)")
        return read


def write_xlsx(file: IO[bytes], rows: Iterable[Sequence[str]], *, raw: bool = False) -> None:
    """Write rows of texts as an .xlsx file.

    Every cell is written as a string, so that a spreadsheet program does not turn it into a
    formula, a link or a number. `inert` adds apostrophes, in case the sheet is saved as .csv later.

    Args:
        raw: True to write the texts without the apostrophes of `inert`.

    Raises:
        OutputError: there are too many rows, or a text is too long for a cell.
    """
    from xlsxwriter import Workbook  # type: ignore[import-untyped]
    from xlsxwriter.exceptions import XlsxFileError  # type: ignore[import-untyped]

    try:
        with Workbook(file, {"constant_memory": True}) as book:
            book.set_properties({"created": _CREATED})
            sheet = book.add_worksheet()
            sheet.freeze_panes(1, 0)
            for number, row in enumerate(rows):
                for column, cell in enumerate(inert(text, raw=raw) for text in row):
                    if reason := _REFUSED.get(sheet.write_string(number, column, cell)):
                        raise OutputError(
                            f"{reason}: row {number + 1}, {row[0]!r}",
                            hint="Save a .csv or .parquet file.",
                        )
    except XlsxFileError as exc:
        raise OutputError(f"the spreadsheet cannot be written: {exc}") from exc


def read_sheets(path: str) -> Iterator[tuple[str, int, list[Any]]]:
    """Yield the name of the sheet, the row number and the cells of each non-empty row.

    Raises:
        Unreadable: the file is protected, too large, or not a spreadsheet.
    """
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError

    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
            if size > MOST_UNPACKED:
                raise Unreadable(f"has more than {MOST_UNPACKED // 1_000_000} MB unpacked")
        with CalamineWorkbook.from_path(path) as book:
            for name in book.sheet_names:
                rows = book.get_sheet_by_name(name).iter_rows()
                for number, row in enumerate(rows, start=1):
                    cells = list(map(_cell, row))
                    if sum(len(cell) for cell in cells if isinstance(cell, str)) > MAX_ROW:
                        raise Unreadable(f"has more than {MAX_ROW:,} characters in row {number}")
                    if any(cell != "" for cell in cells):
                        yield name, number, cells
    except PasswordError as error:
        raise Unreadable("is protected by a password") from error
    except (CalamineError, zipfile.BadZipFile, OSError, ValueError, MemoryError) as error:
        reason = f"is not a readable spreadsheet ({error or 'out of memory'})"
        raise Unreadable(reason) from error


def _cell(value: object) -> object:
    """Return a cell as a JSON value: dates as text, and texts without the apostrophe of `inert`."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, str):
        return without_mark(value)
    return str(value) if isinstance(value, datetime.timedelta) else value


if __name__ == "__main__":
    import python_calamine  # noqa: F401 loaded before the memory limit is set

    serve(read_sheets)
