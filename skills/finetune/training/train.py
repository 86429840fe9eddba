"""The stage `train`: train an adapter on the prepared rows.

The stage writes to the folder of the run: checkpoint-N/, adapter/, metrics.jsonl, loss.png and
run.json. The adapter is from the checkpoint with the lowest dev loss; without dev rows, from the
last checkpoint.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from harness.errors import Interrupted
from harness.runs import targets
from harness.support.process import require
from skills.finetune import ranks
from skills.finetune.model import lora_adapters, resources
from skills.finetune.model.base_shapes import BaseFacts
from skills.finetune.model.bases import check_prepared, describe, open_base
from skills.finetune.recipe import Recipe
from skills.finetune.run_folder import Entry, StageContext, partial
from skills.finetune.tokenization import prepared_rows
from skills.finetune.training import checkpoints, processes
from skills.finetune.training.callbacks import Metrics, Schedule, TrainingRun, schedule
from skills.finetune.training.checkpoints import CURVE, METRICS, RUN, Checkpoint

MODULES = ("torch", "transformers", "peft", "accelerate", "matplotlib")


def packages(recipe: Recipe) -> tuple[str, ...]:
    """Return the modules that training with this recipe imports."""
    bits = recipe.quantization.kind == "nf4" or recipe.training.optimizer != "adamw_torch"
    return (*MODULES, "bitsandbytes") if bits else MODULES


def train_inputs(context: StageContext) -> Mapping[str, Any]:
    """Return the inputs of the stage: settings, and digests of the rows and a starting adapter.

    Raises:
        InputError: no rows are prepared, or the adapter to continue from is missing or does not
            fit.
        ModelError: the adapter to continue from is a file of the registry that is missing or was
            changed.
    """
    parts = {"quantization", "adapter", "training"}
    found: dict[str, Any] = dict(prepared_rows.prepared_digests(context.run_dir.prepared))
    found |= context.recipe.model_dump(mode="json", include=parts)
    if context.recipe.adapter.start_from is None:
        return found
    lora_adapters.open_start(context, _shapes(context))
    del found["adapter"]["start_from"]  # the digest "start" replaces the name
    return found | {"start": lora_adapters.start_digest(context)}


def train(context: StageContext) -> Entry:
    """Train an adapter, or resume its training, and return the entry of the stage.

    Raises:
        UsageError: a package is missing, or this machine cannot train with the recipe.
        InputError: the prepared rows, the base or the checkpoint cannot be used.
        SkillFailed: a loss or a gradient is not finite, there is not enough memory, or a rank has
            ended.
        OutputError: a checkpoint cannot be written.
        Interrupted: the training was stopped before its last step.
    """
    inputs = train_inputs(context)
    stage = context.begin("train", "train an adapter on the prepared rows", inputs)
    if stage.unchanged is not None:
        return stage.unchanged
    require(*packages(context.recipe))
    folder, screen, options = context.run_dir.folder, context.call.screen, context.call.options
    prepared, base = prepared_rows.read_prepared(context.run_dir.prepared), open_base(context)
    check_prepared(prepared.facts, base, folder)
    machine = resources.of_run(context)
    resources.check_processes(context.recipe, machine)
    recipe, shapes = context.recipe, _shapes(context)
    batch = resources.Batch.largest(prepared.lengths, prepared.completions, recipe, machine)
    recipe, adapted = resources.adapted(recipe, shapes, batch, machine)
    for change in adapted:
        screen.notice(change)
    start = lora_adapters.start_digest(context)
    guard = checkpoints.guard(recipe, prepared.facts, prepared.digests, start)
    if context.is_sharded:  # checkpoints with and without sharding contain different files
        guard["sharding"] = "fsdp"
    checkpoint = checkpoints.to_resume(folder, options.checkpoint or options.resume, screen.notice)
    if checkpoint is not None:
        checkpoints.check_guard(checkpoint.guard, guard, str(folder))
    run = TrainingRun(
        folder=folder.absolute(),
        base=base.folder.absolute(),
        base_name=base.name,
        facts=shapes,
        recipe=recipe,
        guard=guard,
        steps=schedule(len(prepared.train), recipe.training),
        start=lora_adapters.start_path(context),
        checkpoint=None if checkpoint is None else checkpoint.path.absolute(),
        start_step=0 if checkpoint is None else checkpoint.step,
        is_sharded=context.is_sharded,
    )
    log = Metrics(folder / METRICS)
    log.cut(run.start_step or -1)  # -1 also removes an evaluation before the first step
    count, settings = context.processes, recipe.model_dump(mode="json")
    record = {"guard": guard, "recipe": settings, "processes": count}
    targets.write_text(folder / RUN, json.dumps(record, indent=2, ensure_ascii=False))
    tracking = context.tracking
    with tracking.following(log) if tracking else nullcontext():
        reached = _optimized(context, run, checkpoint, len(prepared.train))
    if reached < run.steps.last:
        raise Interrupted(
            f"stopped after step {reached} of {run.steps.last}, which is saved",
            hint="`--resume` continues from there.",
        )
    kept = checkpoints.best(folder, reached, screen.notice)
    with partial(context.run_dir.adapter) as copied:
        for name in checkpoints.ADAPTER:
            shutil.copyfile(kept.path / name, copied / name)
    lines = log.read()
    draw_curve(lines, folder / CURVE, kept.step)
    facts = {
        **_facts_of_training(context, kept, run.steps, lines),
        "device": guard["device"],
        "adapted": list(adapted),
        "processes": count,
    }
    return stage.record([context.run_dir.adapter, log.path, folder / CURVE, folder / RUN], facts)


def _shapes(context: StageContext) -> BaseFacts:
    found = describe(context)
    assert found is not None  # the rows were prepared with this base, so it is on this machine
    return found


def _optimized(
    context: StageContext, run: TrainingRun, checkpoint: Checkpoint | None, rows: int
) -> int:
    """Train in this process, in the ranks of a launcher, or in new processes.

    Returns: the last saved step, which may be the step of `checkpoint`; 0 without a saved step.
    """
    screen, cancel, last = context.call.screen, context.call.cancel, run.steps.last
    if run.start_step >= last:
        return run.start_step
    # Remove an incomplete checkpoint that a killed process left.
    shutil.rmtree(run.folder / checkpoints.STAGING, ignore_errors=True)
    screen.notice(
        f"train: {rows:,} rows, {last - run.start_step:,} of {last:,} steps to do, "
        f"{run.recipe.training.rows_per_step:,} rows each; the first step shows the time per step"
    )
    if checkpoint is not None and run.recipe.adapter.dropout:
        # A checkpoint contains a file for each process, with the random state of the process.
        before, now = len([*checkpoint.path.glob("rng_state*.pth")]), context.processes
        if before != now:
            screen.notice(
                f"train: {checkpoint.path.name} was trained with --processes {before}, now it is "
                f"{now}: adapter.dropout continues with other random numbers, so the losses differ "
                "from the losses of a training without an interruption"
            )
    if ranks.world() == 1 and context.processes > 1:
        saved = processes.train_in(run, context.processes, screen, cancel)
    else:
        ranks.broadcast(run.model_dump_json())
        saved = processes.optimize(run, run.progress(), screen, cancel)
        ranks.leave_ranks()
    shutil.rmtree(run.folder / checkpoints.STAGING, ignore_errors=True)
    return max(run.start_step, saved)


def _facts_of_training(
    context: StageContext,
    kept: Checkpoint,
    steps: Schedule,
    lines: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return a training's figures; print a notice if it did not lower the initial dev loss."""
    trained = [line for line in lines if line.get("tokens")]
    seconds = sum(line["seconds"] for line in trained)
    tokens = sum(line["tokens"] for line in trained)
    loss = None if kept.best is None else kept.best[1]
    before = next((line["dev_loss"] for line in lines if line["step"] == 0), None)
    if before is not None and loss is not None and loss >= before:
        context.call.screen.notice(
            f"train: the dev loss is {loss:.4f}, and of {context.recipe.adapter.start_from}, from "
            f"which it started, {before:.4f}: no improvement"
        )
    return {
        "step": kept.step,
        "dev_loss": loss,
        "dev_loss_before": before,
        "steps": steps.last,
        "steps_of_all_epochs": steps.total,
        "loss": trained[-1]["loss"] if trained else None,
        "tokens": tokens,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens / seconds, 1) if seconds else None,
        "peak_bytes": max((line["peak_bytes"] for line in trained), default=None),
    }


def draw_curve(lines: Sequence[Mapping[str, Any]], target: Path, best: int | None = None) -> None:
    """Draw the training loss and the dev loss over the steps, and write the PNG file `target`.

    Args:
        lines: the lines of metrics.jsonl.
        best: the step of the final adapter. It is marked if `lines` contain the dev loss of this
            step.

    Raises:
        OutputError: the file cannot be written.
    """
    from matplotlib import rc_context, rcParamsDefault
    from matplotlib.figure import Figure

    train, dev = (
        {line["step"]: line[name] for line in lines if line.get(name) is not None}
        for name in ("loss", "dev_loss")
    )
    # Ignore a matplotlibrc in the current folder, which could run TeX.
    with rc_context(rcParamsDefault):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.subplots()
        blue, red = "#4477aa", "#cc6677"
        axes.plot([*train], [*train.values()], ".-", color=blue, label="training, as weighted")
        if dev:
            axes.plot([*dev], [*dev.values()], "o-", color=red, label="dev, plain mean")
        if best in dev:
            label = f"kept: step {best}, {dev[best]:.3f}"
            axes.plot([best], [dev[best]], "*", color=red, markersize=16, label=label)
        axes.set_xlabel("step")
        axes.set_ylabel("loss (nats)")
        axes.grid(alpha=0.3)
        if train or dev:
            axes.legend()
        targets.write(target, lambda file: figure.savefig(file, format="png", dpi=120))
