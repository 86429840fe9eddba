"""What a skill is: a name, a line of help, options, and `run(call) -> Result`.

class Shout(Skill):
    name = "shout"
    summary = "Say it louder"

    class Options(SkillOptions):
        times: int = Field(1, description="how many exclamation marks")

    def run(self, call: Call) -> Result:
        return Result(text=call.text.upper() + "!" * call.options.times)
"""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from harness.errors import SkillFailed

if TYPE_CHECKING:
    from harness.models import Models
    from harness.runlog import Run
    from harness.screen import Screen
    from harness.settings import Settings

Render = Callable[[], str]
Needs = Literal["required", "optional", "none"]


class SkillOptions(BaseModel):
    """The base of every skill's `Options`: a field is a flag, its description the flag's help."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _expand_home(cls, value: Any) -> Any:
        """`~/x` within a quoted line, where no shell expands it."""
        if not isinstance(value, Path):
            return value
        try:
            return value.expanduser()
        except RuntimeError as exc:
            raise ValueError(str(exc)) from exc


@dataclass(frozen=True, slots=True)
class Result:
    """What a skill hands back.

    Attributes:
        text: the result for a person; what stdout shows.
        data: the result for a program; what `--json` prints. Without it, {"text": text}.
        renderers: what is written for each suffix the skill can save, made only when asked for.
        exit_code: not 0 where there is a result although something failed.
        leave: ends the REPL.
    """

    text: str = ""
    data: Any = None
    renderers: Mapping[str, Render] = field(default_factory=dict)
    exit_code: int = 0
    leave: bool = False

    def as_json(self) -> str:
        """The data as one JSON object; paths and times become text.

        Raises:
            SkillFailed: it cannot be written as JSON.
        """
        data = {"text": self.text} if self.data is None else self.data
        try:
            return json.dumps(data, ensure_ascii=False, indent=2, default=str)
        except (TypeError, ValueError, RecursionError) as exc:
            raise SkillFailed(f"the result is no JSON: {exc}") from exc


@dataclass(slots=True)
class Call:
    """One use of a skill, and all it may touch.

    Attributes:
        text: what stood on the line between the options, byte for byte, or all of stdin.
        options: an instance of the skill's `Options`.
        subcommand: one of the skill's `subcommands`, or "".
        source: where `text` came from.
        targets: where the result will be saved; the harness writes it after `run`.
        models: who serves a task (`models.run`).
        screen: stderr: `notice`, `progress`; and `emit`, which shows a piece of the result early.
        log: this run's row of the run log.
        cancel: set when the work should stop.
    """

    text: str
    options: Any
    models: Models
    screen: Screen
    log: Run
    settings: Settings
    subcommand: str = ""
    source: Literal["line", "stdin"] = "line"
    targets: tuple[Path, ...] = ()
    cancel: threading.Event = field(default_factory=threading.Event)


class Skill(ABC):
    """A command of the harness.

    Attributes:
        name: lower-case letters, digits and single hyphens; the slash command.
        summary: one line, shown by /help and in completion.
        usage: what stands for the text in the usage line.
        details: more help, shown by `/help NAME` between summary and options.
        triggers: regular expressions for plain text that clearly asks for this skill. A match
            activates it with the group `text`, or without such a group with the whole line.
        text: whether the command needs text. Missing text is read from stdin where that is no
            terminal, and is refused otherwise.
        subcommands: first words that are commands of their own, with a line of help each.
        saves: the suffixes that `save to PATH` may have, the default first.
        logged: whether its runs go into the run log.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    usage: ClassVar[str] = "TEXT"
    details: ClassVar[str] = ""
    triggers: ClassVar[tuple[str, ...]] = ()
    text: ClassVar[Needs] = "required"
    subcommands: ClassVar[Mapping[str, str]] = {}
    saves: ClassVar[tuple[str, ...]] = ()
    logged: ClassVar[bool] = True
    Options: ClassVar[type[SkillOptions]] = SkillOptions

    @abstractmethod
    def run(self, call: Call) -> Result:
        """Do the work. Raise an error of `harness.errors` where there is no result."""
