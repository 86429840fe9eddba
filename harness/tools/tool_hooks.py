"""Let plugins and commands of hooks.json refuse the tool calls of a model, or add notes.

A hook that fails, or is not finished in time, refuses the call, so that no call passes unchecked.
If a hook refuses a call that has already run, the model does not receive the result.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from harness.api.hookspecs import Listener, ToolFinished, ToolHook, ToolStarted
from harness.errors import HarnessError, InputError, Interrupted, NotAllowed, first_error
from harness.permissions import in_one_line
from harness.plugins.trust import TrustStore
from harness.runs.frontend import Caller
from harness.settings import Settings
from harness.support.bounded_files import parsed_json
from harness.support.calls import Overdue, Raised
from harness.support.stop_token import StopToken
from harness.terminal.console import Screen
from harness.tools.run_command import run_program

MAX_BYTES = 1_000_000
LONGEST = 4_000
"""Maximum number of characters of a note or a reason."""
SHOWN = 160
"""Maximum number of characters of a note that the user sees."""
REFUSED = 2
"""The exit code with which a command refuses a call for the reason that it prints to stderr."""
_ALL = re.compile(".*")
_STRICT = ConfigDict(strict=True, extra="forbid")


class Command(BaseModel):
    """A command of hooks.json.

    Attributes:
        command: the command for the shell; its stdin contains the call as JSON.
        timeout: time limit in seconds.
    """

    model_config = _STRICT
    type: Literal["command"] = "command"
    command: str = Field(min_length=1)
    timeout: float = Field(60, gt=0, le=600, strict=False)


class Matched(BaseModel):
    """Commands for tools whose names match a regular expression; "" and "*" match all tools."""

    model_config = ConfigDict(extra="forbid")
    matcher: Annotated[
        re.Pattern[str], BeforeValidator(lambda given: _ALL if given in ("", "*") else given)
    ] = _ALL
    hooks: list[Command]


class Commands(BaseModel):
    """The commands of hooks.json by hook."""

    model_config = _STRICT
    before_tool: list[Matched] = []
    after_tool: list[Matched] = []


class HooksFile(BaseModel):
    """The content of hooks.json; fields of other clients beside `hooks` are ignored."""

    hooks: Commands


def read(settings: Settings, untrusted: Callable[[Path], None]) -> list[tuple[Path, Commands]]:
    """Return the user's commands, and the project's commands if the project's file is trusted.

    Each item is the path of a file, and the commands in this file.

    Args:
        untrusted: called with the file of the project if it exists and is not trusted.

    Raises:
        InputError: a file cannot be used.
    """
    found = []
    for path in (settings.hooks_file, settings.project_hooks):
        if not path.exists():
            continue
        source: Path | None = path
        if path == settings.project_hooks:
            source = TrustStore(settings.trust_file).trusted(path)
        if source is None:
            untrusted(path)
            continue
        try:
            _, content = parsed_json(source, MAX_BYTES, path)
            found.append((path, HooksFile.model_validate(content).hooks))
        except ValidationError as exc:
            raise InputError(first_error(exc), where=str(path)) from exc
        finally:
            if source != path:
                shutil.rmtree(source.parent, ignore_errors=True)
    return found


@dataclass(slots=True)
class ToolHooks:
    """The hooks of an application.

    Args:
        listeners: returns the listeners of the loaded plugins.
        caller: returns the caller of the current line; its cancellation also stops a command.
    """

    settings: Settings
    listeners: Callable[[], Iterable[Listener]]
    caller: Callable[[], Caller]
    _reported: set[Path] = field(default_factory=set)

    def run(self, hook: ToolHook, call: ToolStarted, screen: Screen) -> list[str]:
        """Run the plugins' functions and the commands for a hook; return their notes for the model.

        Raises:
            NotAllowed: a hook refuses the call, fails, or is not finished in time.
            InputError: a file of hooks cannot be used.
            Interrupted: the caller stopped the line.
        """
        notes: list[str] = []
        for name, work in self._hooks(hook, call, screen):
            try:
                with contextlib.redirect_stdout(screen.prints):
                    answers = work()
                for answer in answers:
                    if not isinstance(answer, str):
                        raise TypeError(f"it returned {type(answer).__name__}, not text")
                    if note := answer.strip()[:LONGEST]:
                        notes.append(note)
                        screen.notice(f"   {name}: {in_one_line(note, SHOWN)}")
            except Interrupted:
                raise
            except KeyboardInterrupt as exc:
                raise Interrupted("interrupted") from exc
            except (Exception, SystemExit) as exc:
                cause = exc.__cause__ or exc if isinstance(exc, Raised) else exc
                reason = cause.message if isinstance(cause, HarnessError) else str(cause)
                if not isinstance(cause, (HarnessError, Overdue)):
                    reason = f"{type(cause).__name__}: {reason}"
                reason = in_one_line(reason, LONGEST) or "no reason given"
                raise NotAllowed(f"{hook} of {name} refuses {call.tool}: {reason}") from exc
        return notes

    def _hooks(
        self, hook: ToolHook, call: ToolStarted, screen: Screen
    ) -> Iterator[tuple[str, Callable[[], list[object]]]]:
        """Yield the name of each hook and the function that calls the hook.

        The hooks of plugins precede the commands of the hooks files.

        Raises:
            InputError: a file of hooks cannot be used.
        """
        for listener in self.listeners():
            yield f"{listener.name} ({listener.origin})", partial(listener.call, hook, call)

        def untrusted(path: Path) -> None:
            if path not in self._reported:
                self._reported.add(path)
                hint = "read it, then `/permissions trust`"
                screen.notice(f"{path} is not trusted, so its commands do not run: {hint}")

        for path, commands in read(self.settings, untrusted):
            for matched in getattr(commands, hook):
                if matched.matcher.fullmatch(call.tool):
                    for command in matched.hooks:
                        name = f"`{in_one_line(command.command, SHOWN)}` ({path})"
                        yield name, partial(self._run_command, hook, command, call)

    def _run_command(self, hook: ToolHook, command: Command, call: ToolStarted) -> list[object]:
        """Run a command with the call as JSON on stdin, and return a list with its stdout.

        Raises:
            NotAllowed: the exit code is not 0, the command exceeds a limit of time or output, or
                the system has no process groups.
            SkillFailed: the command cannot be started.
        """
        if os.name != "posix":
            raise NotAllowed("commands of hooks need process groups, which this system lacks")
        given: dict[str, Any] = {
            "hook_event_name": hook,
            "cwd": str(self.settings.project_dir),
            "tool_name": call.tool,
            "tool_input": dict(call.arguments),
            "line": call.line,
        }
        if isinstance(call, ToolFinished):
            given |= {"tool_response": json.loads(call.result), "exit_code": call.exit_code}
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stderr:
            stdin.write(json.dumps(given).encode())
            stdin.seek(0)
            shell, cancel = ["/bin/sh", "-c", command.command], StopToken(self.caller().cancel)
            ended = run_program(
                *(shell, self.settings.project_dir, os.environ, command.timeout, cancel),
                stdin=stdin,
                stderr=stderr,
            )
            stderr.seek(0)
            said = stderr.read(LONGEST).decode(errors="replace").strip()
        if ended.code != 0:
            failure = ended.stopped or f"it ended with exit code {ended.code}"
            parts = [said] if ended.code == REFUSED and said else [failure, said]
            raise NotAllowed(": ".join(filter(None, parts)))
        return [ended.output]
