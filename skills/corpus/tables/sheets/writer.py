"""Write a table as a spreadsheet (.xlsx)."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import IO

from harness.errors import OutputError

_CREATED = datetime.datetime(1980, 1, 1)
"""The date in each file, so that the same rows make the same file; also that of its ZIP entries."""
_REFUSED = {
    -1: "a spreadsheet has 1,048,576 rows at most",
    -2: "a cell of a spreadsheet has 32,767 characters at most",
}
"""What a code of xlsxwriter means; it would leave out a row, or cut a text."""


def write_xlsx(file: IO[bytes], rows: Iterable[Sequence[str]]) -> None:
    """Write rows of texts to an open file.

    Each cell is a string, so that no text becomes a formula, a link or a number.

    Raises:
        OutputError: there are more rows, or a longer text, than a spreadsheet can have.
    """
    from xlsxwriter import Workbook  # type: ignore[import-untyped]
    from xlsxwriter.exceptions import XlsxFileError  # type: ignore[import-untyped]

    try:
        with Workbook(file, {"constant_memory": True}) as book:
            book.set_properties({"created": _CREATED})
            sheet = book.add_worksheet()
            sheet.freeze_panes(1, 0)
            for number, row in enumerate(rows):
                for column, text in enumerate(row):
                    if reason := _REFUSED.get(sheet.write_string(number, column, text)):
                        raise OutputError(
                            f"{reason}: row {number + 1}, {row[0]!r}",
                            hint="Save a .csv or .parquet file.",
                        )
    except XlsxFileError as exc:
        raise OutputError(f"the spreadsheet cannot be written: {exc}") from exc
