"""Plan a run: its rows, steps, memory, disk and time, before any weight is loaded.

found = plan(context)        # found.refusals: why the run cannot start
report.show(found)           # text; found.as_dict() for JSON
check(context)               # raises the first refusal; a full run calls this before training
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from harness.errors import InputError
from harness.support.process import require
from skills.finetune.model import start_from
from skills.finetune.model.adapting import adapted, of_run, place_of
from skills.finetune.model.bases import describe
from skills.finetune.model.facts import BaseFacts, published
from skills.finetune.model.memory import logits, training_memory
from skills.finetune.planning.advice import notes, packages, refusals
from skills.finetune.planning.disk import Artifact, artifacts, base_artifacts
from skills.finetune.planning.measured import measured
from skills.finetune.planning.plan import Plan, Store
from skills.finetune.planning.rows import rows_of
from skills.finetune.run import hardware, ranks
from skills.finetune.run.hardware import Disk, Machine
from skills.finetune.run.recipe import Training
from skills.finetune.run.stage import StageContext
from skills.finetune.training.watch import schedule


def plan(
    context: StageContext,
    machine: Machine | None = None,
    disk: Callable[[Path], Disk] = hardware.disk,
) -> Plan:
    """Return the plan of a run; `refusals` has the reasons why it cannot start.

    Args:
        machine: resources to plan for; None for this machine.
        disk: returns the file system of a folder.

    Raises:
        InputError: the data, the base or the adapter to start from is invalid, or the base is
            unknown.
        UsageError: there are no rows, or the recipe names a layer that the base does not have.
    """
    machine = machine or of_run(context)
    recipe, facts = context.recipe, _facts(context)
    start_from.open_start(context, facts)
    rows = rows_of(context)
    each = ranks.rows_each(recipe.training.batch, machine.processes)
    batch, place = rows.largest(each), place_of(machine)
    recipe, changes = adapted(recipe, facts, batch, machine)
    steps = schedule(rows.count, recipe.training)
    saved = checkpoints(steps.last, recipe.training)
    written = (
        *artifacts(facts, recipe, context.run_dir, tokens=rows.tokens, checkpoints=saved[1]),
        *base_artifacts(facts, context),
    )
    epochs = steps.last / steps.per_epoch if steps.per_epoch else 0
    found = Plan(
        recipe,
        facts,
        rows,
        steps,
        saved,
        batch,
        machine,
        place,
        training_memory(facts, recipe, batch, place, shards=machine.shards),
        training_memory(facts, recipe, batch, place, full=True),
        logits(facts, batch.positions, "prompt and completion"),
        written,
        _stores(written, disk),
        measured(context.run_dir.folder, recipe, machine, epochs * rows.tokens),
        context.recipe,
        changes,
    )
    return replace(found, notes=notes(found), refusals=tuple(refusals(found)))


def check(
    context: StageContext,
    machine: Machine | None = None,
    disk: Callable[[Path], Disk] = hardware.disk,
) -> Plan:
    """Return the plan of a run that can start.

    Raises:
        InputError: the run does not fit, or has nothing to train on; and as `plan`.
        UsageError: a required package is missing; and as `plan`.
    """
    require(*packages(context.recipe))
    found = plan(context, machine, disk)
    for refusal in found.refusals:
        raise refusal
    return found


def checkpoints(steps: int, training: Training) -> tuple[int, int]:
    """Return how many checkpoints are written, and how many exist at a time.

    With `keep` these are the newest, the best, and the one written before another is deleted.
    """
    written = math.ceil(steps / training.save_steps)
    return written, written if training.keep is None else min(written, training.keep + 2)


def _facts(context: StageContext) -> BaseFacts:
    base = context.recipe.base
    facts = describe(context) or published(base)
    if facts is None:
        raise InputError(
            f"the base {base} is unknown and not on this machine",
            hint="Name its folder, or fetch it first. Only the shapes of Qwen2.5 and SmolLM2 are "
            "known without the files.",
        )
    return replace(facts, name=base)


def _stores(written: Iterable[Artifact], disk: Callable[[Path], Disk]) -> tuple[Store, ...]:
    found: dict[int, Store] = {}
    for artifact in written:
        where = disk(artifact.path.parent)
        before = found.get(where.device, Store(where, 0))
        found[where.device] = replace(before, missing=before.missing + artifact.missing)
    return tuple(found.values())
