"""Output of results and errors, the same for all frontends."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.errors import HarnessError, InternalError, Interrupted, ReaderGone
from harness.runs.frontend import Outcome
from harness.support.stopping import ctrl_c
from harness.terminal.console import Screen

if TYPE_CHECKING:
    from harness.api.skill import Result


def show(outcome: Outcome, screen: Screen, as_typed: Callable[[str], str] = str) -> None:
    """Print the result to stdout; print saved files and the error of a partial result to stderr.

    Args:
        as_typed: returns a line as the user has to type it.
    """
    result, saved = outcome.result, [str(path) for path in outcome.saved]
    if outcome.general.as_json and saved:
        summary = json.loads(result.as_json()) if result.summary is not None else {}
        screen.result(json.dumps({**summary, "saved": saved}, ensure_ascii=False))
    elif outcome.general.as_json:
        screen.result(result.as_json())
    elif outcome.emitted:
        screen.result("" if outcome.line_ended else "\n")
    elif not (screen.is_terminal and _rendered(result, screen)) and not saved:
        screen.result(result.text)
    show_saved(outcome, screen)
    if result.next and screen.is_terminal and not outcome.general.as_json:
        screen.hint(f"Next: {as_typed(result.next)}")


def _rendered(result: Result, screen: Screen) -> bool:
    """Show what the result has for a terminal, if it has it; return whether it was shown."""
    if result.terminal is None:
        return False
    try:
        screen.show(result.terminal())
    except HarnessError:
        raise
    except Exception as exc:  # noqa: BLE001  it is the code of a plugin
        screen.notice(f"the result cannot be rendered: {exc!r}")
        return False
    return True


def show_saved(outcome: Outcome, screen: Screen) -> None:
    """Print saved files and the error of a partial result to stderr."""
    for path in outcome.saved:
        screen.notice(f"Saved to {path}")
    if outcome.result.stopped is not None:
        print_error(outcome.result.stopped, screen)


def print_error(error: HarnessError, screen: Screen) -> None:
    """Print an error to stderr; an internal error with its traceback."""
    if isinstance(error, ReaderGone):
        return
    if isinstance(error, InternalError) and error.__cause__ is not None:
        screen.notice("".join(traceback.format_exception(error.__cause__)).rstrip())
    if isinstance(error, Interrupted):
        ctrl_c.reported()
        screen.notice(f"Interrupted. {error.hint}" if error.hint else "Interrupted.")
    else:
        screen.notice(f"Error: {error}")
