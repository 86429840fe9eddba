"""Write .csv (RFC 4180) and .json files, and yield the rows of saved tables.

A spreadsheet program executes a cell that begins with "=", "+", "-", "@", a tab or a carriage
return. Therefore, in .csv and .xlsx files, an apostrophe is written before a text that begins with
one of these characters, unless the text is a number. An apostrophe marks text in spreadsheets. A
text that begins with apostrophes followed by one of these characters gets another apostrophe.
`text_tables.without_mark` removes the apostrophe.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

from skills.corpus.records import Annotated
from skills.corpus.tables.columns import CONFIDENCE, DOUBT, SECTIONS
from skills.corpus.tables.text_tables import EXECUTED
from skills.nanda.confidence import confidence_of, uncertain_moves
from skills.nanda.framework import Framework
from skills.nanda.remarks import from_sections, suggestions_of

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?%?")


def inert(text: str, *, raw: bool = False) -> str:
    """Return the cell for a text, with an apostrophe if a spreadsheet would execute the text.

    Args:
        raw: True to return the text unchanged.
    """
    runs = not raw and EXECUTED.match(text) and not _NUMBER.fullmatch(text)
    return f"'{text}" if runs else text


def write_json_list(file: IO[bytes], values: Iterable[Any], indent: int | None = None) -> None:
    """Write a JSON array in UTF-8; `indent` is as for `json_list`."""
    for piece in json_list(values, indent):
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
