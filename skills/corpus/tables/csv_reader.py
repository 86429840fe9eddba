"""Read CSV tables (RFC 4180), also as spreadsheets save them.

Semicolons or tabs may separate the columns, and the text may be UTF-16 or Windows-1252.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import re
from collections.abc import Generator, Iterator, Sequence

from harness.errors import InputError
from harness.support.reading.text_input import place, reading, shown, text_lines
from skills.corpus.tables.columns import Reader
from skills.corpus.tables.references.text import GUESSED, HEAD, encoding_of

MAX_FIELD = 2**31 - 1
"""Characters of a field at most. The csv module's own limit is 128 kB; some platforms do not accept
more than this."""


_SHOWN = {"cp1252": "Windows-1252", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}
"""Names of encodings in a notice, where they are not the codec's in capitals."""
_NAMED_SEPARATOR = re.compile(r"sep=([^\w\s\"]|\t)\s*")
_SEPARATORS = {";": "';'", "\t": "tabs"}


class CsvReader(Reader):
    @property
    def assumed(self) -> list[str]:
        name = self._encoding
        found = [] if name == "utf-8-sig" else [f"read as {_SHOWN.get(name, name.upper())}"]
        if self._separator in _SEPARATORS and self.path.suffix.lower() != ".tsv":
            found.append(f"columns separated by {_SEPARATORS[self._separator]}")
        return found

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
        with contextlib.closing(self._lines()) as lines:
            yield from self._parsed(lines)

    def _lines(self) -> Generator[str, None, None]:
        return text_lines(self.path, encoding=self._encoding, with_nul=True)

    @functools.cached_property
    def _encoding(self) -> str:
        """The first letter beyond ASCII decides whether the file is UTF-8, which may be damaged."""
        with reading(self.path), self.path.open(encoding="utf-8", errors="surrogateescape") as file:
            beyond = (c for line in file if not line.isascii() for c in line if not c.isascii())
            if not "\udc80" <= next(beyond, "\udc80") <= "\udcff":
                return "utf-8-sig"
        if (found := encoding_of(self.path)) == GUESSED:
            with reading(self.path), self.path.open("rb") as binary:
                if b"\0" in binary.read(HEAD):
                    raise InputError(
                        "is a binary file", where=shown(self.path), hint="Is its suffix right?"
                    )
        return "utf-8-sig" if found == "utf-8" else found

    @functools.cached_property
    def _separator(self) -> str:
        """The separator of a first line such as "sep=;", else the most frequent in the header.

        Those of the header are comma, semicolon and tab, outside of quotes.
        """
        if self.path.suffix.lower() == ".tsv":
            return "\t"
        with contextlib.closing(self._lines()) as lines:
            header = next((line for line in lines if line.strip()), "")
        if named := _NAMED_SEPARATOR.fullmatch(header):
            return named[1]
        return max(",;\t", key=re.sub(r'"[^"]*"', "", header).count)

    def _parsed(self, lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
        rows = csv.reader(lines, delimiter=self._separator, strict=True)
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
            if row and not (begin == 1 and row == ["sep=", ""]):
                yield begin, row
