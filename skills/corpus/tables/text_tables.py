"""Read and write .csv (RFC 4180) and .jsonl tables, and detect the encoding of text files.

The columns of a CSV file may be separated by semicolons or tabs, as some spreadsheets write them.

A spreadsheet program executes a cell that begins with "=", "+", "-", "@", a tab or a carriage
return. Therefore, in .csv and .xlsx files, an apostrophe is written before a text that begins with
one of these characters, unless the text is a number. An apostrophe marks text in spreadsheets. A
text that begins with apostrophes followed by one of these characters gets another apostrophe.

A reader removes one apostrophe from a cell that begins with apostrophes followed by one of these
characters, so that saving and reading do not change a text. The reader of spreadsheets always
removes the apostrophe. The reader of .csv files removes it only if the file has the columns of a
saved table, which are an id column, "title" and "abstract". In a table that was saved with `--raw`,
a text that begins with "'=" loses its apostrophe when it is read.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import functools
import io
import itertools
import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
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
from skills.corpus.tables.columns import CONFIDENCE, DOUBT, SECTIONS, Reader
from skills.nanda.confidence import confidence_of, from_sections, suggestions_of, uncertain_moves
from skills.nanda.framework import Framework
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
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # UTF-32 precedes UTF-16, whose mark is a prefix of this mark
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_DECLARED = re.compile(
    rb"^%[ %]*Encoding: *((?:ISO[-_]?8859[-_]?|Cp|windows-)\d{1,4}|MacRoman|KOI8[-_]?R|Shift_JIS"
    rb"|GB18030|GBK|Big5|EUC[-_](?:JP|KR))\b",
    re.IGNORECASE | re.MULTILINE,
)
"""Matches the encoding that JabRef declares in the first lines of a file."""
_UNMARKED = {
    "utf-16-le": re.compile(rb"(?:[^\0]\0){2}"),
    "utf-16-be": re.compile(rb"(?:\0[^\0]){2}"),
}
"""Match the beginning of ASCII text in UTF-16 without a byte order mark."""
_RUN = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?%?")
GUESSED = "cp1252"
HEAD = 4096
BLOCK = 1 << 20


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

        If the first character outside ASCII is valid UTF-8, the whole file is read as UTF-8.
        Otherwise, the encoding is detected by `encoding_of`.
        """
        with reading(self.path), self.path.open(encoding="utf-8", errors="surrogateescape") as file:
            lines = (line for line in bounded_lines(file, self.path) if not line.isascii())
            beyond = (c for line in lines for c in line if not c.isascii())
            if not "\udc80" <= next(beyond, "\udc80") <= "\udcff":
                return "utf-8-sig"
        if (found := encoding_of(self.path)) == GUESSED:
            with reading(self.path), self.path.open("rb") as binary:
                if b"\0" in binary.read(HEAD):
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


def inert(text: str, *, raw: bool = False) -> str:
    """Return the cell for a text, with an apostrophe if a spreadsheet would execute the text.

    Args:
        raw: True to return the text unchanged.
    """
    runs = not raw and _RUN.match(text) and not _NUMBER.fullmatch(text)
    return f"'{text}" if runs else text


def without_mark(cell: str) -> str:
    """Return the text of a cell, without the apostrophe that `inert` adds."""
    return cell[1:] if cell[:1] == "'" and _RUN.match(cell) else cell


def is_saved_table(names: Sequence[str]) -> bool:
    """Return True if the column names are the header of a table that the harness saved."""
    return tuple(names[1:2]) == ("title",) and "abstract" in names


def write_json_list(file: IO[bytes], values: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON array in UTF-8, with each value on its own line."""
    for piece in json_list(values):
        file.write(piece.encode())


def json_list(values: Iterable[Any], indent: int | None = None) -> Iterator[str]:
    """Yield the text of a JSON array, in pieces.

    Args:
        indent: number of blanks by which the parts of a value are indented; None to write each
            value in one line.
    """
    before = "[\n"
    for value in values:
        yield before + json.dumps(value, ensure_ascii=False, indent=indent)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def write_csv(file: IO[bytes], rows: Iterable[Sequence[str]], *, raw: bool = False) -> None:
    """Write rows as CSV (RFC 4180) in UTF-8, but with "\\n" at the end of lines.

    Args:
        raw: True to write no apostrophe before a text that a spreadsheet would execute.
    """
    for row in rows:
        file.write(csv_row(row, raw=raw))


def csv_row(values: Iterable[str], *, raw: bool = False) -> bytes:
    """Return a row as a line of CSV in UTF-8, with "\\n" at its end.

    Args:
        raw: True to write no apostrophe before a text that a spreadsheet would execute.
    """
    # With "\n" as line terminator, the csv module of Python 3.11 does not quote a lone "\r", which
    # readers would treat as the end of a row.
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerow(inert(text, raw=raw) for text in values)
    return buffer.getvalue().removesuffix("\r\n").encode() + b"\n"


def write_jsonl(file: IO[bytes], items: Iterable[Annotated]) -> None:
    """Write the record of each annotation as a line of JSON in UTF-8."""
    for item in items:
        file.write(compact_json(item.record).encode() + b"\n")


def table_rows(
    items: Iterable[Annotated],
    framework: Framework,
    id_column: str,
    *,
    doubt: bool = False,
    sections: bool = False,
) -> Iterator[tuple[str, ...]]:
    """Yield the header, then a row for each annotation: id, title, abstract and moves.

    Args:
        id_column: the name of the id column in the input. If another column has this name, the id
            column is named "id".
        doubt: True to add the columns `DOUBT`.
        sections: True to add a column with the moves that were found in sections.
    """
    names = ("title", "abstract", *framework.names, *DOUBT * doubt, *[SECTIONS] * sections)
    yield (name_of_ids(id_column, names), *names)
    for item in items:
        record, paper = item.record, item.paper
        known = confidence_of(record.get(CONFIDENCE), framework.names)
        suggested = (
            f"{move} ({one['confidence']:.2f}): {one['text']}"
            for move, one in suggestions_of(record).items()
        )
        doubts = (
            "; ".join(uncertain_moves(record)),
            "; ".join(f"{move} {confidence:.2f}" for move, confidence in known.items()),
            "; ".join(suggested),
        )
        beside = (f"{framework.labels[one]}: {text}" for one, text in from_sections(record).items())
        yield (
            paper.id,
            paper.title,
            paper.abstract,
            *(record[name] for name in framework.names),
            *doubts * doubt,
            *["; ".join(beside)] * sections,
        )


def name_of_ids(id_column: str, others: Iterable[str]) -> str:
    """Return `id_column`, or "id" if another column has the same name."""
    return "id" if id_column.casefold() in others else id_column


def compact_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def decoded_lines(path: Path, begins_row: Callable[[str], object]) -> Generator[str, None, None]:
    """Yield the lines of a text file, each with "\\n" at its end.

    The encoding is detected by `encoding_of`.

    Args:
        begins_row: returns True for a line that begins a row, as in `bounded_lines`.

    Raises:
        InputError: the file cannot be read, is binary, has another encoding, or contains a row that
            is too long.
    """
    encoding = encoding_of(path)
    return text_lines(path, encoding=encoding, newline=None, begins_row=begins_row)


def encoding_of(path: Path) -> str:
    """Return the encoding of a text file.

    The result is the first of these encodings that can decode the whole file: the encoding of the
    byte order mark, the encoding that JabRef declares, UTF-16 if the file begins with ASCII text in
    UTF-16, UTF-8, and Windows-1252, which includes Latin-1.

    Raises:
        InputError: the file cannot be read, or contains bytes that are invalid in these encodings.
    """
    with reading(path), path.open("rb") as file:
        head = file.read(HEAD)
    declared = _DECLARED.search(head)
    candidates: tuple[str, ...] = (
        next((name for mark, name in _MARKS.items() if head.startswith(mark)), ""),
        declared[1].decode() if declared else "",
        next((name for name, begins in _UNMARKED.items() if begins.match(head)), ""),
        "utf-8",
        GUESSED,
    )
    for name in candidates:
        if name and _decodes(path, name):
            return name
    raise InputError(
        "is neither UTF-8 nor Windows-1252 text", where=shown(path), hint="Save the file as UTF-8."
    )


def line_end(path: Path) -> str:
    """Return the line ending at the start of a text file; "\\n" for no or mixed line endings."""
    with reading(path), path.open(encoding=encoding_of(path)) as file:
        file.readline()
        return file.newlines if isinstance(file.newlines, str) else "\n"


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    with reading(path), path.open("rb") as file:
        try:
            while block := file.read(BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeError:
            return False
    return True
