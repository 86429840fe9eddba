"""Collect refused rows with place and reason, while the other rows are used.

refusals = Refusals()
for row in accepted(table.rows_or_errors(), refusals.add): ...
refusals.report(call.screen)
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from harness.errors import HarnessError, InputError
from harness.support.sqlite import is_of_storage
from harness.terminal.console import Screen
from skills.nanda.text import counted

T = TypeVar("T")

SHOWN = 20
"""Maximum number of refused rows that are listed."""
KEPT = 1000
"""Maximum number of refused rows whose errors are kept; further rows are counted."""


@dataclass(slots=True)
class Refused:
    """The error of a row if the block has raised an error."""

    error: InputError | None = None


@contextlib.contextmanager
def refusing(where: str) -> Iterator[Refused]:
    """Record the error that makes a row unusable, even an unexpected error.

    Raises:
        HarnessError: the error is a HarnessError, but not an InputError.
        OSError, sqlite3.Error: storing rows fails (`is_of_storage`).
    """
    refused = Refused()
    try:
        yield refused
    except InputError as error:
        refused.error = error
    except HarnessError:
        raise
    except Exception as error:
        if is_of_storage(error):
            raise
        refused.error = _unexpected(error, where)


def accepted(
    rows: Generator[T | InputError, None, None],
    refuse: Callable[[InputError], None] | None = None,
) -> Iterator[T]:
    """Yield the rows that are not errors.

    Args:
        refuse: called with each error; without it, the first error is raised.
    """
    with contextlib.closing(rows):  # also closes the file, even if an error is raised
        for row in rows:
            if not isinstance(row, InputError):
                yield row
            elif refuse is None:
                raise row
            else:
                refuse(row)


@dataclass(slots=True)
class Refusals:
    """The errors of rows in file order: the first `KEPT` errors, and the number of all."""

    errors: list[InputError] = field(default_factory=list)
    count: int = 0

    def __len__(self) -> int:
        return self.count

    def add(self, error: InputError) -> None:
        self.count += 1
        if len(self.errors) < KEPT:
            self.errors.append(error)

    def raise_first(self) -> None:
        """Raise the first error, with the others in its hint, if a table has no usable row."""
        if len(self) == 1:
            raise self.errors[0]
        if self.errors:
            first = self.errors[0]
            _, *others = self._lines()
            hint = "\n".join((f"{first.hint or ''} No row can be used:".strip(), *others))
            raise InputError(first.message, where=first.where, hint=hint)

    def report(self, screen: Screen) -> None:
        """Print a line for each of the first `SHOWN` refused rows."""
        for line in self._lines():
            screen.notice(line)

    def _lines(self) -> Iterator[str]:
        for error in self.errors[:SHOWN]:
            yield f"refused: {error}"
        if len(self) > SHOWN:
            yield f"refused: {counted(len(self) - SHOWN, 'more row')}"

    def as_json(self) -> list[dict[str, str]]:
        """Return the place and the reason of each of the first `KEPT` refused rows."""
        return [{"where": error.where or "", "reason": error.message} for error in self.errors]


def _unexpected(error: Exception, where: str) -> InputError:
    """Return the error for a fault of this code, with its type and its place in the code."""
    *_, frame = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frame.filename).name}, line {frame.lineno}"
    return InputError(
        f"cannot be used: {type(error).__name__}: {error} ({place})",
        where=where,
        hint="Please report it with this row.",
    )
