"""The optimization itself, in one process or as one of several ranks.

    saved = optimize(run, run.progress(), screen, cancel)     # rank 0, or the only process
    follow()                                                  # another rank

Each rank loads the base and takes its rows of each batch. Rank 0 sends the `TrainingRun` to the
others.
"""

from __future__ import annotations

import io
import signal
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from harness.runs import progress
from harness.support.stop_token import StopToken
from harness.terminal.console import Screen
from skills.finetune.model import start_from
from skills.finetune.model.facts import BaseFacts
from skills.finetune.preparation import batches
from skills.finetune.run import ranks
from skills.finetune.run.recipe import Recipe
from skills.finetune.run.run_dir import RunDir
from skills.finetune.training import metrics
from skills.finetune.training.stopping import stopped_by_signals, translated_errors
from skills.finetune.training.watch import Schedule, TrainingCallbacks, TrainingProgress


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """What a rank needs to train, which rank 0 sends to the others.

    Attributes:
        folder: of the run, with the prepared rows.
        base, base_name: the folder of the base, and its name.
        guard: the settings the run was started with, stored in each checkpoint.
        start: the adapter to start from, which fits the base.
        checkpoint: the one to resume from, of step `start_step`.
        is_sharded: the base is divided among the ranks.
    """

    folder: Path
    base: Path
    base_name: str
    facts: BaseFacts
    recipe: Recipe
    guard: Mapping[str, Any]
    steps: Schedule
    start: Path | None = None
    checkpoint: Path | None = None
    start_step: int = 0
    is_sharded: bool = False

    def progress(self) -> TrainingProgress:
        """Return the progress at its beginning."""
        last, begin = self.steps.last, self.start_step
        return TrainingProgress(rows=last, weight=last - begin, done=begin, unit="steps")

    def as_json(self) -> str:
        return TypeAdapter(TrainingRun).dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> TrainingRun:
        return TypeAdapter(TrainingRun).validate_json(text)


def optimize(
    run: TrainingRun,
    pace: TrainingProgress,
    screen: Screen,
    cancel: StopToken,
    update: Callable[[], None] | None = None,
) -> int:
    """Train as this rank; return the step of the last checkpoint, or 0.

    Args:
        update: called before the first step and after each, instead of showing the progress.

    Raises:
        SkillFailed: the loss is not finite, there is not enough memory, or a rank has ended.
        OutputError: a checkpoint cannot be written.
        Interrupted: the run was stopped at once.
    """
    training = run.recipe.training
    prepared = batches.read_prepared(RunDir.of(run.folder, run.recipe).prepared)
    watch = TrainingCallbacks(
        run.folder,
        batches.Batches(prepared.train, training.batch, training.seed),
        run.steps,
        metrics.Metrics(run.folder / metrics.NAME),
        pace,
        run.guard,
        run.base_name,
        training.keep,
        cancel.is_set,
    )
    trainer = _trainer(run, prepared, watch, screen)
    shown = progress.show_progress(pace, screen, "training") if update is None else None
    with (
        translated_errors(training, watch),
        stopped_by_signals(screen, cancel),
        shown or nullcontext(update or watch.update) as watch.update,
    ):
        if update is not None:
            update()
        trainer.train(resume_from_checkpoint=run.checkpoint and str(run.checkpoint))
    return watch.saved


def follow() -> None:
    """Train as a rank other than 0, until rank 0 ends the training.

    Raises:
        HarnessError: as `optimize`.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # until there is something to save
        signal.signal(number, signal.SIG_DFL)
    ranks.join()
    if text := ranks.broadcast():
        run, quiet = TrainingRun.from_json(text), Screen(io.StringIO(), io.StringIO())
        optimize(run, run.progress(), quiet, StopToken(), lambda: None)
    ranks.leave()


def _trainer(
    run: TrainingRun, prepared: batches.Prepared, watch: TrainingCallbacks, screen: Screen
) -> Any:
    from transformers import set_seed

    from skills.finetune.model.loading import load_model
    from skills.finetune.training.trainer import make_trainer

    begins_from = None if run.start is None else start_from.read(run.start, run.facts)
    with screen.progress("loading the base"):
        model = load_model(run.base, run.recipe, is_sharded=run.is_sharded)
        if begins_from is not None:
            start_from.load_into(model, begins_from)
    trainer = make_trainer(model, run.recipe, prepared, watch, is_sharded=run.is_sharded)
    if ranks.world() > 1:  # the ranks drop different inputs
        set_seed(run.recipe.training.seed + ranks.rank())
    return trainer
