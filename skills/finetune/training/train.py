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
from harness.runs import targets
from harness.support.process import require
from skills.finetune import ranks
from skills.finetune.model import lora_adapters
from skills.finetune.recipe import Recipe
from skills.finetune.run_folder import Done, Stage, StageContext
from skills.finetune.tokenization import prepared_rows
from skills.finetune.training import callbacks, checkpoints, processes
from skills.finetune.training.callbacks import Schedule, schedule
from skills.finetune.training.checkpoints import CURVE, METRICS, RUN
from skills.finetune.training.processes import TrainingRun, optimize

if TYPE_CHECKING:
    from skills.finetune.model.base_shapes import BaseFacts
    from skills.finetune.model.bases import Base

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
    guard = checkpoints.guard(
        recipe, prepared.facts, prepared.digests, lora_adapters.start_digest(context)
    )
    if context.is_sharded:  # its checkpoints have other files
        guard["sharding"] = "fsdp"
    checkpoint = checkpoints.to_resume(folder, resume, screen.notice)
    checkpoints.check_guard(None if checkpoint is None else checkpoint.guard, guard, str(folder))
    start_step = 0 if checkpoint is None else checkpoint.step
    log = callbacks.Metrics(folder / METRICS)
    log.cut(start_step or -1)  # an evaluation before the first step is repeated
    _record(folder, guard, recipe, context.processes)
    steps, reached = schedule(len(prepared.train), recipe.training), start_step
    if start_step < steps.last:
        checkpoints.clean(folder)
        screen.notice(_to_do(prepared, recipe, steps.last, start_step))
        _compare_processes(context, checkpoint)
        run = _training_run(context, base, recipe, guard, steps, checkpoint)
        reached = max(reached, _optimized(context, run))
        checkpoints.clean(folder)
    if reached < steps.last:
        raise Interrupted(
            f"stopped after step {reached} of {steps.last}, which is saved",
            hint="`--resume` continues from there.",
        )
    order = prepared_rows.Batches(prepared.train, recipe.training.batch, recipe.training.seed)
    own = {"padding": round(order.padding, 4), "device": guard["device"], "adapted": list(adapted)}
    done = _finished(context, steps, reached)
    return replace(done, facts={**done.facts, **own, "processes": context.processes})


def _training_run(
    context: StageContext,
    base: Base,
    recipe: Recipe,
    guard: Mapping[str, Any],
    steps: Schedule,
    checkpoint: checkpoints.Checkpoint | None,
) -> TrainingRun:
    facts = _facts_of_base(context)
    lora_adapters.open_start(context, facts)  # refused here, before the ranks load the base
    return TrainingRun(
        folder=context.run_dir.folder.absolute(),
        base=base.folder.absolute(),
        base_name=base.name,
        facts=facts,
        recipe=recipe,
        guard=guard,
        steps=steps,
        start=lora_adapters.start_path(context),
        checkpoint=None if checkpoint is None else checkpoint.path.absolute(),
        start_step=0 if checkpoint is None else checkpoint.step,
        is_sharded=context.is_sharded,
    )


def _compare_processes(context: StageContext, checkpoint: checkpoints.Checkpoint | None) -> None:
    """Report if dropout will not continue as it would have without an interruption."""
    if checkpoint is None or not context.recipe.adapter.dropout:
        return
    if (before := checkpoints.processes(checkpoint.path)) != (now := context.processes):
        context.call.screen.notice(
            f"train: {checkpoint.path.name} was trained with --processes {before}, now it is "
            f"{now}: adapter.dropout continues with other random numbers, so that the losses "
            "differ from those of a training without an interruption"
        )


def _optimized(context: StageContext, run: TrainingRun) -> int:
    """Train in this process, with the ranks that a launcher started, or in new ones."""
    screen, cancel = context.call.screen, context.call.cancel
    if ranks.world() == 1 and context.processes > 1:
        return processes.train_in(run, context.processes, screen, cancel)
    ranks.broadcast(run.as_json())
    saved = optimize(run, run.progress(), screen, cancel)
    ranks.leave_ranks()
    return saved


def _to_do(prepared: prepared_rows.Prepared, recipe: Recipe, last: int, start: int) -> str:
    """Return how many rows and steps there are, as one line."""
    return (
        f"train: {len(prepared.train):,} rows, {last - start:,} of {last:,} steps to do, "
        f"{recipe.training.rows_per_step:,} rows each; the time is known after the first"
    )


def _record(folder: Path, guard: Mapping[str, Any], recipe: Recipe, processes: int) -> None:
    run = {"guard": guard, "recipe": recipe.model_dump(mode="json"), "processes": processes}
    targets.write_text(folder / RUN, json.dumps(run, indent=2, ensure_ascii=False))


def train_inputs(context: StageContext) -> Mapping[str, Any]:
    """Return all that the adapter depends on.

    Raises:
        InputError: nothing is prepared, or the adapter to continue from is missing or does not fit.
        ModelError: that adapter is a file of the registry that is missing or was changed.
    """
    parts = {"quantization", "adapter", "training"}
    found: dict[str, Any] = dict(prepared_rows.prepared_digests(context.run_dir.prepared))
    found |= context.recipe.model_dump(mode="json", include=parts)
    if context.recipe.adapter.start_from is None:
        return found
    lora_adapters.open_start(context, _facts_of_base(context))
    del found["adapter"]["start_from"]  # the digest identifies it under any name
    return found | {"start": lora_adapters.start_digest(context)}


def perform_train(context: StageContext) -> Done:
    """Run `train` with the options `checkpoint` and `resume` of the call."""
    options = context.call.options
    return train(context, getattr(options, "checkpoint", None) or getattr(options, "resume", None))


TRAIN = Stage("train", "train an adapter on the prepared rows", train_inputs, perform_train)


def _ready(
    context: StageContext,
) -> tuple[Base, prepared_rows.Prepared, Recipe, tuple[str, ...]]:
    """Return the base, the rows, and the recipe adapted to this machine, with what was adapted.

    Raises:
        HarnessError: something that training needs is missing, or does not fit.
    """
    require(*MODULES, *(["bitsandbytes"] if _needs_bitsandbytes(context.recipe) else []))
    from skills.finetune.model import resources
    from skills.finetune.model.bases import open_base
    from skills.finetune.model.resources import Batch

    prepared = prepared_rows.read_prepared(context.run_dir.prepared)
    base = open_base(context)
    if base.digest != prepared.facts.get("base_digest"):
        raise InputError(
            f"the rows were prepared for {prepared.facts.get('base')}, which is not "
            f"{base.name} in its current state",
            where=str(context.run_dir.prepared),
            hint="`/finetune prepare` writes them again.",
        )
    machine = resources.of_run(context)
    resources.check_processes(context.recipe, machine)
    largest = Batch.largest(
        [len(row.input_ids) for row in prepared.train],
        [len(row.input_ids) - row.completion_start for row in prepared.train],
        ranks.rows_each(context.recipe.training.batch, machine.processes),
    )
    recipe, changes = resources.adapted(context.recipe, _facts_of_base(context), largest, machine)
    for change in changes:
        context.call.screen.notice(change)
    return base, prepared, recipe, changes


def _needs_bitsandbytes(recipe: Recipe) -> bool:
    return recipe.quantization.kind == "nf4" or recipe.training.optimizer != "adamw_torch"


def _facts_of_base(context: StageContext) -> BaseFacts:
    from skills.finetune.model.bases import describe

    found = describe(context)
    assert found is not None  # the rows were prepared with it
    return found


def _finished(context: StageContext, steps: Schedule, reached: int) -> Done:
    """Keep the best adapter, and draw the loss curve."""
    folder = context.run_dir.folder
    log = callbacks.Metrics(folder / METRICS)
    kept = checkpoints.best(folder, reached, context.call.screen.notice)
    checkpoints.keep_adapter(kept.path, context.run_dir.adapter)
    lines = log.read()
    draw_curve(lines, folder / CURVE, kept.step)
    _judge(context, kept, lines)
    outputs = [context.run_dir.adapter, log.path, folder / CURVE, folder / RUN]
    return Done(outputs, _facts_of_training(kept, steps, lines))


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


def _facts_of_training(
    kept: checkpoints.Checkpoint, steps: Schedule, lines: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    trained = [line for line in lines if line.get("tokens")]
    seconds = sum(line["seconds"] for line in trained)
    tokens = sum(line["tokens"] for line in trained)
    return {
        "step": kept.step,
        "dev_loss": None if kept.best is None else kept.best[1],
        "dev_loss_before": _loss_before(lines),
        "steps": steps.last,
        "steps_of_all_epochs": steps.total,
        "loss": trained[-1]["loss"] if trained else None,
        "tokens": tokens,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens / seconds, 1) if seconds else None,
        "peak_bytes": max((line["peak_bytes"] for line in trained), default=None),
    }


def draw_curve(lines: Sequence[Mapping[str, Any]], target: Path, best: int | None = None) -> None:
    """Draw the training loss and the dev loss over the steps.

    Args:
        lines: the lines of metrics.jsonl.
        best: the step whose adapter is kept; it is marked if `lines` contain its dev loss.

    Raises:
        OutputError: the file cannot be written.
    """
    from matplotlib import rc_context, rcParamsDefault

    # Not the settings of a matplotlibrc in the current folder, which could run TeX.
    with rc_context(rcParamsDefault):
        figure = _figure(lines, best)
        targets.write(target, lambda file: figure.savefig(file, format="png", dpi=120))


def _figure(lines: Sequence[Mapping[str, Any]], best: int | None) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    train, dev = _points(lines, "loss"), _points(lines, "dev_loss")
    axes.plot(
        list(train),
        list(train.values()),
        color="#4477aa",
        marker=".",
        label="training, as weighted",
    )
    if dev:
        axes.plot(
            list(dev), list(dev.values()), color="#cc6677", marker="o", label="dev, plain mean"
        )
    if best in dev:
        axes.plot(
            [best],
            [dev[best]],
            color="#cc6677",
            marker="*",
            markersize=16,
            linestyle="",
            label=f"kept: step {best}, {dev[best]:.3f}",
        )
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats)")
    axes.grid(alpha=0.3)
    if train or dev:
        axes.legend()
    return figure


def _points(lines: Sequence[Mapping[str, Any]], name: str) -> dict[int, float]:
    return {line["step"]: line[name] for line in lines if line.get(name) is not None}
