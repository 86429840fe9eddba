"""Isolation of plugin code: prints go to stderr, and any exception becomes SkillFailed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Iterator, Mapping
from types import NoneType
from typing import Any

from harness.api.skill import Call, Result, Skill
from harness.errors import HarnessError, SkillFailed
from harness.runs.run_log import Run
from harness.terminal.console import Screen

MAX_EXIT_CODE = 255
RESULT_FIELDS: dict[str, tuple[tuple[Any, ...], str]] = {
    "text": ((str,), "text"),
    "renderers": ((Mapping,), "mapping"),
    "writers": ((Mapping,), "mapping"),
    "companions": ((Mapping,), "mapping"),
    "summary": ((Mapping, NoneType), "mapping"),
    "exit_code": ((int,), "number"),
    "records": ((Callable, NoneType), "function"),
    "stopped": ((HarnessError, NoneType), "HarnessError"),
}


@contextlib.contextmanager
def isolated(who: str, screen: Screen, run: Run) -> Iterator[None]:
    """Run plugin code: its prints go to stderr, and other errors become SkillFailed.

    Args:
        who: the owner of the code, for messages.

    Raises:
        HarnessError: what the code raised; anything else it raises becomes SkillFailed.
    """
    try:
        with contextlib.redirect_stdout(screen.prints):
            yield
    except (HarnessError, KeyboardInterrupt):
        raise
    except BaseException as exc:  # plugin code may raise anything
        raise SkillFailed(
            f"{who} failed: {type(exc).__name__}: {exc}",
            hint=f"`/logs {run.id}` has the traceback." if run.id else None,
        ) from exc


def call_isolated(skill: Skill, call: Call, formats: Container[str] = ()) -> Result:
    """Call `skill.run` and check its result.

    Args:
        formats: suffixes of plugins' formats for the result's records.

    Raises:
        HarnessError: what the skill raised, or SkillFailed.
    """
    with isolated(f"/{skill.name}", call.screen, call.log):
        result = skill.run(call)
    if not isinstance(result, Result):
        raise SkillFailed(f"/{skill.name} returned {type(result).__name__}, not a Result")
    if wrong := _wrong(result):
        raise SkillFailed(f"/{skill.name} returned a Result whose {wrong}")
    missing = [
        target.suffix
        for target in call.targets
        if (suffix := target.suffix.lower()) not in result.saves
        and not (suffix in formats and result.has_records)
    ]
    if missing:
        raise SkillFailed(f"/{skill.name} has no result to save as {missing[0]}")
    return result


def _wrong(result: Result) -> str | None:
    """Return what is wrong with the types of a result, or None."""
    for name, (kind, what) in RESULT_FIELDS.items():
        if not isinstance(getattr(result, name), kind):
            return f"{name} is not a {what}"
    if not 0 <= result.exit_code <= MAX_EXIT_CODE:
        return f"exit_code is not a number from 0 to {MAX_EXIT_CODE}"
    return None
