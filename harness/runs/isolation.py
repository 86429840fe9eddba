"""Isolation of code: any exception becomes an error of the harness, prints go to stderr."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterator

from pydantic import ValidationError

from harness.api.skill import Call, Result, Skill
from harness.errors import HarnessError, SkillFailed
from harness.runs.run_log import Run
from harness.terminal.console import Screen


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
        reason = str(exc)
        if isinstance(exc, ValidationError):
            parts = [f"{error['loc'][0]}: {error['msg']}" for error in exc.errors()]
            reason = f"{exc.title}, {'; '.join(parts)}"
        raise SkillFailed(
            f"{who} failed: {type(exc).__name__}: {reason}",
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
    missing = [
        target.suffix
        for target in call.targets
        if (suffix := target.suffix.lower()) not in result.saves
        and not (suffix in formats and result.has_records)
    ]
    if missing:
        raise SkillFailed(f"/{skill.name} has no result to save as {missing[0]}")
    return result
