"""Rows that are refused: each with its place and reason, while the others are used.

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
from harness.support.storage_errors import is_of_storage
from harness.terminal.console import Screen
from skills.nanda.text import counted

T = TypeVar("T")

SHOWN = 20
"""Refused rows that are listed."""


@dataclass(slots=True)
class Refused:
    """The error of a block about one row, if it has one."""

    error: InputError | None = None


@contextlib.contextmanager
def refusing(where: str) -> Iterator[Refused]:
    """Record why a row cannot be used, also if the reason is an unexpected error.

    Raises:
        HarnessError: it is not an InputError.
        OSError, sqlite3.Error: storing fails for every row (`is_of_storage`).
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
        refuse: called with each error; without it, the first one is raised.
    """
    with contextlib.closing(rows):  # and the file, also if an error is raised
        for row in rows:
            if not isinstance(row, InputError):
                yield row
            elif refuse is None:
                raise row
            else:
                refuse(row)


@dataclass(slots=True)
class Refusals:
    """The errors of rows in file order."""

    errors: list[InputError] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.errors)

    def add(self, error: InputError) -> None:
        self.errors.append(error)

    def raise_first(self) -> None:
        """Raise the first error, if there is one: for a table without a usable row."""
        if self.errors:
            raise self.errors[0]

    def report(self, screen: Screen) -> None:
        """Print a line for each refused row, for the first `SHOWN`."""
        for error in self.errors[:SHOWN]:
            screen.notice(f"refused: {error}")
        if len(self) > SHOWN:
            screen.notice(f"refused: {counted(len(self) - SHOWN, 'more row')}")

    def as_json(self) -> list[dict[str, str]]:
        """Return the place and the reason of each row."""
        return [{"where": error.where or "", "reason": error.message} for error in self.errors]


def _unexpected(error: Exception, where: str) -> InputError:
    """Return the error for a fault of ours, with its type and place in the code."""
    *_, frame = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frame.filename).name}, line {frame.lineno}"
    return InputError(
        f"cannot be used: {type(error).__name__}: {error} ({place})",
        where=where,
        hint="Please report it with this row.",
    )
