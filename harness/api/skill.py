"""Base classes of a skill, which has a name, a line of help, options and a method `run`.

class Shout(Skill):
    name = "shout"
    summary = "Return the text in capitals"

    class Options(SkillOptions):
        times: int = Field(1, description="how many exclamation marks")

    def run(self, call: Call) -> Result:
        return Result(text=call.text.upper() + "!" * call.options.times)
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from harness.api.result import Render, Result, Write
from harness.support import text_input
from harness.support.stop_token import StopToken

if TYPE_CHECKING:
    from harness.models.pool import Models
    from harness.runs.run_log import Run
    from harness.settings import Settings
    from harness.terminal.console import Screen

__all__ = ["Call", "Impact", "Output", "Render", "Result", "Skill", "SkillOptions", "Write"]

Needs = Literal["required", "optional", "none"]
Impact = Literal["reads", "adds", "changes"]
Source = Literal["line", "stdin", "both"]
Output = type[BaseModel] | Mapping[str, type[BaseModel]] | None
UNKNOWN_EFFECTS = "may change anything"
"""The result of the default `Skill.effects`, unless the run only reads."""


class SkillOptions(BaseModel):
    """Base class of a skill's `Options`: each field is a flag, and its description is the help.

    Attributes:
        manner: names of the options that do not change the result, such as the number of workers.
            A run replaces the files of an earlier run without asking if only these options differ.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    manner: ClassVar[frozenset[str]] = frozenset()

    @field_validator("*")
    @classmethod
    def _usable(cls, value: Any) -> Any:
        """Refuse an integer that no database can store, and expand `~` in paths.

        A shell does not expand `~` in quoted paths.
        """
        if isinstance(value, int) and abs(value) > sys.maxsize:
            raise ValueError(f"the number exceeds {sys.maxsize}")
        try:
            if isinstance(value, Path):
                return value.expanduser()
            if isinstance(value, list | tuple | set | frozenset):
                return type(value)(v.expanduser() if isinstance(v, Path) else v for v in value)
        except RuntimeError as exc:
            raise ValueError(str(exc).removesuffix(".")) from exc
        return value


@dataclass(slots=True)
class Call:
    """The input of a run of a skill, and the services that the skill may use.

    Attributes:
        text: the text of the line without options and outer quotes, or the text of stdin (see
            `Skill.piped_as`).
        options: an instance of the skill's `Options`.
        subcommand: one of the skill's `subcommands`, or "".
        source: the origin of `text`; "both" means the line, to which the skill appends stdin.
        targets: the files to which the result is saved; the harness writes them after `run`.
        folders: the targets that the line names with a slash at the end.
        models: `models.run` performs work with the model that serves a task.
        screen: `notice` and `progress` write to stderr; `emit` prints a piece of the result before
            the run ends.
        log: the row of this run in the run log.
        cancel: a token that is set when the work must stop; `cancel.check()` then raises
            Interrupted.
        force: True if `--force` was given, so that existing results may be replaced.
        confirm: asks the user for yes or no; None if nobody can be asked.
        yes: True if `--yes` was given, so that confirmations are not requested.
        frameworks: YAML files that plugins have registered, by name.
        read_stdin: reads all of stdin, for skills that need it; None if stdin is missing or a
            terminal.
        input: the input that `Skill.variant` has recognized in the text. `variant` may store it
            here for `run`.
    """

    text: str
    options: Any
    models: Models
    screen: Screen
    log: Run
    settings: Settings
    subcommand: str = ""
    source: Source = "line"
    targets: tuple[Path, ...] = ()
    folders: frozenset[Path] = frozenset()
    cancel: StopToken = field(default_factory=StopToken)
    force: bool = False
    frameworks: Mapping[str, Path] = field(default_factory=dict)
    confirm: Callable[[str], bool] | None = None
    yes: bool = False
    read_stdin: Callable[[], str] | None = None
    input: Any = None

    def read_text(self) -> str:
        """Return `text`, or the content of the text file that `text` names.

        Text from stdin is always returned unchanged.

        Raises:
            InputError: `text` names a file that is missing, empty, or not a readable text file.
        """
        return self.text if self.source == "stdin" else text_input.given(self.text)


class Skill(ABC):
    """Base class of a command of the harness.

    Attributes:
        name: the name of the slash command: lower-case letters, digits and single hyphens.
        summary: a line of help, shown by /help and in completion.
        usage: placeholder for the text in the usage line.
        details: more help, shown by `/help NAME` after the summary.
        triggers: regular expressions for plain text that clearly requests this skill. A match runs
            the skill with the text of the group `text`, or with the whole line if the expression
            has no such group.
        text: "required", "optional" or "none". Missing required text is read from stdin, or
            is an error if stdin is missing or a terminal.
        flags_are_text: True if flags after the name are part of the text, for text that contains
            flags of other programs. The options of the harness must then precede the name.
        phrases: subcommands whose text keeps the straight double quotes around it, since these
            quotes mark a phrase; "" stands for lines without subcommand. Other quotes around a
            whole text are removed.
        subcommands: first words that select a subcommand, each with a line of help.
        saves: suffixes that PATH may have in `save to PATH`, in the order of /help.
        folders: suffixes of the folders to which `save to FOLDER/` may save, for `Result.folders`.
            "" stands for a folder without such a suffix; its path on the line must end with a
            slash.
        formats: True if results can be saved in the formats of plugins; False for a skill whose
            results never have `data`, `records` or `text`.
        target_text: subcommands whose text is the path to save to, each with the default path, or
            "" without a default.
        logged: True if runs are recorded in the run log; False to record only calls by a model.
        tool: True if the producer model may call the skill. It is False for skills that change the
            session, or could grant the model more rights.
        impact: the effect of a run other than saving, by subcommand. "reads" means that the run
            neither changes data nor uses a model, so that it can run beside another run. "adds"
            means that the run only adds data. "changes", the default, means that the run may have
            any effect. The key "" stands for runs without subcommand, and for subcommands that are
            not listed.
        output: the Pydantic model of `Result.data`, or a mapping of subcommands to models, with
            keys as for `impact`; None if the data have no fixed form.
        output_summary: the Pydantic model of `Result.summary`, or a mapping as for `output`.
        Options: the Pydantic model of all options of the command.
        variants: Pydantic models of options by subcommand, or by another case that `variant`
            returns. An option that only some variants have is an error in all other cases; a field
            of `Options` that no variant has applies to all cases.
        shared: the common options that a subcommand reads, by subcommand. Common options are the
            fields of `Options` that no variant has. Help and completion leave out other common
            options. A subcommand that is not listed reads all common options.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    usage: ClassVar[str] = "TEXT"
    details: ClassVar[str] = ""
    triggers: ClassVar[tuple[str, ...]] = ()
    text: ClassVar[Needs] = "required"
    flags_are_text: ClassVar[bool] = False
    phrases: ClassVar[Collection[str]] = ()
    subcommands: ClassVar[Mapping[str, str]] = {}
    saves: ClassVar[tuple[str, ...]] = ()
    folders: ClassVar[tuple[str, ...]] = ()
    formats: ClassVar[bool] = True
    target_text: ClassVar[Mapping[str, str]] = {}
    logged: ClassVar[bool] = True
    tool: ClassVar[bool] = True
    impact: ClassVar[Mapping[str, Impact]] = {}
    output: ClassVar[Output] = None
    output_summary: ClassVar[Output] = None
    Options: ClassVar[type[SkillOptions]] = SkillOptions
    variants: ClassVar[Mapping[str, type[SkillOptions]]] = {}
    shared: ClassVar[Mapping[str, Collection[str]]] = {}

    def variant(self, call: Call) -> str:
        """Return the key of `variants` that applies to the call."""
        return call.subcommand

    def offer(self, wish: str) -> str:
        """Return the text of a line of this skill that could fulfil a request, or "".

        If no model can chat, the user is offered a line with the skill's name and this text.

        Args:
            wish: the request in plain text; a trailing `-` means stdin.
        """
        return ""

    def piped_as(self, text: str, subcommand: str) -> str:
        """Return the suffix of the file to which piped text is written, or "" to write no file.

        With a suffix such as ".csv", the text of the call is the path of a temporary file, which
        contains the piped text.
        """
        return ""

    def companions(
        self, target: Path, options: SkillOptions, subcommand: str
    ) -> Mapping[str, Path]:
        """Return the paths of the files to write beside `target`, by key of `Result.companions`.

        Before the work begins, these files are checked like the target.
        """
        return {}

    def saves_folder(self, target: Path, options: SkillOptions, subcommand: str) -> bool:
        """Return True if a target is a folder, or the URL of a folder, that `run` fills itself."""
        return False

    def completions(self, option: str, subcommand: str) -> Mapping[str, str]:
        """Return the values to offer for completion in a session, each with a short help or "".

        Args:
            option: the option that precedes the value, such as "--preset"; "" for a word of the
                text.
        """
        return {}

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        """Return the lasting changes of a run, such as "trains a model"; saved files do not count.

        The producer model may call the skill without confirmation if there are no changes (""), no
        file is written, and `--on` names no cluster. Otherwise, the user must confirm the call. By
        default, a run has changes unless its `impact` is "reads".
        """
        return "" if self.impact_of(subcommand) == "reads" else UNKNOWN_EFFECTS

    def impact_of(self, subcommand: str) -> Impact:
        """Return the `impact` of a subcommand."""
        return self.impact.get(subcommand) or self.impact.get("", "changes")

    def output_of(self, subcommand: str, *, summary: bool = False) -> type[BaseModel] | None:
        """Return the Pydantic model of a subcommand's data, or None if the data have no fixed form.

        Args:
            summary: True for the model of `Result.summary` instead of `Result.data`.
        """
        models = self.output_summary if summary else self.output
        if isinstance(models, Mapping):
            return models.get(subcommand) or models.get("")
        return models

    @abstractmethod
    def run(self, call: Call) -> Result:
        """Run the skill. Raise an error of `harness.errors` if it fails."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document that a skill offers to other programs.

    Attributes:
        key: a permanent key that identifies the document within the skill.
        name: the name of the document for people, such as the title of a paper.
        description: a line of description.
    """

    key: str
    name: str
    description: str = ""


class DocumentSource(ABC):
    """Base class of a skill with documents that other programs can list and read.

    Both methods may be called while the skill runs, and in any thread.

    Attributes:
        document_type: the MIME type of the documents.
    """

    document_type = "application/json"

    @abstractmethod
    def documents(self, settings: Settings, after: str, most: int) -> Sequence[Document]:
        """Return at most `most` documents, in an order that does not change between calls.

        Args:
            after: the key of the last document that was returned before; "" to begin.
        """

    @abstractmethod
    def document(self, settings: Settings, key: str) -> str:
        """Return the text of a document.

        Raises:
            NothingFound: there is no document with this key.
        """
