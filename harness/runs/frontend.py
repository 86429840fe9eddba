"""What a frontend passes to a run, and what it gets back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from harness.api.options import GeneralOptions
    from harness.api.skill import Result


@dataclass(frozen=True, slots=True)
class Frontend:
    """Where lines come from, and whether the user can be asked.

    Attributes:
        name: "one-shot", "repl", "model" or "test", for the run log.
        confirm: asks the user a yes-or-no question; None if there is nobody to ask.
        stdin: read for `-` and for missing text; None if it is missing or a terminal.
        choose: asks the user a question with the given answers, and returns one of them, or "" if
            the user gave none; None if there is nobody to ask.
        is_model: the invocations come from a model, so the user is asked before changes.
    """

    name: str
    confirm: Callable[[str], bool] | None = None
    stdin: IO[bytes] | None = None
    is_model: bool = False
    choose: Callable[[str, Sequence[str]], str] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a line for the frontend to show.

    Attributes:
        saved: the files written.
        emitted: whether the result's text has already been printed piece by piece.
        line_ended: whether that ended with a line feed.
    """

    result: Result
    general: GeneralOptions
    saved: tuple[Path, ...] = ()
    emitted: bool = False
    line_ended: bool = False
