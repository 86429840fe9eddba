"""Read CSV tables (RFC 4180), also with semicolons or tabs as separators."""

from __future__ import annotations

import contextlib
import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.errors import InputError
from harness.support.reading.text_input import place, shown, text_lines
from skills.corpus.tables.columns import Reader

MAX_FIELD = 2**31 - 1
"""Characters of a field at most. The csv module's own limit is 128 kB; some platforms do not accept
more than this."""


class CsvReader(Reader):
    def header(self) -> tuple[str, ...]:
        """Return the names, "" for a column without one, such as the index that pandas writes."""
        line, row = next(self._records(), (0, [""]))
        names = tuple(name.strip() for name in row)
        if any("\0" in name for name in names):
            raise self._has_nul(line)
        if not any(names):
            raise InputError(
                "has no header", where=shown(self.path), hint="Name the columns in line 1."
            )
        return names

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, dict[str, str] | InputError]]:
        records = self._records()
        header = [name.strip() for name in next(records)[1]]
        for line, row in records:
            if len(row) != len(header):
                if len(row) == 1 and not row[0].strip():
                    continue  # a line of blanks
                yield (
                    line,
                    InputError(
                        f"has {len(row)} {'field' if len(row) == 1 else 'fields'}, "
                        f"and the header has {len(header)}",
                        where=place(self.path, self.unit, line),
                        hint='Quote a field that contains a separator or a line break: "a, b".',
                    ),
                )
            elif any("\0" in cell for cell in row):
                yield line, self._has_nul(line)
            else:
                yield line, dict(zip(header, row, strict=True))

    def _has_nul(self, line: int) -> InputError:
        return InputError(
            "contains a NUL character, as binary files do",
            where=place(self.path, self.unit, line),
            hint="Save it as UTF-8 text.",
        )

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield each row that is not empty with its first line; the header comes first."""
        csv.field_size_limit(MAX_FIELD)
        with contextlib.closing(text_lines(self.path, with_nul=True)) as lines:
            yield from self._parsed(lines)

    def _parsed(self, lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
        before: list[str] = []
        for line in lines:
            before.append(line)
            if line.strip():
                break
        separator = _separator(before[-1] if before else "", self.path)
        rows = csv.reader(itertools.chain(before, lines), delimiter=separator, strict=True)
        while True:
            begin = rows.line_num + 1
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as exc:
                raise InputError(
                    f"the row that begins here is not valid CSV ({exc})",
                    where=place(self.path, self.unit, begin),
                    hint="Is a quote missing? Within quotes, write a quote twice.",
                ) from exc
            if row:
                yield begin, row


def _separator(header: str, path: Path) -> str:
    """Return the separator: a comma, unless the header has only tabs or semicolons."""
    outside = re.sub(r'"[^"]*"', "", header)
    if path.suffix.lower() == ".tsv" or ("," not in outside and "\t" in outside):
        return "\t"
    return ";" if "," not in outside and ";" in outside else ","
