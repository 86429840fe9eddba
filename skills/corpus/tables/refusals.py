"""Collect the errors of refused rows, while the other rows are used.

For example:

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
"""Maximum number of refused rows that are printed."""
KEPT = 1000
"""Maximum number of refused rows whose errors are kept; all refused rows are counted."""


@dataclass(slots=True)
class Refused:
    """The result of a `refusing` block: the error that the block raised, or None."""

    error: InputError | None = None


@contextlib.contextmanager
def refusing(where: str) -> Iterator[Refused]:
    """Catch the error of an unusable row, and record it in the yielded `Refused`.

    Args:
        where: the place of the row, for the message of an unexpected error.

    Raises:
        HarnessError: the block raised an error of the harness that is not an InputError.
        OSError, MemoryError, sqlite3.Error: results cannot be stored (see `is_of_storage`).
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
        *_, frame = traceback.extract_tb(error.__traceback__)
        line = f"{Path(frame.filename).name}, line {frame.lineno}"
        refused.error = InputError(
            f"cannot be used: {type(error).__name__}: {error} ({line})",
            where=where,
            hint="Please report this error with the row.",
        )


def accepted(
    rows: Generator[T | InputError, None, None], refuse: Callable[[InputError], None] | None = None
) -> Iterator[T]:
    """Yield the rows that are not errors.

    Args:
        refuse: called with each error. If it is None, the first error is raised.
    """
    with contextlib.closing(rows):  # closes the file, even if an error is raised
        for row in rows:
            if not isinstance(row, InputError):
                yield row
            elif refuse is None:
                raise row
            else:
                refuse(row)


@dataclass(slots=True)
class Refusals:
    """The errors of refused rows, in the order of the rows.

    Attributes:
        errors: the first `KEPT` errors.
        count: the number of all errors.
    """

    errors: list[InputError] = field(default_factory=list)
    count: int = 0

    def __len__(self) -> int:
        return self.count

    def add(self, error: InputError) -> None:
        self.count += 1
        if len(self.errors) < KEPT:
            self.errors.append(error)

    def raise_first(self) -> None:
        """Raise the first error, with up to `SHOWN` - 1 further errors listed in its hint.

        Without errors, do nothing. Callers use this method if no row of a table can be used.
        """
        if len(self) == 1:
            raise self.errors[0]
        if self.errors:
            first = self.errors[0]
            _, *others = self._lines()
            hint = "\n".join((f"{first.hint or ''} No row can be used:".strip(), *others))
            raise InputError(first.message, where=first.where, hint=hint)

    def report(self, screen: Screen) -> None:
        """Print the first `SHOWN` errors, and the number of the other errors."""
        for line in self._lines():
            screen.notice(line)

    def _lines(self) -> Iterator[str]:
        for error in self.errors[:SHOWN]:
            yield f"refused: {error}"
        if len(self) > SHOWN:
            yield f"refused: {counted(len(self) - SHOWN, 'more row')}"

    def as_json(self) -> list[dict[str, str]]:
        """Return the place and the reason of each kept error."""
        return [{"where": error.where or "", "reason": error.message} for error in self.errors]
