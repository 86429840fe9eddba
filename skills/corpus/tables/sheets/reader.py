"""Read a sheet of a spreadsheet as a table of papers.

A spreadsheet is read once, by `worker` in a process of its own, into a temporary database: one cell
far away from the others can need more memory than there is, and then ends that process alone.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Any

from harness.errors import InputError, SkillFailed
from harness.support.reading.text_input import shown
from skills.corpus.db.temporary import open_temporary
from skills.corpus.tables.columns import SHOWN_CHARS, Reader
from skills.corpus.tables.headings import HEADINGS, plain
from skills.corpus.tables.processes import MEMORY, arguments, how_it_ended

SHEETS = (".xlsx", ".ods", ".xls")
MOST_BYTES = 200_000_000
"""Size of a file."""
SECONDS = 120.0
"""Time for one file, in case the process waits; its processor time is limited to less."""
WORKER = "skills.corpus.tables.sheets.worker"


class SheetReader(Reader):
    """Reader of the first sheet with a column of abstracts; its header is its first row."""

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
        """The first row of each sheet that is not empty."""
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
        """The sheet to read: the only one, or the first one with abstracts."""
        headers = self._headers
        if len(headers) == 1:
            return next(iter(headers))
        given = self._columns.abstract
        known = HEADINGS["abstract"] if given is None else (plain(given),)
        for sheet, names in headers.items():
            if any(plain(name) in known for name in names):
                return sheet
        listed = "; ".join(
            f"{sheet!r} with {', '.join(filter(None, names))}" for sheet, names in headers.items()
        )
        raise InputError(
            f"no sheet has a column {given or 'abstract'!r}",
            where=shown(self.path),
            hint=f"Its sheets are {listed[:SHOWN_CHARS]}; `--abstract-column NAME` selects one.",
        )

    @functools.cached_property
    def _read(self) -> sqlite3.Connection:
        """The rows of all sheets, each as a JSON array.

        Raises:
            InputError: the file is too large, damaged, or no spreadsheet.
        """
        if self.path.stat().st_size > MOST_BYTES:
            raise self._unreadable(f"has more than {MOST_BYTES // 1_000_000} MB")
        read = open_temporary("CREATE TABLE rows (sheet TEXT, number INTEGER, cells TEXT)")
        with tempfile.TemporaryFile() as lines:
            self._run(lines)
            lines.seek(0)
            sheet = ""
            for line in lines:
                match json.loads(line):
                    case {"unreadable": reason}:
                        raise self._unreadable(reason)
                    case {"sheet": name}:
                        sheet = name
                    case [number, cells]:
                        row = [sheet, number, json.dumps(cells, ensure_ascii=False)]
                        read.execute("INSERT INTO rows VALUES (?, ?, ?)", row)
        read.execute("CREATE INDEX of_sheet ON rows (sheet, number)")
        return read

    def _run(self, output: IO[bytes]) -> None:
        """Write the lines of `worker` to a file."""
        try:
            done = subprocess.run(
                **arguments(WORKER, os.fspath(self.path.resolve())),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise self._unreadable("cannot be read: it takes too long") from exc
        except OSError as exc:
            raise SkillFailed(f"the process that reads it cannot be started: {exc}") from exc
        if done.returncode == -signal.SIGABRT:  # how calamine ends without memory
            most = f"{MEMORY // 1024**3} GB of memory"
            raise self._unreadable(f"needs more than {most}; a cell may be far from the others")
        if done.returncode:
            raise self._unreadable(f"cannot be read: {how_it_ended(done.returncode, 'calamine')}")

    def _unreadable(self, reason: str) -> InputError:
        return InputError(reason, where=shown(self.path), hint="Save the sheet as a .csv file.")
