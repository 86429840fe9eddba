"""Read tables as JSON Lines: one object per line."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.support.text_input import place, shown, text_lines
from skills.corpus.tables.columns import Column, Record, as_text, not_text

HEADER_ROWS = 100
"""Rows whose keys are the header: a writer may omit a key without a value."""
_HINT = "Write one JSON object per line."


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
            values = []
            for column in columns:
                value = whole.get(column.name)
                if column.kind != "object":
                    value = as_text(row.get(column.name), column.kind)
                    if value is None:
                        where = place(self._path, self.unit, number)
                        raise not_text(row[column.name], column, where)
                values.append(value)
            yield Record(number, tuple(values))

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
            )
        except json.JSONDecodeError as exc:
            raise InputError(
                f"is not JSON ({exc.msg})", where=f"{where}, column {exc.colno}", hint=_HINT
            ) from exc
        except RecursionError as exc:
            raise InputError("is nested too deeply", where=where, hint=_HINT) from exc
        if not isinstance(found, dict):
            raise InputError("is not a JSON object", where=where, hint=_HINT)
        return found
