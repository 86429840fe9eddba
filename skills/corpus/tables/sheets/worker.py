"""The process that reads a spreadsheet: it writes the sheets as lines of JSON.

A line is {"sheet": name} before each sheet that is not empty, [number, cells] for each row that is
not empty, or {"unreadable": reason}.
"""

from __future__ import annotations

import datetime
import json
import sys
import zipfile
from collections.abc import Iterator
from typing import Any

from python_calamine import CalamineError, CalamineWorkbook, PasswordError

from skills.corpus.tables.processes import MEMORY, SECONDS, limit

MOST_UNPACKED = 500_000_000
"""Size of all that is packed in a file."""


def main(path: str) -> None:
    limit("RLIMIT_AS", MEMORY)
    limit("RLIMIT_CPU", SECONDS)
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    for line in _lines(path):
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")


def _lines(path: str) -> Iterator[dict[str, str] | list[Any]]:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
            if size > MOST_UNPACKED:
                yield {"unreadable": f"has more than {MOST_UNPACKED // 1_000_000} MB unpacked"}
                return
        with CalamineWorkbook.from_path(path) as book:
            for name in book.sheet_names:
                yield from _sheet(book, name)
    except PasswordError:
        yield {"unreadable": "is protected by a password"}
    except (CalamineError, zipfile.BadZipFile, OSError, ValueError, MemoryError) as error:
        yield {"unreadable": f"is not a readable spreadsheet ({error or 'out of memory'})"}


def _sheet(book: CalamineWorkbook, name: str) -> Iterator[dict[str, str] | list[Any]]:
    empty = True
    for number, row in enumerate(book.get_sheet_by_name(name).iter_rows(), start=1):
        cells = list(map(_cell, row))
        if any(cell != "" for cell in cells):
            if empty:
                yield {"sheet": name}
            empty = False
            yield [number, cells]


def _cell(value: object) -> object:
    """Return a cell as JSON has it: a whole number, and a date without the time 0:00."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value) if isinstance(value, datetime.timedelta) else value


if __name__ == "__main__":
    main(sys.argv[1])
