"""Isolation of code: any exception becomes an error of the harness, prints go to stderr."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

from pydantic import ValidationError

from harness.api.skill import Call, Result, Skill
from harness.errors import HarnessError, SkillFailed
from harness.runs.run_log import Run
from harness.runs.targets import folder_suffix, split, suffix_of
from harness.support.stopping import ctrl_c
from harness.terminal.console import Screen


@contextlib.contextmanager
def isolated(who: str, screen: Screen, run: Run) -> Iterator[None]:
    """Run plugin code: its prints go to stderr, and other errors become SkillFailed.

    Args:
        who: the owner of the code, for messages.

    Raises:
        HarnessError: what the code raised; anything else it raises becomes SkillFailed.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    try:
        with contextlib.redirect_stdout(screen.prints):
            yield
    except (HarnessError, KeyboardInterrupt):
        raise
    except BaseException as exc:  # plugin code may raise anything
        if ctrl_c.is_cause_of(exc):
            raise KeyboardInterrupt from exc
        reason = str(exc)
        if isinstance(exc, ValidationError):
            parts = [f"{error['loc'][0]}: {error['msg']}" for error in exc.errors()]
            reason = f"{exc.title}, {'; '.join(parts)}"
        raise SkillFailed(
            f"{who} failed: {type(exc).__name__}: {reason}",
            hint=f"`/logs {run.id}` has the traceback." if run.id else None,
        ) from exc


def call_isolated(skill: Skill, call: Call, formats: Collection[str] = ()) -> Result:
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
    files, folders = split(call, skill)
    missing = [
        target.suffix
        for target in files
        if (suffix := suffix_of(target, (*skill.saves, *formats))) not in result.saves
        and not (suffix in formats and result.has_records)
    ]
    missing += [
        kind or "a folder"
        for one in folders
        if not skill.saves_folder(one, call.options, call.subcommand)
        and (kind := folder_suffix(one, call, skill)) not in result.folders
    ]
    if missing:
        raise SkillFailed(f"/{skill.name} has no result to save as {missing[0]}")
    return result


@contextlib.contextmanager
def line_ended(screen: Screen) -> Iterator[None]:
    """End the line of a partly printed answer if the run fails."""
    try:
        yield
    except HarnessError:
        if screen.emitted and not screen.line_ended:
            with contextlib.suppress(HarnessError):
                screen.emit("\n")
        raise
