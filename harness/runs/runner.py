"""One run from a parsed line to its outcome: text, targets, log, skill, files, in this order.

Everything that can be refused is refused before the skill runs, and the log's row is closed
whatever happens.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal

from harness.api import options as opts
from harness.api.events import RunStarted
from harness.api.options import GeneralOptions
from harness.api.skill import Call, Result, Skill, Write
from harness.errors import HarnessError, InputError, OutputError, UsageError
from harness.models.pool import Choice, ModelPool, Models
from harness.plugins.catalogue import Catalogue, FoundFormat
from harness.runs import consent
from harness.runs import targets as output
from harness.runs.grammar import Invocation, as_path
from harness.runs.isolation import call_isolated, isolated
from harness.runs.recording import Recording, recorded
from harness.runs.run_log import Run, RunLog
from harness.settings import Settings
from harness.terminal.console import Screen

Source = Literal["line", "stdin"]


@dataclass(frozen=True, slots=True)
class Door:
    """What differs between the ways in.

    Attributes:
        name: "one-shot", "repl" or "test", for the run log.
        confirm: asks the user a yes-or-no question; None where there is nobody to ask.
        stdin: read for `-` and for missing text; None where it is not there or is a terminal.
        asks_first: its lines are a model's, so that one which changes anything is asked about.
    """

    name: str
    confirm: Callable[[str], bool] | None = None
    stdin: IO[bytes] | None = None
    asks_first: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a line, for the door to show.

    Attributes:
        saved: the files written.
        emitted: the result's text has been shown already, as it came.
    """

    result: Result
    general: GeneralOptions
    saved: tuple[Path, ...] = ()
    emitted: bool = False


@dataclass(slots=True)
class Execution:
    """The surroundings of one run."""

    settings: Settings
    door: Door
    screen: Screen
    run_log: RunLog
    pool: ModelPool
    catalogue: Catalogue
    skill: Skill
    invocation: Invocation
    line: str
    run: Run = field(default_factory=Run)
    text: str = ""
    _replaceable: set[tuple[Path, str]] = field(default_factory=set)  # places and digests

    def execute(self) -> Outcome:
        """Run the skill and save its result.

        Raises:
            HarnessError: of the kind that tells what went wrong; the run is closed in the log.
        """
        general = self.invocation.general
        models = Models(
            self.pool,
            Choice(general.model, fallback=not general.no_fallback),
            self.screen.notice,
            lambda resolution: self.run.resolved(resolution),
        )
        if general.model is not None:
            self.pool.registry.named(general.model)  # refuses an unknown name
        targets = self._targets()
        self.text, source = self._text()
        companions = self._companions(targets)
        output.check(
            targets, self.skill, self._may_replace, tuple(companions), tuple(self._formats)
        )
        if self.door.asks_first:
            self._ask_first((*targets, *companions))
        screen = Screen(
            self.screen.out, self.screen.err, quiet_results=general.as_json or bool(targets)
        )
        call = Call(
            text=self.text,
            options=self.invocation.options,
            models=models,
            screen=screen,
            log=self.run,
            settings=self.settings,
            subcommand=self.invocation.subcommand,
            source=source,
            targets=targets,
            force=general.force,
            frameworks={name: f.path for name, f in self.catalogue.frameworks.items()},
        )
        models.cancel = call.cancel
        with self._isolated():
            variant = self.skill.variant(call)
        opts.check_variant(self.skill, call.options, variant)
        with self._line_ended(screen), recorded(self._recording(call)) as recording:
            result = call_isolated(self.skill, call, self._formats)
            if general.as_json and (result.summary is not None or not targets):
                result.as_json()  # data that is no JSON is a failure of this run
            saved = self._save_all(result, targets, companions)
            recording.finish(result)
        return Outcome(result, general, saved, screen.emitted)

    @property
    def _formats(self) -> dict[str, FoundFormat]:
        """What plugins can save this skill's records as, by suffix."""
        return self.catalogue.formats_for(self.skill)

    def _targets(self) -> tuple[Path, ...]:
        """Where the result goes; the text of some subcommands is that path."""
        asked = self.invocation
        default = self.skill.target_text.get(asked.subcommand)
        if asked.targets or default is None:
            return asked.targets
        path = asked.text.strip() or default
        if not path:
            raise UsageError(f"/{asked.name} {asked.subcommand} needs a file to write")
        self.invocation = replace(asked, text="")
        return (as_path(path),)

    def _companions(self, targets: Sequence[Path]) -> dict[Path, str]:
        """The files beside the targets, each with its name among `Result.companions`."""
        options, subcommand = self.invocation.options, self.invocation.subcommand
        with self._isolated():
            return {
                Path(path): name
                for target in targets
                for name, path in self.skill.companions(target, options, subcommand).items()
            }

    def _text(self) -> tuple[str, Source]:
        """The command's text, from the line or, where that says or lacks it, from stdin."""
        text = self.invocation.text
        missing = self.skill.text == "required" and not text.strip()
        if self.skill.text == "none" and text.strip():
            raise UsageError(f"/{self.skill.name} takes no text, but found {text.strip()[:40]!r}")
        if text.strip() == "-" or (missing and self.door.stdin is not None):
            text = self._stdin()
            if text.strip():
                return text, "stdin"
            raise InputError("stdin is empty", hint=f"/{self.skill.name} {self.skill.usage}")
        if missing:
            raise UsageError(
                f"/{self.skill.name} needs {self.skill.usage}",
                hint=f"`/help {self.skill.name}` tells more.",
            )
        return text, "line"

    def _stdin(self) -> str:
        if self.door.stdin is None:
            raise InputError("there is no stdin to read here", hint="Give the text on the line.")
        self.screen.notice("reading stdin")
        try:
            return self.door.stdin.read().decode("utf-8-sig")
        except UnicodeDecodeError as exc:
            raise InputError(f"stdin is not UTF-8 text (byte {exc.start})") from exc

    @property
    def _job(self) -> str:
        """Return a key of the work, so that the same work may replace its own files.

        It depends on the working folder, which paths are relative to, and on the content of stdin,
        but not on the content of input files: their results are brought up to date.
        """
        asked = self.invocation
        options = asked.options.model_dump(mode="json", exclude=set(asked.options.manner))
        parts = [asked.name, asked.subcommand, self.text, options, str(self.settings.project_dir)]
        return "2:" + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _may_replace(self, target: Path) -> bool:
        if self.invocation.general.force:
            return True
        sha256 = output.digest(target)
        self._replaceable.add((target.resolve(), sha256))
        if self.run_log.made(target, sha256, self._job, self.line):
            return True
        confirm, asked = self.door.confirm, self.door.asks_first or self.invocation.general.yes
        return confirm is not None and (asked or confirm(f"{target} exists. Overwrite it?"))

    def _ask_first(self, files: Sequence[Path]) -> None:
        """Ask the user about a line of a model's that would change anything.

        Raises:
            NotAllowed: they say no, or nobody is there, or no yes would do.
        """
        asked, general = self.invocation, self.invocation.general
        given = (*files, *opts.paths(asked.options))
        consent.refuse_obeyed(asked.name, given, self.settings.obeyed)
        with self._isolated():
            effects = self.skill.effects(asked.options, asked.subcommand)
        changes = consent.changes(effects, files)
        if changes and not general.yes:
            consent.ask(asked.name, changes, self.door.confirm)

    def _save_all(
        self, result: Result, targets: Sequence[Path], companions: Mapping[Path, str]
    ) -> tuple[Path, ...]:
        """Write the targets, then those companions that the result has."""
        return (
            *(self._save(target, result) for target in targets),
            *(
                self._write(path, result.companions[name])
                for path, name in companions.items()
                if name in result.companions
            ),
        )

    def _save(self, target: Path, result: Result) -> Path:
        suffix = target.suffix.lower()
        if suffix not in result.saves:
            found = self._formats[suffix]
            who = f"the format {suffix} ({found.origin})"
            return self._write(target, lambda file: found.format.write(result.each(), file), who)
        try:
            return self._write(target, lambda file: result.write(suffix, file))
        except OutputError:
            if render := result.renderers.get(suffix):
                self.screen.notice(f"{target} could not be written; here is the result:")
                with contextlib.suppress(HarnessError):  # that the file is missing matters more
                    as_object = self.invocation.general.as_json
                    self.screen.result(result.as_json() if as_object else render())
            raise

    def _write(self, path: Path, produce: Write, who: str = "") -> Path:
        place, force = path.resolve(), self.invocation.general.force

        def about_to(sha256: str) -> None:
            self._replaceable.add((place, sha256))  # this run may have two names for one place
            self.run.wrote(path, sha256)

        may_replace = None if force else (lambda sha256: (place, sha256) in self._replaceable)
        with self._isolated(who):
            output.write(path, produce, about_to, may_replace)
        self.run.written.append(path)
        return path

    def _isolated(self, who: str = "") -> contextlib.AbstractContextManager[None]:
        """For the skill's code, or that of a plugin's format, beside `run`."""
        return isolated(who or f"/{self.skill.name}", self.screen, self.run)

    @contextlib.contextmanager
    def _line_ended(self, screen: Screen) -> Iterator[None]:
        """End the line of an answer that was shown in part when its run failed."""
        try:
            yield
        except HarnessError:
            if screen.emitted:
                with contextlib.suppress(HarnessError):
                    screen.emit("\n")
            raise

    def _recording(self, call: Call) -> Recording:
        """The run's row, opened, unless the run is to be kept out of the log."""
        kept = self.skill.logged and not self.invocation.general.no_log
        if kept:
            opened = self.run_log.start(
                door=self.door.name,
                line=self.line,
                skill=self.skill.name,
                options=self.invocation.options.model_dump(mode="json"),
                job=self._job,
            )
            self.run.log, self.run.id = opened.log, opened.id
        asked = self.invocation
        started = RunStarted(
            self.run.id, asked.name, asked.subcommand, self.door.name, datetime.now(UTC)
        )
        listeners = self.catalogue.listeners if kept else ()
        return Recording(call, self.run, started, listeners)
