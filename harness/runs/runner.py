"""Run an invocation: read the text, check the targets, run the skill, and save its result.

As many errors as possible are found before the skill runs. The row in the log is also closed after
an error. An unexpected exception of a skill becomes SkillFailed, and text that the skill prints
goes to stderr.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from harness.api import options as opts
from harness.api.hookspecs import Listener, RunStarted
from harness.api.skill import UNKNOWN_EFFECTS, Call, Result, Skill, Source, Write
from harness.errors import HarnessError, InputError, OutputError, SkillFailed, UsageError
from harness.models.pool import Choice, ModelPool, Models
from harness.plugins.catalogue import Catalogue, FoundFormat
from harness.runs import targets as target_files
from harness.runs.frontend import Caller, Frontend, Outcome
from harness.runs.invocation import Invocation, as_targets
from harness.runs.run_log import WITHOUT_ASKING, Run, RunLog, recorded
from harness.settings import Settings
from harness.support import ctrl_c
from harness.support.bounded_files import file_sha256
from harness.support.stop_token import StopToken
from harness.support.text_input import PIPED
from harness.terminal.console import Screen


@contextlib.contextmanager
def line_ended(screen: Screen) -> Iterator[None]:
    """If the run fails in the block, end the line of a partly printed answer."""
    try:
        yield
    except HarnessError:
        if screen.emitted and not screen.line_ended:
            with contextlib.suppress(HarnessError):
                screen.emit("\n")
        raise


@dataclass(slots=True)
class Runner:
    """Runs an invocation of a skill."""

    settings: Settings
    caller: Caller
    run_log: RunLog
    pool: ModelPool
    catalogue: Catalogue
    skill: Skill
    invocation: Invocation
    line: str
    run: Run = field(default_factory=Run)
    _piped: bool = False  # True if the text is the path of a file in `_folder`
    _folder: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    # paths and digests of files that may be replaced
    _replaceable: set[tuple[Path, str]] = field(default_factory=set)

    @property
    def frontend(self) -> Frontend:
        return self.caller.frontend

    @property
    def screen(self) -> Screen:
        return self.caller.screen

    def run_skill(self) -> Outcome:
        """Run the skill, save its result, and return the outcome.

        Raises:
            HarnessError: the run has failed; its row in the log is closed.
        """
        with self._folder:
            return self._run_skill()

    def _run_skill(self) -> Outcome:
        general = self.invocation.general
        if self.skill.logged or general.model is not None:  # /help and /exit need no registry
            registry = self.pool.registry
            if general.model is not None:
                registry.named(general.model)  # raises an error for an unknown name
        call = self._call()
        with self._isolated():
            variant = self.skill.variant(call)
            files, folders = target_files.split(call, self.skill)
        opts.check_variant(self.skill, call.options, variant)
        companions = self._companions(files)
        filled = {one: suffix for one, suffix in folders.items() if suffix is not None}
        target_files.check(
            files, self.skill, self._may_replace, companions, filled, formats=self._formats
        )
        if self.frontend.is_model:
            self._check_consent((*call.targets, *companions))
        placed = self._placed(call, variant)
        with (
            line_ended(call.screen),
            recorded(call, self.run, *self._opened()) as finish,
            placed,
        ):
            result = self._result(call, files, filled)
            if general.as_json and (result.summary is not None or not call.targets):
                result.as_json()  # raises an error for data that cannot be serialized
            for folder, suffix in filled.items():
                with target_files.reported(folder):
                    folder.parent.mkdir(parents=True, exist_ok=True)
                with self._isolated():
                    result.folders[suffix](folder)
                self.run.written.append(folder)
            saved = [*folders, *(self._save(target, result) for target in files)]
            for path, name in companions.items():
                if name in result.companions:
                    saved.append(self._write(path, result.companions[name]))
            finish(result)
        screen = call.screen
        return Outcome(result, general, tuple(saved), screen.emitted, screen.line_ended)

    def _result(self, call: Call, files: Sequence[Path], filled: Mapping[Path, str]) -> Result:
        """Run the skill, and return its result if the result can be saved to the targets.

        Raises:
            HarnessError: raised by the skill.
            SkillFailed: the skill raised another exception or returned no `Result`, or the result
                cannot be saved to a target.
        """
        with self._isolated():
            result = self.skill.run(call)
        if not isinstance(result, Result):
            raise SkillFailed(f"/{self.skill.name} returned {type(result).__name__}, not a Result")
        missing = [
            target.suffix
            for target in files
            if (suffix := self._suffix(target)) not in result.saves
            and not (suffix in self._formats and result.has_records)
        ]
        missing += [
            suffix or "a folder" for suffix in filled.values() if suffix not in result.folders
        ]
        if missing:
            raise SkillFailed(f"/{self.skill.name} has no result to save as {missing[0]}")
        if result.data is None and result.text and self.run.answered_by is not None:
            return replace(result, data={"text": result.text, "answered_by": self.run.answered_by})
        return result

    def _placed(self, call: Call, variant: str) -> contextlib.AbstractContextManager[None]:
        """Return a context manager that loads the models on a cluster if a cluster is set.

        Raises:
            UsageError: an address is invalid, or an option has no effect on this run.
        """
        if not isinstance(call.options, opts.ClusterOptions):
            return contextlib.nullcontext()
        named = call.options.model_dump(include=set(opts.ClusterOptions.manner), exclude_none=True)
        if not (named or call.settings.on or call.models.registry.cluster):
            return contextlib.nullcontext()
        from harness.runs import cluster_placement

        found = cluster_placement.placement(call, self.skill, variant)
        return cluster_placement.placed(call, found) if found else contextlib.nullcontext()

    def _call(self) -> Call:
        general = self.invocation.general
        targets = self._targets()
        source = self._read_text()
        screen = self.screen.like(quiet_results=general.as_json or bool(targets))
        cancel = StopToken(self.caller.cancel)
        models = Models(
            self.pool,
            Choice(general.model, fallback=not general.no_fallback),
            screen.notice,  # this method prints above the progress bar
            cancel=cancel,
            on_served=lambda served: self.run.served_by(served),
        )
        return Call(
            text=self.invocation.text,
            options=self.invocation.options,
            models=models,
            screen=screen,
            log=self.run,
            settings=self.settings,
            subcommand=self.invocation.subcommand,
            source=source,
            targets=targets,
            folders=self.invocation.folders,
            force=general.force,
            frameworks={name: f.path for name, f in self.catalogue.frameworks.items()},
            confirm=self.frontend.confirm,
            yes=general.yes,
            read_stdin=self._stdin if self.frontend.stdin is not None else None,
            cancel=cancel,
        )

    @property
    def _formats(self) -> dict[str, FoundFormat]:
        """The formats of plugins for this skill, by suffix."""
        return self.catalogue.formats_for(self.skill)

    def _suffix(self, target: Path) -> str:
        """Return the suffix of a target file, which determines its format."""
        return target_files.suffix_of(target, (*self.skill.saves, *self._formats))

    def _targets(self) -> tuple[Path, ...]:
        """Return the targets of the line.

        If the line has no targets, and the subcommand is in `Skill.target_text`, the target is the
        text or the default path, and the text becomes "".

        Raises:
            UsageError: the subcommand needs a target.
        """
        given = self.invocation
        default = self.skill.target_text.get(given.subcommand)
        if given.targets or default is None:
            return given.targets
        path = given.text.strip() or default
        if not path:
            raise UsageError(f"/{given.name} {given.subcommand} needs a file to write")
        targets, folders = as_targets([path])
        self.invocation = replace(given, text="", folders=folders)
        return targets

    def _companions(self, targets: Sequence[Path]) -> dict[Path, str]:
        """Return the files beside the targets, each with its key in `Result.companions`."""
        options, subcommand = self.invocation.options, self.invocation.subcommand
        with self._isolated():
            return {
                Path(path): name
                for target in targets
                for name, path in self.skill.companions(target, options, subcommand).items()
            }

    def _read_text(self) -> Source:
        """Read the text from stdin if necessary, and return the source of the text.

        The text is read from stdin if it is `-`, or if it is required and missing.

        Raises:
            UsageError: a required text is missing, or there is a text that the skill does not take.
            InputError: stdin is empty, not available or not UTF-8 text.
        """
        text = self.invocation.text
        missing = self.skill.text == "required" and not text.strip()
        if self.skill.text == "none" and text.strip():
            raise UsageError(f"/{self.skill.name} takes no text, but found {text.strip()[:40]!r}")
        if text.strip() == "-" or (missing and self.frontend.stdin is not None):
            text = self._stdin()
            if not text.strip():
                raise InputError("stdin is empty", hint=f"/{self.skill.name} {self.skill.usage}")
            with self._isolated():
                suffix = self.skill.piped_as(text, self.invocation.subcommand)
            if suffix:
                path = Path(
                    self._folder.enter_context(TemporaryDirectory(prefix=PIPED)),
                    f"stdin{suffix}",
                )
                path.write_text(text, encoding="utf-8", newline="")
                text, self._piped = str(path), True
            self.invocation = replace(self.invocation, text=text)
            return "line" if suffix else "stdin"
        if missing:
            raise UsageError(
                f"/{self.skill.name} needs {self.skill.usage}",
                hint=f"See `/help {self.skill.name}`.",
            )
        return "both" if self.invocation.joins_stdin else "line"

    def _stdin(self) -> str:
        if self.frontend.stdin is None:
            raise InputError("stdin is not available here", hint="Give the text on the line.")
        self.screen.notice("reading stdin")
        try:
            return self.frontend.stdin.read().decode("utf-8-sig")
        except UnicodeDecodeError as exc:
            raise InputError(f"stdin is not UTF-8 text (byte {exc.start})") from exc

    @property
    def _job(self) -> str:
        """The key of the job; a later run with the same key may replace the files of this run.

        The key does not depend on the content of input files, so that results can be updated.
        """
        given = self.invocation
        options = given.options.model_dump(mode="json", exclude=set(given.options.manner))
        text = "-" if self._piped else given.text
        parts = [given.name, given.subcommand, text, options, str(self.settings.project_dir)]
        return "2:" + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _may_replace(self, target: Path) -> bool:
        if self.invocation.general.force:
            return True
        sha256 = file_sha256(target)
        self._replaceable.add((target.resolve(), sha256))
        if self.run_log.made(target, sha256, self._job):
            return True
        confirm = self.frontend.confirm
        # For a model's call, the question of `_check_consent` also covers existing files.
        unasked = self.frontend.is_model or self.invocation.general.yes
        return confirm is not None and (unasked or confirm(f"{target} exists. Overwrite it?"))

    def _check_consent(self, files: Sequence[Path]) -> None:
        """If a model's call would change anything, ask the user for consent.

        The answer is recorded in the run log.

        Raises:
            NotAllowed: the user refuses or cannot be asked, or a file is protected.
        """
        from harness.permissions import consent, in_one_line, refuse_protected

        given, general = self.invocation, self.invocation.general
        paths = (*files, *opts.paths(given.options))
        refuse_protected(given.name, paths, self.settings.protected)
        with self._isolated():
            effects = self.skill.effects(given.options, given.subcommand)
        # a plugin may return another type
        effects = effects if isinstance(effects, str) else UNKNOWN_EFFECTS
        written = ", ".join(
            f"{in_one_line(str(path))}{' (which exists)' if path.exists() else ''}"
            for path in files
        )
        sends = ""
        if isinstance(given.options, opts.ClusterOptions) and given.options.is_remote:
            sends = f"sends its input to {given.options.on}"
        parts = (f"writes {written}" if written else "", effects, sends)
        if changes := " and ".join(in_one_line(part) for part in parts if part):
            how = consent(f"/{given.name} {changes}", self.frontend.confirm, yes=general.yes)
        else:
            how = "" if self.run.allowed else WITHOUT_ASKING
        self.run.allow(how)

    def _save(self, target: Path, result: Result) -> Path:
        if (suffix := self._suffix(target)) not in result.saves:
            found = self._formats[suffix]
            owner = f"the format {suffix} ({found.origin})"
            return self._write(target, lambda file: found.format.write(result.each(), file), owner)
        try:
            return self._write(target, lambda file: result.write(suffix, file))
        except OutputError:
            if render := result.renderers.get(suffix):
                self.screen.notice(f"{target} could not be written; here is the result:")
                # an error of stdout is ignored, since the error of the file is raised
                with contextlib.suppress(HarnessError):
                    as_object = self.invocation.general.as_json
                    self.screen.result(result.as_json() if as_object else render())
            raise

    def _write(self, path: Path, produce: Write, owner: str = "") -> Path:
        place, force = path.resolve(), self.invocation.general.force

        def before_replacing(sha256: str) -> None:
            # If two targets are the same file, writing the second target replaces the first file.
            self._replaceable.add((place, sha256))
            self.run.wrote(path, sha256)

        may_replace = None if force else (lambda sha256: (place, sha256) in self._replaceable)
        with self._isolated(owner):
            target_files.write(path, produce, before_replacing, may_replace)
        self.run.written.append(path)
        return path

    @contextlib.contextmanager
    def _isolated(self, owner: str = "") -> Iterator[None]:
        """Isolate code of a skill or plugin in the block; text that the code prints goes to stderr.

        Args:
            owner: the owner of the code, for messages; by default, the skill.

        Raises:
            HarnessError: the error of the code; other exceptions become SkillFailed.
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        try:
            with contextlib.redirect_stdout(self.screen.prints):
                yield
        except (HarnessError, KeyboardInterrupt):
            raise
        except BaseException as exc:  # plugin code may raise any exception
            if ctrl_c.is_cause_of(exc):
                raise KeyboardInterrupt from exc
            reason = str(exc)
            if isinstance(exc, ValidationError):
                parts = [f"{error['loc'][0]}: {error['msg']}" for error in exc.errors()]
                reason = f"{exc.title}, {'; '.join(parts)}"
            raise SkillFailed(
                f"{owner or f'/{self.skill.name}'} failed: {type(exc).__name__}: {reason}",
                hint=f"`/logs {self.run.id}` has the traceback." if self.run.id else None,
            ) from exc

    def _opened(self) -> tuple[RunStarted, Sequence[Listener]]:
        """Open the row of a logged run; return the start event, and the listeners that receive it.

        A run that is not logged has no listeners.

        Raises:
            OutputError: the line names targets, and `RunLog.check_usable` fails.
        """
        given = self.invocation
        logged = self.skill.logged or self.frontend.is_model  # all calls by a model are logged
        kept = logged and not given.general.no_log
        if kept:
            self.run_log.start(
                door=self.frontend.name,
                line=self.line,
                skill=self.skill.name,
                options=given.options.model_dump(mode="json"),
                job=self._job,
                run=self.run,
            )
            if given.targets:
                self.run_log.check_usable()
        started = RunStarted(
            self.run.id, given.name, given.subcommand, self.frontend.name, datetime.now(UTC)
        )
        return started, self.catalogue.listeners if kept else ()
