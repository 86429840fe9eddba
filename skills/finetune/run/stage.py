"""The stages of a run: each is performed once, and recorded in the run folder's manifest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.api.skill import Call
from harness.models.weights import FileStore
from harness.support.process import low_spin_openmp
from skills.finetune.run import ranks
from skills.finetune.run.recipe import Recipe
from skills.finetune.run.run_dir import Done, Entry, RunDir
from skills.nanda.framework import Framework

MODULES = {
    "prepare": "skills.finetune.preparation.prepare",
    "train": "skills.finetune.training.train",
    "merge": "skills.finetune.export.merge",
    "gguf": "skills.finetune.export.gguf",
    "quantize": "skills.finetune.export.quantize",
    "modelfile": "skills.finetune.deploy.modelfile_stage",
    "ollama": "skills.finetune.deploy.ollama_create",
    "register": "skills.finetune.deploy.register",
    "compare": "skills.finetune.deploy.compare",
}
"""The module of each stage, in the order of a run; it has the stage as STAGE."""
ORDER = tuple(MODULES)


@dataclass(frozen=True, slots=True)
class StageContext:
    """One run.

    Attributes:
        data: the training set, a .jsonl of `/finetune dataset`; None for a stage without one.
        dev: rows to measure on, in the same form; None: a share of the gold rows of `data`.
        framework_file: the file of `framework`; None for the one that ships.
    """

    call: Call
    recipe: Recipe
    run_dir: RunDir
    framework: Framework
    data: Path | None = None
    dev: Path | None = None
    framework_file: Path | None = None

    @property
    def cache(self) -> Path:
        """The folder for files that can be made again, such as unpacked bases."""
        return self.call.settings.cache_dir

    @property
    def processes(self) -> int:
        """How many processes train.

        Raises:
            UsageError: the options and a launcher both state it.
        """
        return ranks.processes(getattr(self.call.options, "processes", None))

    @property
    def is_sharded(self) -> bool:
        """Whether the base is divided among the processes."""
        return ranks.is_sharded(getattr(self.call.options, "sharding", None))

    @property
    def files(self) -> FileStore:
        """The files of the registry, as they are found or fetched on this machine."""
        return FileStore(self.call.models.registry.files, self.cache, self.call.screen.notice)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage.

    Attributes:
        inputs: returns all that the result depends on (digests of files, settings), and raises
            before any work if the stage cannot be performed.
        perform: writes the stage's files into the folder of the run.
    """

    name: str
    summary: str
    inputs: Callable[[StageContext], Mapping[str, Any]]
    perform: Callable[[StageContext], Done]


def find(name: str) -> Stage:
    """Return a stage; its module is imported now."""
    stage: Stage = import_module(MODULES[name]).STAGE
    return stage


@low_spin_openmp()  # this is where torch is first imported
def perform(context: StageContext, stage: Stage) -> Entry:
    """Perform a stage, unless its inputs and outputs are unchanged; return its manifest entry.

    Raises:
        HarnessError: it failed; the files of other stages are kept.
    """
    inputs = stage.inputs(context)
    run_dir, notice = context.run_dir, context.call.screen.notice
    entry = run_dir.entry(stage.name)
    if entry is not None and run_dir.is_current(stage.name, inputs):
        notice(f"{stage.name}: unchanged")
        return entry
    changed = run_dir.changed(stage.name, inputs)
    why = f" again ({', '.join(changed)} changed)" if changed else ""
    notice(f"{stage.name}: {stage.summary}{why}")
    started = time.monotonic()
    done = stage.perform(context)
    return run_dir.record(stage.name, inputs, done, time.monotonic() - started)


def perform_all(context: StageContext, names: Iterable[str]) -> Iterator[tuple[str, Entry]]:
    """Perform several stages in order, and yield each one with its manifest entry.

    Their progress is counted in the stages of a whole run.
    """
    for name in names:
        with context.call.screen.in_part(f"stage {ORDER.index(name) + 1} of {len(ORDER)}"):
            entry = perform(context, find(name))
        yield name, entry


def is_done(context: StageContext, name: str) -> bool:
    """Return True if the stage's inputs and outputs are unchanged since it was performed."""
    return context.run_dir.is_current(name, find(name).inputs(context))
