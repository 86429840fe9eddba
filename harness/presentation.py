"""How an outcome or an error is shown, the same at every door."""

from __future__ import annotations

import json
import traceback

from harness.errors import HarnessError, InternalError, Interrupted, ReaderGone
from harness.execution import Outcome
from harness.screen import Screen


def show(outcome: Outcome, screen: Screen) -> None:
    """Put the result on stdout, and what was saved on stderr."""
    saved = [str(path) for path in outcome.saved]
    if outcome.general.as_json:
        screen.result(json.dumps({"saved": saved}) if saved else outcome.result.as_json())
    elif outcome.emitted:
        screen.result("\n")
    elif not saved:
        screen.result(outcome.result.text)
    for path in saved:
        screen.notice(f"Saved to {path}")


def print_error(error: HarnessError, screen: Screen) -> None:
    """Say on stderr what happened, where, and what to do."""
    if isinstance(error, ReaderGone):
        return
    if isinstance(error, InternalError) and error.__cause__ is not None:
        screen.notice("".join(traceback.format_exception(error.__cause__)).rstrip())
    screen.notice("Interrupted." if isinstance(error, Interrupted) else f"Error: {error}")
