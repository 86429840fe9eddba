"""Read tables as JSON Lines: one object per line."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

from harness.errors import InputError
from harness.support.reading.text_input import place, shown, text_lines
from skills.corpus.tables.columns import Reader

HEADER_ROWS = 100
"""Rows whose keys are the header: a writer may omit a key without a value."""
_HINT = "Write one JSON object per line."


class JsonlReader(Reader):
    def header(self) -> tuple[str, ...]:
        """Return the keys of the first rows, in the order in which they first occur."""
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
        with contextlib.closing(text_lines(self.path, with_nul=True)) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, self._object(line.rstrip("\r\n"), number)

    def _object(self, line: str, number: int) -> dict[str, Any] | InputError:
        where = place(self.path, self.unit, number)
        try:
            found = json.loads(line)
        except json.JSONDecodeError as exc:
            return InputError(
                f"is not JSON ({exc.msg})", where=f"{where}, column {exc.colno}", hint=_HINT
            )
        except (ValueError, RecursionError) as exc:  # a number of 5,000 digits; deep nesting
            return InputError(f"cannot be read as JSON ({exc})", where=where, hint=_HINT)
        if not isinstance(found, dict):
            return InputError("is not a JSON object", where=where, hint=_HINT)
        if floats := [name for name, value in found.items() if isinstance(value, float)]:
            # An id is text: 2405.10 is not 2405.1. NaN is what pandas writes for a missing value.
            texts = json.loads(line, parse_float=str, parse_constant=lambda _: None)
            found.update({name: texts[name] for name in floats})
        return found
