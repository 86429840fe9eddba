"""run: a command in the project's folder."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydantic import Field

from harness.errors import NothingFound
from harness.permissions import command_line
from harness.support.reading.text_input import is_file
from harness.tools import base, processes, sandbox
from harness.tools.base import BuiltinTool, Workplace

SECONDS = 120
MOST_SECONDS = 600
PASSED = ("HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV")
"""Variables that every command receives, with PATH and LC_*. Others may be secrets."""
SET = {"TERM": "dumb", "PAGER": "cat", "GIT_PAGER": "cat", "GIT_TERMINAL_PROMPT": "0"}
"""Variables against programs that wait for a person."""


class Run(BuiltinTool):
    """Runs a command, confined where the platform allows it."""

    name = "run"
    summary = "Run a command in the project's folder, without input"

    class Arguments(base.Arguments):
        command: str = Field(min_length=1, max_length=20_000, description="for example: git diff")
        timeout: int = Field(SECONDS, ge=1, le=MOST_SECONDS, description="seconds")

    def __init__(self) -> None:
        self._warned = False

    def shown(self, given: Arguments) -> str:
        return given.command

    def call(self, given: Arguments, place: Workplace) -> Mapping[str, Any]:
        command = self._of_skill(given.command, place)
        words = command_line.words(command)
        environment = environment_of(place.settings.run_environment)
        if words is not None and not _exists(words[0], place.project, environment["PATH"]):
            raise NothingFound(f"there is no program {words[0]!r}")
        unconfined = sandbox.missing()
        place.allow("run", command, self._detail(place, unconfined))
        self._warn(place, unconfined)
        argv: Sequence[str] = words or ("/bin/sh", "-c", command)
        with ExitStack() as stack:
            if not unconfined:
                settings = place.settings
                confined = sandbox.confined(
                    argv,
                    place.project,
                    settings.protected,
                    place.skills.values(),
                    network=settings.run_network,
                )
                argv = stack.enter_context(confined)
            ended = processes.run(argv, place.project, environment, given.timeout, place.cancel)
        if ended.stopped:
            return {"output": ended.output, "stopped": ended.stopped}
        return {"exit_code": ended.code, "output": ended.output}

    def _of_skill(self, command: str, place: Workplace) -> str:
        """Return a command that names a script of a skill with the full path of the script."""
        words = command_line.words(command) or ()
        for number, word in enumerate(words[:2]):
            if "/" not in word or is_file(str(place.project / word)):
                continue
            for folder in reversed([*place.skills.values()]):
                script = folder / word
                if is_file(str(script)) and script.resolve().is_relative_to(folder.resolve()):
                    return shlex.join([*words[:number], str(script), *words[number + 1 :]])
        return command

    def _detail(self, place: Workplace, unconfined: str) -> str:
        if unconfined:
            return f"In {place.project}, with all your rights ({unconfined}):"
        network = "the network" if place.settings.run_network else "no network"
        return f"In {place.project}, in a sandbox: {network}, and writes only below this folder:"

    def _warn(self, place: Workplace, unconfined: str) -> None:
        if unconfined and not self._warned:
            self._warned = True
            place.screen.notice(f"commands of the model run without a sandbox: {unconfined}")


def _exists(program: str, project: Path, path: str) -> bool:
    if "/" in program:
        return is_file(str(project / program))
    return shutil.which(program, path=path) is not None


def environment_of(
    named: Sequence[str], environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the variables for a command.

    Args:
        named: variables that the user has named in addition.
        environ: the present variables; default: those of this process.
    """
    present = os.environ if environ is None else environ
    passed = {
        name: value
        for name, value in present.items()
        if name in PASSED or name in named or name.startswith("LC_")
    }
    folders = [
        one for one in present.get("PATH", os.defpath).split(os.pathsep) if Path(one).is_absolute()
    ]
    return {**passed, **SET, "PATH": os.pathsep.join(folders)}
