"""Calling a skill, which is a stranger here: it may raise anything, and its prints go to stderr."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import NoneType

from harness.errors import HarnessError, SkillFailed
from harness.runlog import Run
from harness.screen import Screen
from harness.skills import Call, Result, Skill
from harness.surroundings import put_back

MAX_EXIT_CODE = 255
RESULT_FIELDS: dict[str, tuple[tuple[type, ...], str]] = {
    "text": ((str,), "text"),
    "renderers": ((Mapping,), "mapping"),
    "writers": ((Mapping,), "mapping"),
    "companions": ((Mapping,), "mapping"),
    "summary": ((Mapping, NoneType), "mapping"),
    "exit_code": ((int,), "number"),
    "stopped": ((HarnessError, NoneType), "HarnessError"),
}


@contextlib.contextmanager
def isolated(skill: Skill, screen: Screen, run: Run) -> Iterator[None]:
    """Run a skill's code: its prints go to stderr, and it fails in one way only.

    What it changes of the process is put back (`harness.surroundings`).

    Raises:
        HarnessError: what the skill raised; anything else it raises becomes SkillFailed.
    """
    try:
        with (
            contextlib.redirect_stdout(screen.prints),
            put_back(lambda changed: screen.notice(f"/{skill.name} {changed}")),
        ):
            yield
    except (HarnessError, KeyboardInterrupt):
        raise
    except BaseException as exc:  # a stranger's code may raise anything
        raise SkillFailed(
            f"/{skill.name} broke: {type(exc).__name__}: {exc}",
            hint=f"`/logs {run.id}` has the traceback." if run.id else None,
        ) from exc


def call_isolated(skill: Skill, call: Call) -> Result:
    """Call `skill.run` so that nothing it does wrong goes further than this run.

    Raises:
        HarnessError: what the skill raised, or SkillFailed.
    """
    with isolated(skill, call.screen, call.log):
        result = skill.run(call)
    if not isinstance(result, Result):
        raise SkillFailed(f"/{skill.name} returned {type(result).__name__}, not a Result")
    if wrong := _wrong(result):
        raise SkillFailed(f"/{skill.name} returned a Result whose {wrong}")
    missing = [t.suffix for t in call.targets if t.suffix.lower() not in result.saves]
    if missing:
        raise SkillFailed(f"/{skill.name} has no result to save as {missing[0]}")
    return result


def _wrong(result: Result) -> str | None:
    """What the door would trip over when it shows the result."""
    for name, (kind, what) in RESULT_FIELDS.items():
        if not isinstance(getattr(result, name), kind):
            return f"{name} is no {what}"
    if not 0 <= result.exit_code <= MAX_EXIT_CODE:
        return f"exit_code is no number from 0 to {MAX_EXIT_CODE}"
    return None
