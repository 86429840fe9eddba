"""Tables as CSV (RFC 4180), also with semicolons or tabs between the fields."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from harness.errors import InputError
from harness.support.text_input import shown
from skills.corpus.tables.columns import Wanted
from skills.corpus.tables.files import Record, place, text_lines

LONGEST_FIELD = 2**31 - 1
"""In characters. The csv module's own limit is 128 kB; more than this, some systems do not take."""


class CsvReader:
    unit = "line"

    def __init__(self, path: Path) -> None:
        self._path = path

    def header(self) -> tuple[str, ...]:
        """The names, "" for a column without one, as pandas writes its index."""
        names = tuple(name.strip() for name in self._first_row())
        if not any(names):
            raise InputError(
                "has no header", where=shown(self._path), hint="Name the columns in line 1."
            )
        return names

    def records(self, wanted: tuple[Wanted, ...]) -> Iterator[Record]:
        names = [name.strip() for name in self._first_row()]
        indexes = [names.index(want.column) for want in wanted]
        for line, row in itertools.islice(self._rows(), 1, None):
            if len(row) != len(names):
                if len(row) == 1 and not row[0].strip():
                    continue  # a line of blanks
                raise InputError(
                    f"has {len(row)} {'field' if len(row) == 1 else 'fields'}, "
                    f"and the header has {len(names)}",
                    where=place(self._path, self.unit, line),
                    hint='A field that holds a separator or a line break stands in quotes: "a, b".',
                )
            yield Record(line, tuple(row[index] for index in indexes))

    def _first_row(self) -> list[str]:
        for _, row in self._rows():
            return row
        raise InputError(
            "holds blanks alone", where=shown(self._path), hint="Is it the right file?"
        )

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Each row that is no empty line, with the line it begins in; the header is the first."""
        csv.field_size_limit(LONGEST_FIELD)
        lines = text_lines(self._path)
        before: list[str] = []
        for line in lines:
            before.append(line)
            if line.strip():
                break
        separator = "," if not before else _separator(before[-1], self._path)
        rows = csv.reader(itertools.chain(before, lines), delimiter=separator, strict=True)
        while True:
            begin = rows.line_num + 1
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as exc:
                raise InputError(
                    f"the row that begins here is no CSV ({exc})",
                    where=place(self._path, self.unit, begin),
                    hint="Is a quote missing? Within quotes, a quote is written twice.",
                ) from exc
            if row:
                yield begin, row


def _separator(header: str, path: Path) -> str:
    """What parts the fields: a comma, unless the header has none and a tab or semicolon instead."""
    outside = re.sub(r'"[^"]*"', "", header)
    if path.suffix.lower() == ".tsv" or ("," not in outside and "\t" in outside):
        return "\t"
    return ";" if "," not in outside and ";" in outside else ","
