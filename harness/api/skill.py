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
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from harness.errors import HarnessError, SkillFailed
from harness.support import text_input

if TYPE_CHECKING:
    from harness.models.pool import Models
    from harness.runs.run_log import Run
    from harness.settings import Settings
    from harness.terminal.console import Screen

Render = Callable[[], str]
Write = Callable[[IO[bytes]], object]
Needs = Literal["required", "optional", "none"]
UNTOLD = "does not say what it changes"
"""What `Skill.effects` gives where a skill does not override it."""


class SkillOptions(BaseModel):
    """The base of every skill's `Options`: a field is a flag, its description the flag's help.

    Attributes:
        manner: names of the options that say how the work is done and not what it is. A file that
            was made with others of them is still the same job's own, to be replaced unasked.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    manner: ClassVar[frozenset[str]] = frozenset()

    @field_validator("*")
    @classmethod
    def _expand_home(cls, value: Any) -> Any:
        """`~/x` within a quoted line, where no shell expands it."""
        try:
            if isinstance(value, Path):
                return value.expanduser()
            if isinstance(value, list | tuple | set | frozenset):
                return type(value)(v.expanduser() if isinstance(v, Path) else v for v in value)
        except RuntimeError as exc:
            raise ValueError(str(exc).removesuffix(".")) from exc
        return value


@dataclass(frozen=True, slots=True)
class Result:
    """What a skill hands back.

    Attributes:
        text: the result for a person; what stdout shows.
        data: the result for a program; what `--json` prints. Without it, {"text": text}.
        records: goes through the data one record at a time, where it is too large for `data`: what
            the formats of plugins write. Without it they write the items of a list, else `data`.
        renderers: what is written for each suffix the skill can save, made only when asked for.
        writers: the same for what is too large for one text, or no text: each writes to an open
            binary file.
        companions: the same for the files that `Skill.companions` names; one without a writer is
            not written.
        summary: what is said of the work. `--json` prints it instead of `data`, and with the paths
            of what was saved.
        exit_code: not 0 where there is a result although something failed.
        stopped: why the work ended early. What is finished is saved and shown before it.
        leave: ends the REPL.
    """

    text: str = ""
    data: Any = None
    renderers: Mapping[str, Render] = field(default_factory=dict)
    writers: Mapping[str, Write] = field(default_factory=dict)
    companions: Mapping[str, Write] = field(default_factory=dict)
    summary: Mapping[str, Any] | None = None
    exit_code: int = 0
    stopped: HarnessError | None = None
    leave: bool = False
    records: Callable[[], Iterable[Any]] | None = None

    @property
    def code(self) -> int:
        """The exit code of the command."""
        return self.exit_code if self.stopped is None else self.stopped.exit_code

    @property
    def saves(self) -> frozenset[str]:
        """The suffixes that this result can be saved with."""
        return frozenset((*self.renderers, *self.writers))

    @property
    def has_records(self) -> bool:
        """Whether there is anything that a plugin's format could write."""
        return self.records is not None or self.data is not None or bool(self.text)

    def each(self) -> Iterator[Any]:
        """The records, one at a time."""
        if self.records is not None:
            yield from self.records()
        elif isinstance(self.data, list):
            yield from self.data
        else:
            yield {"text": self.text} if self.data is None else self.data

    def write(self, suffix: str, file: IO[bytes]) -> None:
        """Write what is saved for `suffix`."""
        if suffix in self.writers:
            self.writers[suffix](file)
        else:
            file.write(self.renderers[suffix]().encode())

    def as_json(self) -> str:
        """The data as one JSON object; paths and times become text, and NaN becomes null.

        Raises:
            SkillFailed: it cannot be written as JSON.
        """
        data = self.data if self.summary is None else self.summary
        try:
            return json.dumps(
                {"text": self.text} if data is None else _finite(data),
                ensure_ascii=False,
                indent=2,
                default=str,
            )
        except (TypeError, ValueError, RecursionError) as exc:
            raise SkillFailed(f"the result is no JSON: {exc}") from exc


def _finite(data: Any) -> Any:
    """The data with None for NaN and infinity, which JSON does not have."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    return [_finite(value) for value in data] if isinstance(data, list | tuple) else data


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
        force: the user has said `--force`: what is in the way may be replaced.
        frameworks: the YAML files that plugins have registered, by name.
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
    force: bool = False
    frameworks: Mapping[str, Path] = field(default_factory=dict)

    def read_text(self) -> str:
        """`text` itself or, where that is the name of a .txt or .md file, what stands in it.

        Raises:
            InputError: the file is missing or empty, or cannot be read as text.
        """
        return self.text if self.source == "stdin" else text_input.given(self.text)


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
        formats: whether it can be saved in the formats of plugins as well; False for a skill whose
            results never have `data`, `records` or `text`.
        target_text: the subcommands whose text is the path to save to, each with the path it has
            without any text, or "".
        logged: whether its runs go into the run log.
        tool: whether the producer model may call it. What changes the session itself, or could
            allow the model more, is for the user alone.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    usage: ClassVar[str] = "TEXT"
    details: ClassVar[str] = ""
    triggers: ClassVar[tuple[str, ...]] = ()
    text: ClassVar[Needs] = "required"
    subcommands: ClassVar[Mapping[str, str]] = {}
    saves: ClassVar[tuple[str, ...]] = ()
    formats: ClassVar[bool] = True
    target_text: ClassVar[Mapping[str, str]] = {}
    logged: ClassVar[bool] = True
    tool: ClassVar[bool] = True
    Options: ClassVar[type[SkillOptions]] = SkillOptions

    def companions(
        self, target: Path, options: SkillOptions, subcommand: str
    ) -> Mapping[str, Path]:
        """The files that are written beside `target`, under the names `Result.companions` uses.

        They are refused or replaced as the target is, before the work begins.
        """
        return {}

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        """What a run changes that stays, besides its targets and companions: "trains a model".

        The producer model may call the skill unasked where this is "" and no file is written;
        else the user is asked first. A skill that does not say is asked for every time.
        """
        return UNTOLD

    @abstractmethod
    def run(self, call: Call) -> Result:
        """Do the work. Raise an error of `harness.errors` where there is no result."""
