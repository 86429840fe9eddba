"""The stage `train`: train an adapter on the prepared rows.

It writes checkpoint-N/, adapter/ (from the checkpoint with the smallest dev loss, or the last one
without dev rows), metrics.jsonl, loss.png and run.json to the folder of the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InputError, Interrupted
from harness.runs import progress, targets
from harness.support.optional_deps import require
from skills.finetune.model import start_from
from skills.finetune.preparation import batches
from skills.finetune.run.recipe import Recipe
from skills.finetune.run.run_dir import Done
from skills.finetune.run.stage import Stage, StageContext
from skills.finetune.training import checkpoints, curve, metrics, run_guard
from skills.finetune.training.stopping import stopped_by_signals, translated_errors
from skills.finetune.training.watch import TrainingCallbacks, TrainingProgress, schedule

if TYPE_CHECKING:
    from skills.finetune.model.bases import Base
    from skills.finetune.model.facts import BaseFacts

RUN = "run.json"
MODULES = ("torch", "transformers", "peft", "accelerate", "matplotlib")


def train(context: StageContext, resume: Path | bool | None = None) -> Done:
    """Train, or resume training.

    Args:
        resume: a checkpoint of this run to resume from; True for the newest valid one.

    Raises:
        UsageError: a package is missing, or this machine cannot train with the recipe.
        InputError: the prepared rows, the base or the checkpoint cannot be used.
        SkillFailed: the loss is not finite, or there is not enough memory.
        OutputError: a checkpoint cannot be written.
        Interrupted: it was stopped, after saving a checkpoint.
    """
    folder, screen = context.run_dir.folder, context.call.screen
    base, prepared, recipe, adapted = _ready(context)
    guard = run_guard.guard(recipe, prepared.facts, prepared.digests, start_from.digest(context))
    checkpoint = checkpoints.to_resume(folder, resume, screen.notice)
    run_guard.check(None if checkpoint is None else checkpoint.guard, guard, str(folder))
    start_step = 0 if checkpoint is None else checkpoint.step
    log = metrics.Metrics(folder / metrics.NAME)
    log.cut(start_step or -1)  # an evaluation before the first step is repeated
    _record(folder, guard, recipe)

    order = batches.Batches(prepared.train, recipe.training.batch, recipe.training.seed)
    steps = schedule(len(prepared.train), recipe.training)
    pace = TrainingProgress(
        rows=steps.last, weight=max(1, steps.last - start_step), done=start_step, unit="steps"
    )
    stop, keep = context.call.cancel.is_set, recipe.training.keep
    watch = TrainingCallbacks(folder, order, steps, log, pace, guard, base.name, keep, stop)
    if start_step < steps.last:
        checkpoints.clean(folder)
        screen.notice(_to_do(prepared, recipe, steps.last, start_step))
        trainer = _trainer(context, base, prepared, recipe, watch)
        with (
            translated_errors(recipe.training, watch),
            stopped_by_signals(context.call),
            progress.show_progress(pace, screen, "training") as watch.update,
        ):
            trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint.path))
        checkpoints.clean(folder)
    if (reached := max(start_step, watch.saved)) < steps.last:
        raise Interrupted(
            f"stopped after step {reached} of {steps.last}, which is saved",
            hint="`--resume` continues from there.",
        )
    done = _finished(context, watch, reached)
    return replace(done, facts={**done.facts, "adapted": list(adapted)})


def _to_do(prepared: batches.Prepared, recipe: Recipe, last: int, start: int) -> str:
    """Return how many rows and steps there are, as one line."""
    return (
        f"train: {len(prepared.train):,} rows, {last - start:,} of {last:,} steps to do, "
        f"{recipe.training.rows_per_step:,} rows each; the time is known after the first"
    )


def _record(folder: Path, guard: Mapping[str, Any], recipe: Recipe) -> None:
    run = {"guard": guard, "recipe": recipe.model_dump(mode="json")}
    targets.write_text(folder / RUN, json.dumps(run, indent=2, ensure_ascii=False))


def inputs(context: StageContext) -> Mapping[str, Any]:
    """Return all that the adapter depends on.

    Raises:
        InputError: nothing is prepared, or the adapter to continue from is missing or does not fit.
        ModelError: that adapter is a file of the registry that is missing or was changed.
    """
    parts = {"quantization", "adapter", "training"}
    found: dict[str, Any] = dict(batches.digests(context.run_dir.prepared))
    found |= context.recipe.model_dump(mode="json", include=parts)
    if context.recipe.adapter.start_from is None:
        return found
    start_from.open_start(context, _facts_of_base(context))
    del found["adapter"]["start_from"]  # the digest identifies it under any name
    return found | {"start": start_from.digest(context)}


def perform(context: StageContext) -> Done:
    """Run `train` with the options `checkpoint` and `resume` of the call."""
    options = context.call.options
    return train(context, getattr(options, "checkpoint", None) or getattr(options, "resume", None))


STAGE = Stage("train", "train an adapter on the prepared rows", inputs, perform)


def _ready(
    context: StageContext,
) -> tuple[Base, batches.Prepared, Recipe, tuple[str, ...]]:
    """Return the base, the rows, and the recipe adapted to this machine, with what was adapted.

    Raises:
        HarnessError: something that training needs is missing, or does not fit.
    """
    require(*MODULES, *(["bitsandbytes"] if _needs_bitsandbytes(context.recipe) else []))
    from skills.finetune.model import adapting
    from skills.finetune.model.bases import open_base
    from skills.finetune.model.memory import Batch
    from skills.finetune.run import hardware

    prepared = batches.read_prepared(context.run_dir.prepared)
    base = open_base(context)
    if base.digest != prepared.facts.get("base_digest"):
        raise InputError(
            f"the rows were prepared for {prepared.facts.get('base')}, which is not "
            f"{base.name} in its current state",
            where=str(context.run_dir.prepared),
            hint="`/finetune prepare` writes them again.",
        )
    largest = Batch.largest(
        [len(row.input_ids) for row in prepared.train],
        [len(row.input_ids) - row.completion_start for row in prepared.train],
        context.recipe.training.batch,
    )
    recipe, changes = adapting.adapted(
        context.recipe, _facts_of_base(context), largest, hardware.find()
    )
    for change in changes:
        context.call.screen.notice(change)
    return base, prepared, recipe, changes


def _needs_bitsandbytes(recipe: Recipe) -> bool:
    return recipe.quantization.kind == "nf4" or recipe.training.optimizer != "adamw_torch"


def _trainer(
    context: StageContext,
    base: Base,
    prepared: batches.Prepared,
    recipe: Recipe,
    watch: TrainingCallbacks,
) -> Any:
    from skills.finetune.model.loading import load_model
    from skills.finetune.training.trainer import make_trainer

    begins_from = start_from.open_start(context, _facts_of_base(context))
    with context.call.screen.progress("loading the base"):
        model = load_model(base.folder, recipe)
        if begins_from is not None:
            start_from.load_into(model, begins_from)
    return make_trainer(model, recipe, prepared, watch)


def _facts_of_base(context: StageContext) -> BaseFacts:
    from skills.finetune.model.bases import describe

    found = describe(context)
    assert found is not None  # the rows were prepared with it
    return found


def _finished(context: StageContext, watch: TrainingCallbacks, reached: int) -> Done:
    """Keep the best adapter, and draw the loss curve."""
    folder, log = context.run_dir.folder, watch.metrics
    kept = checkpoints.best(folder, reached, context.call.screen.notice)
    checkpoints.keep_adapter(kept.path, context.run_dir.adapter)
    lines = log.read()
    curve.draw(lines, folder / curve.NAME, kept.step)
    _judge(context, kept, lines)
    outputs = [context.run_dir.adapter, log.path, folder / curve.NAME, folder / RUN]
    return Done(outputs, _facts(kept, watch, lines))


def _judge(
    context: StageContext, kept: checkpoints.Checkpoint, lines: Sequence[Mapping[str, Any]]
) -> None:
    """Report if the dev loss did not improve on the adapter that training started from."""
    before = _loss_before(lines)
    if before is not None and kept.best is not None and kept.best[1] >= before:
        context.call.screen.notice(
            f"train: the dev loss is {kept.best[1]:.4f}, and of "
            f"{context.recipe.adapter.start_from}, from which it started, {before:.4f}: "
            "no improvement"
        )


def _loss_before(lines: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the dev loss before the first step."""
    return next((line["dev_loss"] for line in lines if line["step"] == 0), None)


def _facts(
    kept: checkpoints.Checkpoint, watch: TrainingCallbacks, lines: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    trained = [line for line in lines if line.get("tokens")]
    seconds = sum(line["seconds"] for line in trained)
    tokens = sum(line["tokens"] for line in trained)
    return {
        "step": kept.step,
        "dev_loss": None if kept.best is None else kept.best[1],
        "dev_loss_before": _loss_before(lines),
        "steps": watch.schedule.last,
        "steps_of_all_epochs": watch.schedule.total,
        "loss": trained[-1]["loss"] if trained else None,
        "tokens": tokens,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens / seconds, 1) if seconds else None,
        "peak_bytes": max((line["peak_bytes"] for line in trained), default=None),
        "padding": round(watch.order.padding, 4),
        "device": watch.guard["device"],
    }
