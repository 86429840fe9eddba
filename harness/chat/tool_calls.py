"""Read the arguments of tool calls, record the calls in the run log, and format results.

The model receives a result as one JSON object. `shortened` cuts long results.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, InternalError, Interrupted, UsageError
from harness.models.backend import ToolCall
from harness.models.served import Usage
from harness.runs.frontend import Outcome
from harness.runs.run_log import WITHOUT_ASKING, Run, Status

if TYPE_CHECKING:
    from harness.cli.app import App

CHARACTERS = 4000
_LIMITS = ((50, 1000), (20, 400), (8, 200), (3, 100))
"""Pairs of limits, which are tried in order until a result fits. The first limit is the number of
items of a list; an object may have twice as many items. The second limit is the number of
characters of a text.
"""
LINE = 2_000
"""Maximum number of characters of a call that `log_failure` records."""


def content_of(outcome: Outcome, **content: Any) -> dict[str, Any]:
    """Return `content` with the exit code, the saved files and the error of an outcome added."""
    content = {"exit_code": outcome.result.code, **content}
    if outcome.saved:
        content["saved"] = [str(path) for path in outcome.saved]
    if outcome.result.stopped is not None:
        content["error"] = str(outcome.result.stopped)
    return content


def error_content(error: HarnessError) -> str:
    """Return the exit code, message, location and hint of an error as JSON."""
    content = {"exit_code": error.exit_code, "error": error.message}
    content |= {"where": error.where} if error.where else {}
    return compact(content | ({"what_to_do": error.hint} if error.hint else {}))


def shortened(data: Any, characters: int = CHARACTERS) -> Any:
    """Return `data`, or a cut copy if the JSON of `data` has more than `characters` characters.

    In the copy, lists, objects and texts are cut; each cut states the number of omitted items or
    characters. If the JSON of the copy is still too long, the result is the beginning of this JSON.
    """
    if len(compact(data)) <= characters:
        return data
    smaller = data
    for items, letters in _LIMITS:
        smaller = _less(data, items, letters)
        if len(compact(smaller)) <= characters:
            return smaller
    text = compact(smaller)
    return f"{text[:characters]}... ({len(text) - characters:,} characters more)"


def compact(data: Any) -> str:
    """Return `data` as JSON without blanks between items."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _less(data: Any, items: int, letters: int) -> Any:
    if isinstance(data, str) and len(data) > letters:
        return f"{data[:letters]}... ({len(data) - letters:,} characters more)"
    if isinstance(data, list):
        kept = [_less(one, items, letters) for one in data[:items]]
        return [*kept, f"... ({len(data) - items:,} more)"] if len(data) > items else kept
    if isinstance(data, dict):
        few = {key: _less(data[key], items, letters) for key in [*data][: items * 2]}
        left = len(data) - len(few)
        return {**few, "...": f"{left:,} more"} if left else few
    return data


@contextlib.contextmanager
def logged(app: App, run: Run, tool: str, line: str, options: Mapping[str, Any]) -> Iterator[None]:
    """Record a tool call in a row of the run log; the block of the `with` statement runs the call.

    The row is also recorded if the block raises an error; with --no-log, there is no row. If the
    block succeeds without a call of `Run.allow`, the row has the permission `WITHOUT_ASKING`.

    Raises:
        Interrupted: Ctrl-C was pressed.
        InternalError: the block raised an error that is not a HarnessError.
    """
    if app.current_general is None or not app.current_general.no_log:
        app.run_log.start(door="model", line=line, skill=tool, options=options, job="", run=run)
    try:
        yield
    except KeyboardInterrupt as exc:
        run.close("interrupted", Interrupted.exit_code, Usage())
        raise Interrupted("interrupted") from exc
    except HarnessError as error:
        status: Status = "interrupted" if isinstance(error, Interrupted) else "failed"
        kind = type(error).__name__
        run.close(status, error.exit_code, Usage(), error_type=kind, error=str(error))
        raise
    except Exception as exc:
        run.close("failed", 1, Usage(), error_type=type(exc).__name__, error=str(exc))
        raise InternalError(exc) from exc
    if not run.allowed:
        run.allow(WITHOUT_ASKING)
    run.close("done", 0, Usage())


def log_failure(app: App, run: Run, tool: str, line: str, error: HarnessError) -> None:
    """Record a call that has no row in the run log yet, since it is invalid or not allowed."""
    with contextlib.suppress(HarnessError), logged(app, run, tool, line[:LINE], {}):
        raise error


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """Parse the arguments of a call, and return the arguments that are not null.

    Raises:
        UsageError: the arguments are not a JSON object.
    """
    try:
        given = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError) as exc:
        raise UsageError(
            f"the arguments are not JSON: {call.arguments[:200]!r} ({exc})",
            hint="Give one JSON object.",
        ) from exc
    if not isinstance(given, dict):
        raise UsageError(f"the arguments are not a JSON object: {call.arguments[:200]!r}")
    return {key: value for key, value in given.items() if value is not None}


def string(given: Mapping[str, Any], key: str) -> str:
    """Return the argument `key`, which must be text, or "" if it is missing.

    Raises:
        UsageError: the argument is not text.
    """
    value = given.get(key, "")
    if not isinstance(value, str):
        raise UsageError(f"{key}: {value!r} is not text")
    return value
