"""The folder of a run: its artifacts, and the manifest of the stages that made them.

    out/
      manifest.json                      the settings, and an entry for each performed stage
      prepared/                          rows as tokens, with the start of each completion
      checkpoint-N/                      the adapter and the optimizer after step N
      adapter/                           the adapter of the best checkpoint
      merged/                            the base with the adapter merged into it
      NAME.f16.gguf NAME.Q4_K_M.gguf     the merged model for llama.cpp, in 16 bits and quantized
      NAME-lora.gguf                     the adapter alone for llama.cpp
      Modelfile Modelfile.adapter

A stage is a function that takes the `StageContext`, checks the inputs of the stage, calls `begin`
with these inputs, and returns the `Entry` that it adds to the manifest. If inputs and outputs have
not changed since an earlier entry, the function returns this entry immediately:

    stage = context.begin("merge", "merge the adapter into the base", inputs)
    if stage.unchanged is not None:
        return stage.unchanged
    ...                                         # write the files
    return stage.record([out.merged], facts)
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError

from harness._version import __version__
from harness.api.skill import Call
from harness.errors import InputError, OutputError, first_error
from harness.models.weights import FileStore
from harness.runs import targets
from harness.support.bounded_files import MAX_JSON_BYTES, file_sha256, read_bytes, read_json
from harness.support.text_input import unreadable
from skills.finetune import ranks
from skills.finetune.recipe import Recipe
from skills.nanda.framework import Framework, sha256_of

if TYPE_CHECKING:
    from skills.finetune.training.trackers import Tracking

SPARE = 1.02
"""Factor on the needed disk space, since a file occupies more space than its size."""
WRITERS = ("train", "merge", "gguf", "quantize", "modelfile")
"""The stages from whose entries `file_digest` takes the digests of files."""
MANIFEST = "manifest.json"
FORMAT = 1
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "tokenizers", "gguf")


@dataclass(frozen=True, slots=True)
class Output:
    """The digest, size and modification time of a file that a stage wrote."""

    sha256: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Output:
        stat = path.stat()
        return cls(file_sha256(path), stat.st_size, stat.st_mtime_ns)

    def is_unchanged(self, path: Path) -> bool:
        """Return True if the file at `path` has the recorded content.

        The file is read only if its modification time has changed, but its size has not.
        """
        if not path.exists() or path.stat().st_size != self.size:
            return False
        return path.stat().st_mtime_ns == self.mtime_ns or file_sha256(path) == self.sha256


@dataclass(frozen=True, slots=True)
class Entry:
    """The entry of the manifest for a performed stage.

    Attributes:
        inputs: the digests and settings that the result depends on, as JSON values.
        outputs: a record of each file that the stage wrote, by its path in the folder.
        facts: results other than files, for display and for later stages.
        seconds: the duration of the stage.
        versions: the versions of the packages that were used.
        created: the date and the time at which the stage ended, in UTC.
    """

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Output]
    facts: Mapping[str, Any]
    seconds: float
    versions: Mapping[str, str]
    created: str


class _Manifest(BaseModel, extra="allow", ser_json_inf_nan="constants"):
    """The contents of manifest.json: the settings of the run, and the entry of each stage."""

    format: int = FORMAT
    run: dict[str, Any] = Field(default_factory=dict)
    stages: dict[str, Entry] = Field(default_factory=dict)


class RunDir:
    """The folder of a run.

    Args:
        name: the name of the model, used in the names of files.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.prepared = folder / "prepared"
        self.adapter = folder / "adapter"
        self.merged = folder / "merged"
        self.f16 = folder / f"{name}.f16.gguf"
        self.lora = folder / f"{name}-lora.gguf"
        self.modelfile = folder / "Modelfile"
        self.adapter_modelfile = folder / "Modelfile.adapter"

    @classmethod
    def of(cls, folder: Path, recipe: Recipe) -> RunDir:
        return cls(folder, recipe.export.name)

    def quantized(self, kind: str) -> Path:
        return self.folder / f"{self.name}.{kind}.gguf"

    def needs(self, stage: str, reason: str) -> InputError:
        """Return an error with the reason, and the hint to perform a stage in this folder first."""
        hint = f"Run `/finetune {stage} {self.folder}` first."
        return InputError(reason, where=str(self.folder), hint=hint)

    def prepared_facts(self) -> dict[str, Any]:
        """Return the contents of prepared.json, or {} if the file cannot be read."""
        try:
            found: dict[str, Any] = read_json(self.prepared / "prepared.json")
        except (OSError, ValueError):
            return {}
        return found

    def entry(self, stage: str) -> Entry | None:
        """Return the entry of a stage, or None if the manifest has no entry of the stage.

        Raises:
            InputError: the manifest cannot be read.
        """
        return self._manifest().stages.get(stage)

    def is_current(self, stage: str, inputs: Mapping[str, Any]) -> bool:
        """Return True if a stage was performed with these inputs, and its outputs are unchanged."""
        entry = self.entry(stage)
        if entry is None or self.changed(stage, inputs):
            return False
        return all(kept.is_unchanged(self.folder / path) for path, kept in entry.outputs.items())

    def changed(self, stage: str, inputs: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the sorted names of changed inputs; () if the stage has no entry."""
        entry = self.entry(stage)
        if entry is None:
            return ()
        before, now = dict(entry.inputs), _as_json(inputs)
        return tuple(name for name in sorted({*before, *now}) if before.get(name) != now.get(name))

    def record(
        self,
        stage: str,
        inputs: Mapping[str, Any],
        outputs: Sequence[Path] = (),
        facts: Mapping[str, Any] | None = None,
        seconds: float = 0.0,
    ) -> Entry:
        """Add a stage's entry to the manifest, and return the entry.

        Args:
            outputs: the files and folders that the stage wrote.
            inputs, facts, seconds: as in `Entry`.

        Raises:
            OutputError: the manifest cannot be written.
        """
        entry = Entry(
            _as_json(inputs),
            {str(path.relative_to(self.folder)): Output.of(path) for path in _files(outputs)},
            _as_json(facts or {}),
            round(seconds, 1),
            {"nanda-harness": __version__, **package_versions(*PACKAGES)},
            time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        )
        manifest = self._manifest()
        manifest.stages[stage] = entry
        self._write(manifest)
        return entry

    def forget(self, stage: str) -> None:
        """Remove the entry of a stage from the manifest; the files of the stage are kept."""
        manifest = self._manifest()
        if manifest.stages.pop(stage, None) is not None:
            self._write(manifest)

    @property
    def run(self) -> Mapping[str, Any]:
        """The settings that `remember` stored; {} before settings are stored."""
        return self._manifest().run

    def remember(self, run: Mapping[str, Any]) -> None:
        """Store the settings of a run for stages that are performed later."""
        manifest = self._manifest()
        if manifest.run != _as_json(run):
            manifest.run = _as_json(run)
            self._write(manifest)

    def make(self) -> None:
        """Create the folder.

        Raises:
            OutputError: the folder cannot be created, or the path is a file.
        """
        with targets.reported(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)

    def _write(self, manifest: _Manifest) -> None:
        targets.write_text(self.folder / MANIFEST, manifest.model_dump_json(indent=2))

    def _manifest(self) -> _Manifest:
        path = self.folder / MANIFEST
        try:
            return _Manifest.model_validate_json(read_bytes(path, MAX_JSON_BYTES))
        except FileNotFoundError:
            return _Manifest()
        except OSError as exc:
            raise unreadable(path, exc) from exc
        except ValidationError as exc:
            raise InputError(
                f"is not the manifest of a run: {first_error(exc)}",
                where=str(path),
                hint="Name another folder with --out, or move this folder away.",
            ) from exc


@contextmanager
def emptied(folder: Path) -> Iterator[Path]:
    """Remove and recreate `folder`, yield it for the block, and remove it after the block."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def partial(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces `folder` if the block ends without an error.

    Raises:
        OutputError: the disk is full, or a file cannot be written.
    """
    try:
        with emptied(folder.with_name(f".{folder.name}.partial")) as temporary:
            yield temporary
            if folder.exists():
                shutil.rmtree(folder)
            temporary.replace(folder)
    except OSError as exc:
        raise OutputError(f"not written: {exc.strerror or exc}", where=str(folder)) from exc


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the files among `paths`, and all files in the folders among `paths`."""
    for path in paths:
        if path.is_dir():
            yield from sorted(found for found in path.rglob("*") if found.is_file())
        else:
            yield path


def _as_json(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return `value` written as JSON and read again: tuples become lists, keys become strings."""
    found: dict[str, Any] = json.loads(json.dumps(value, default=str))
    return found


def package_versions(*names: str) -> dict[str, str]:
    """Return the version of each installed package in `names`, by name."""
    found = {}
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def in_words(size: float) -> str:
    """Return a number of bytes as a text, such as "98.4 MB" or "15.2 GB"."""
    for unit, one in (("GB", 1e9), ("MB", 1e6)):
        if size >= one:
            return f"{size / one:.1f} {unit}"
    return f"{size / 1e3:.0f} kB"


def need_disk(folder: Path, needed: int, files: str) -> None:
    """Raise OutputError if the disk of `folder` has no room for `needed` bytes.

    Args:
        files: the files to write, in words for the error, such as "the merged model".
    """
    free = shutil.disk_usage(folder).free
    if free < needed * SPARE:
        raise OutputError(
            f"{files} needs {in_words(needed)} of disk space, and {in_words(free)} are free",
            where=str(folder),
            hint="Free some space, or choose a folder on another disk with --out.",
        )


def digest_of(run_dir: RunDir, stage: str, path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of the files in a folder.

    Args:
        stage: the stage that writes `path`, for the hint.

    Raises:
        InputError: `path` does not exist, or is a folder without files.
    """
    files = [*_files([path])]
    if not files or not path.exists():
        raise run_dir.needs(stage, f"{path.relative_to(run_dir.folder)} does not exist")
    digests = {str(file.relative_to(run_dir.folder)): file_digest(run_dir, file) for file in files}
    return digests.popitem()[1] if path.is_file() else sha256_of(digests)


def file_digest(run_dir: RunDir, path: Path) -> str:
    """Return the SHA-256 of a file, from the manifest if the file is unchanged.

    A file counts as unchanged if its size and modification time are as recorded. Hashing a merged
    model of 15 GB would take a minute.
    """
    stat = path.stat()
    name = str(path.relative_to(run_dir.folder)) if path.is_relative_to(run_dir.folder) else ""
    for stage in WRITERS:
        entry = run_dir.entry(stage)
        kept = entry.outputs.get(name) if entry else None
        if kept and (kept.size, kept.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
            return kept.sha256
    return file_sha256(path)


@dataclass(frozen=True, slots=True)
class StageContext:
    """The command, the recipe, the folder of the run and the input files, for all stages.

    Attributes:
        data: the training set, a .jsonl file of `/finetune dataset`; None if neither the command
            nor the stored settings of the run name a training set.
        dev: the file of the dev rows, in the format of `data`; None to use a share of the gold rows
            of `data`.
        framework_file: the file of `framework`; None for the shipped framework.
        tracking: forwards the measurements of the training to a tracker; None without `--track`.
    """

    call: Call
    recipe: Recipe
    run_dir: RunDir
    framework: Framework
    data: Path | None = None
    dev: Path | None = None
    framework_file: Path | None = None
    tracking: Tracking | None = None

    @property
    def processes(self) -> int:
        """The number of training processes.

        Raises:
            UsageError: as for `ranks.processes`.
        """
        return ranks.processes(self.call.options.processes)

    @property
    def is_sharded(self) -> bool:
        """True if FSDP divides the base among the training processes."""
        return ranks.is_sharded(self.call.options.sharding)

    @property
    def files(self) -> FileStore:
        """The store that finds or downloads the files of the registry."""
        call = self.call
        return FileStore(call.models.registry.files, call.settings.cache_dir, call.screen.notice)

    def begin(
        self, name: str, summary: str, inputs: Mapping[str, Any], *, stands: bool | None = None
    ) -> Stage:
        """Announce a stage, and return its `Stage`; `unchanged` is None if the stage must run.

        Args:
            inputs: the digests of files and the settings that the result depends on.
            stands: True if the stage's result outside of the folder is unchanged; False if it was
                changed or lost, so that the stage must run again; None without such a result.
        """
        notice, entry = self.call.screen.notice, self.run_dir.entry(name)
        if stands is not None:
            inputs = {**inputs, "stands": True}
        if entry is not None and stands is not False and self.run_dir.is_current(name, inputs):
            notice(f"{name}: unchanged")
            return Stage(self.run_dir, name, inputs, entry)
        lost = ["the result outside of the folder"] * (stands is False and entry is not None)
        changed = [*self.run_dir.changed(name, inputs), *lost]
        notice(f"{name}: {summary}" + f" again ({', '.join(changed)} changed)" * bool(changed))
        return Stage(self.run_dir, name, inputs)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage that is being performed.

    Attributes:
        unchanged: the stage's entry in the manifest, if inputs and outputs are unchanged;
            otherwise None, and the stage must run.
    """

    run_dir: RunDir
    name: str
    inputs: Mapping[str, Any]
    unchanged: Entry | None = None
    begun: float = field(default_factory=time.monotonic)

    def record(self, outputs: Sequence[Path] = (), facts: Mapping[str, Any] | None = None) -> Entry:
        """Add the entry of the stage to the manifest, and return the entry.

        Args:
            outputs: the files and folders that were written.
            facts: results other than files, for display and for later stages.
        """
        seconds = time.monotonic() - self.begun
        return self.run_dir.record(self.name, self.inputs, outputs, facts, seconds)
