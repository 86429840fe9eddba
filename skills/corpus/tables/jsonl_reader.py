"""Tables as JSON Lines: one object a line."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.support.text_input import shown
from skills.corpus.tables.columns import Wanted, as_text
from skills.corpus.tables.files import Record, place, text_lines

HEADER_ROWS = 100
"""Rows whose keys are the header: a writer may leave out a key where it has no value."""
_ONE_A_LINE = "Write one JSON object a line."


class JsonlReader:
    unit = "line"

    def __init__(self, path: Path) -> None:
        self._path = path

    def header(self) -> tuple[str, ...]:
        """The keys of the first rows, in the order in which they are first seen."""
        names: dict[str, None] = {}
        for _, row in itertools.islice(self._rows(), HEADER_ROWS):
            names.update(dict.fromkeys(row))
        if not names:
            raise InputError("holds no rows", where=shown(self._path), hint=_ONE_A_LINE)
        return tuple(names)

    def records(self, wanted: tuple[Wanted, ...]) -> Iterator[Record]:
        for line, row in self._rows():
            values = tuple(self._text(row.get(want.column), want, line) for want in wanted)
            yield Record(line, values)

    def _text(self, value: Any, want: Wanted, line: int) -> str:
        text = as_text(value, want.kind)
        if text is None:
            raise InputError(
                f"{want.column!r} holds {_NAMES.get(type(value), 'no text')}, and not text",
                where=place(self._path, self.unit, line),
                hint="Write it as a string.",
            )
        return text

    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in enumerate(text_lines(self._path), start=1):
            if line.strip():
                yield number, self._object(line.rstrip("\r\n"), number)

    def _object(self, line: str, number: int) -> dict[str, Any]:
        where = place(self._path, self.unit, number)
        try:
            found = json.loads(
                line,
                parse_int=str,  # an id is text: 2405.10 is not 2405.1
                parse_float=str,
                parse_constant=lambda _: None,  # NaN, as pandas writes what is missing
                object_pairs_hook=_without_repeats,
            )
        except json.JSONDecodeError as exc:
            raise InputError(
                f"is not JSON ({exc.msg})", where=f"{where}, column {exc.colno}", hint=_ONE_A_LINE
            ) from exc
        except _Twice as exc:
            raise InputError(
                f"the key {exc.args[0]!r} stands twice", where=where, hint="Leave one out."
            ) from exc
        except RecursionError as exc:
            raise InputError("is nested too deeply", where=where, hint=_ONE_A_LINE) from exc
        if not isinstance(found, dict):
            what = _NAMES.get(type(found), "a single value")
            raise InputError(f"is {what}, and no object", where=where, hint=_ONE_A_LINE)
        return found


class _Twice(Exception):
    """A key that an object has twice: the parser itself would drop one value."""


_NAMES = {list: "a list", dict: "an object", bool: "true or false", str: "a string or number"}


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(key)
        found[key] = value
    return found
