"""Read tables as JSON Lines: one object per line."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.support.text_input import place, shown, text_lines
from skills.corpus.tables.columns import Column, Record, as_text

HEADER_ROWS = 100
"""Rows whose keys are the header: a writer may omit a key without a value."""
_HINT = "Write one JSON object per line."
_NAMES = {list: "a list", dict: "an object", bool: "true or false", str: "a string or number"}


class JsonlReader:
    unit = "line"

    def __init__(self, path: Path) -> None:
        self._path = path

    def header(self) -> tuple[str, ...]:
        """Return the keys of the first rows, in the order in which they first occur."""
        names: dict[str, None] = {}
        for _, _, row in itertools.islice(self._rows(), HEADER_ROWS):
            names.update(dict.fromkeys(row))
        if not names:
            raise InputError("has no rows", where=shown(self._path), hint=_HINT)
        return tuple(names)

    def records(self, columns: tuple[Column, ...]) -> Iterator[Record]:
        has_objects = any(column.kind == "object" for column in columns)
        for number, line, row in self._rows():
            whole = json.loads(line) if has_objects else {}
            values = (
                whole.get(column.name)
                if column.kind == "object"
                else self._text(row.get(column.name), column, number)
                for column in columns
            )
            yield Record(number, tuple(values))

    def _text(self, value: Any, column: Column, number: int) -> str:
        text = as_text(value, column.kind)
        if text is None:
            raise InputError(
                f"{column.name!r} is {_NAMES.get(type(value), 'not text')}, not text",
                where=place(self._path, self.unit, number),
                hint="Write it as a string.",
            )
        return text

    def _rows(self) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Yield the number, text and object of each line; numbers in it stay text."""
        for number, line in enumerate(text_lines(self._path), start=1):
            if line.strip():
                yield number, line, self._object(line.rstrip("\r\n"), number)

    def _object(self, line: str, number: int) -> dict[str, Any]:
        where = place(self._path, self.unit, number)
        try:
            found = json.loads(
                line,
                parse_int=str,  # an id is text: 2405.10 is not 2405.1
                parse_float=str,
                parse_constant=lambda _: None,  # NaN, which pandas writes for a missing value
                object_pairs_hook=_without_repeats,
            )
        except json.JSONDecodeError as exc:
            raise InputError(
                f"is not JSON ({exc.msg})", where=f"{where}, column {exc.colno}", hint=_HINT
            ) from exc
        except _RepeatedKey as exc:
            raise InputError(
                f"the key {exc.args[0]!r} is repeated", where=where, hint="Remove one."
            ) from exc
        except RecursionError as exc:
            raise InputError("is nested too deeply", where=where, hint=_HINT) from exc
        if not isinstance(found, dict):
            what = _NAMES.get(type(found), "a single value")
            raise InputError(f"is {what}, not an object", where=where, hint=_HINT)
        return found


class _RepeatedKey(Exception):
    """A key that an object has twice: the parser itself would drop one value."""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _RepeatedKey(key)
        found[key] = value
    return found
