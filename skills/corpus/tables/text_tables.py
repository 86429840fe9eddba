"""Read .csv (RFC 4180) and .jsonl tables, and write .jsonl files.

The columns of a CSV file may be separated by semicolons or tabs, as some spreadsheets write them.

A reader removes one apostrophe from a cell that begins with apostrophes followed by "=", "+", "-",
"@", a tab or a carriage return, so that saving (see saved_tables.py) and reading do not change a
text. The reader of spreadsheets always removes the apostrophe. The reader of .csv files removes
it only if the file has the columns of a saved table, which are an id column, "title" and
"abstract". In a table that was saved with `--raw`, a text that begins with "'=" loses its
apostrophe when it is read.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import itertools
import json
import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from harness.errors import InputError
from harness.support.text_input import (
    MAX_ROW,
    bounded_lines,
    check_row,
    place,
    reading,
    shown,
    text_lines,
)
from skills.corpus.records import Annotated
from skills.corpus.tables.columns import Reader
from skills.nanda.text import counted

MAX_VALUES = 50_000
"""Maximum number of commas in a line of JSON, since each value may need 200 bytes of memory."""
_SHOWN = {"cp1252": "Windows-1252", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}
"""Names of encodings in messages; other encodings are shown by their codec name."""
_NAMED_SEPARATOR = re.compile(r"sep=([^\w\s\"]|\t)\s*")
_SEPARATORS = {";": "';'", "\t": "tabs"}
HEADER_ROWS = 100
"""Number of JSON rows whose keys form the header, since a row may omit a key without a value."""
_HINT = "Write one JSON object per line."
EXECUTED = re.compile(r"'*[=+\-@\t\r]")
"""Matches apostrophes, if any, and a character that makes a spreadsheet program execute a cell."""


class CsvReader(Reader):
    @property
    def assumed(self) -> list[str]:
        name = self._encoding
        found = [] if name == "utf-8-sig" else [f"read as {_SHOWN.get(name, name.upper())}"]
        if self._separator in _SEPARATORS and self.path.suffix.lower() != ".tsv":
            found.append(f"columns separated by {_SEPARATORS[self._separator]}")
        return found

    def header(self) -> tuple[str, ...]:
        """Return the column names; "" for a column without a name, such as the index of pandas."""
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
                    continue  # the line is blank
                error = InputError(
                    f"has {counted(len(row), 'field')}, and the header has {len(header)}",
                    where=place(self.path, self.unit, line),
                    hint='Quote a field that contains a separator or a line break: "a, b".',
                )
                yield line, error
            elif any("\0" in cell for cell in row):
                yield line, self._has_nul(line)
            else:
                yield line, dict(zip(header, row, strict=True))

    def _has_nul(self, line: int) -> InputError:
        return InputError(
            "contains a NUL character, as binary files do",
            where=place(self.path, self.unit, line),
            hint="Save the file as UTF-8 text.",
        )

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of the first line of each non-empty row, and the cells of the row."""
        csv.field_size_limit(MAX_ROW)
        has_marks = None
        with contextlib.closing(self._lines()) as lines:
            for line, row in self._parsed(lines):
                has_marks = is_saved_table(row) if has_marks is None else has_marks
                yield line, list(map(without_mark, row)) if has_marks else row

    def _lines(self) -> Generator[str, None, None]:
        return text_lines(self.path, encoding=self._encoding, with_nul=True)

    @functools.cached_property
    def _encoding(self) -> str:
        """The encoding of the file.

        If the file is ASCII text, or its first character outside ASCII is valid UTF-8, the whole
        file is read as UTF-8. Otherwise, the encoding is detected by `encoding_of`.
        """
        with reading(self.path), self.path.open(encoding="utf-8", errors="surrogateescape") as file:
            lines = (line for line in bounded_lines(file, self.path) if not _is_ascii(line))
            first = next((char for line in lines for char in line if not _is_ascii(char)), "")
            if first != "\0" and not "\udc80" <= first <= "\udcff":
                return "utf-8-sig"
        from skills.corpus.tables import text_formats

        if (found := text_formats.encoding_of(self.path)) == text_formats.GUESSED:
            with reading(self.path), self.path.open("rb") as binary:
                if b"\0" in binary.read(text_formats.HEAD):
                    raise InputError(
                        "is a binary file", where=shown(self.path), hint="Is the suffix right?"
                    )
        return "utf-8-sig" if found == "utf-8" else found

    @functools.cached_property
    def _separator(self) -> str:
        """The separator of columns; a tab in a .tsv file.

        In other files, a first line such as "sep=;" names the separator. Otherwise, it is the most
        frequent of comma, semicolon and tab in the header, outside of quotation marks.
        """
        if self.path.suffix.lower() == ".tsv":
            return "\t"
        with contextlib.closing(self._lines()) as lines:
            header = next((line for line in lines if line.strip()), "")
        if named := _NAMED_SEPARATOR.fullmatch(header):
            return named[1]
        return max(",;\t", key=re.sub(r'"[^"]*"', "", header).count)

    def _parsed(self, lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
        begin = size = 0

        def measured() -> Iterator[str]:
            nonlocal size
            for line in lines:
                size += len(line)
                check_row(size, self.path, self.unit, begin)
                yield line

        rows = csv.reader(measured(), delimiter=self._separator, strict=True)
        while True:
            begin, size = rows.line_num + 1, 0
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


class JsonlReader(Reader):
    def header(self) -> tuple[str, ...]:
        """Return the keys of the first `HEADER_ROWS` rows, in the order of first occurrence."""
        names: dict[str, None] = {}
        errors: list[InputError] = []
        for _, row in itertools.islice(self.rows(()), HEADER_ROWS):
            if isinstance(row, InputError):
                errors.append(row)
            else:
                names.update(dict.fromkeys(row))
        if not names:
            none = InputError("has no rows", where=shown(self.path), hint=_HINT)
            raise next(iter(errors), none)
        return tuple(names)

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, dict[str, Any] | InputError]]:
        with contextlib.closing(text_lines(self.path, with_nul=True, cut=True)) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, self._object(line.rstrip("\r\n"), number)

    def _object(self, line: str, number: int) -> dict[str, Any] | InputError:
        where = place(self.path, self.unit, number)
        if len(line) > MAX_ROW:
            problem = f"has more than {MAX_ROW:,} characters"
            return InputError(problem, where=where, hint="Leave out the longest texts.")
        if line.count(",") > MAX_VALUES:
            problem = f"has more than {MAX_VALUES:,} commas, and each may separate values"
            return InputError(problem, where=where, hint="Leave out the longest lists.")
        try:
            found = json.loads(line)
        except json.JSONDecodeError as exc:
            return InputError(
                f"is not JSON ({exc.msg})", where=f"{where}, column {exc.colno}", hint=_HINT
            )
        except (ValueError, RecursionError) as exc:  # a number with 5,000 digits, or deep nesting
            return InputError(f"cannot be read as JSON ({exc})", where=where, hint=_HINT)
        if not isinstance(found, dict):
            return InputError("is not a JSON object", where=where, hint=_HINT)
        if floats := [name for name, value in found.items() if isinstance(value, float)]:
            # Decimal numbers are kept as texts, since the id 2405.10 would lose a digit as a float.
            # NaN, which pandas writes, is read as null.
            texts = json.loads(line, parse_float=str, parse_constant=lambda _: None)
            found.update({name: texts[name] for name in floats})
        return found


def _is_ascii(text: str) -> bool:
    return text.isascii() and "\0" not in text  # ASCII text in UTF-16 contains NUL


def without_mark(cell: str) -> str:
    """Return the text of a cell, without the apostrophe that `inert` adds."""
    return cell[1:] if cell[:1] == "'" and EXECUTED.match(cell) else cell


def is_saved_table(names: Sequence[str]) -> bool:
    """Return True if the column names are the header of a table that the harness saved."""
    return tuple(names[1:2]) == ("title",) and "abstract" in names


def write_jsonl(file: IO[bytes], items: Iterable[Annotated]) -> None:
    """Write the record of each annotation as a line of JSON in UTF-8."""
    for item in items:
        file.write(compact_json(item.record).encode() + b"\n")


def compact_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
