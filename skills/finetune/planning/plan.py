"""Plan of a run: its rows, steps, memory, disk and time, before any weight is loaded.

found = plan(context)        # found.refusals: why the run cannot start
report.show(found)           # text; found.as_dict() for JSON
check(context)               # raises the first refusal; a full run calls this before training
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, InputError
from harness.support.optional_deps import require
from skills.finetune.model import start_from
from skills.finetune.model.bases import describe
from skills.finetune.model.facts import PUBLISHED, BaseFacts, published
from skills.finetune.planning.advice import notes, packages, refusals
from skills.finetune.planning.disk import Artifact, artifacts, base_artifacts
from skills.finetune.planning.measured import Measured, measured
from skills.finetune.planning.memory import Batch, Item, Place, logits, total, training_memory
from skills.finetune.planning.rows import Rows, rows_of
from skills.finetune.run import hardware
from skills.finetune.run.hardware import Disk, Machine
from skills.finetune.run.recipe import Recipe, Training
from skills.finetune.run.stage import StageContext
from skills.finetune.training.watch import Schedule, schedule


@dataclass(frozen=True, slots=True)
class Store:
    """A file system that artifacts are written to.

    Attributes:
        missing: bytes still to be written there.
    """

    disk: Disk
    missing: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Resources of a run. Sizes in bytes.

    Attributes:
        checkpoints: how many are written, and how many exist at a time.
        batch: the largest one.
        place: the device of the training.
        memory, full: items of this recipe's peak, and of full fine-tuning's.
        all_logits: logits of a trainer that computes them for prompts and padding as well.
        notes: what else to know, one clause each.
        refusals: why the run cannot start; () if it can.
    """

    recipe: Recipe
    facts: BaseFacts
    rows: Rows
    steps: Schedule
    checkpoints: tuple[int, int]
    batch: Batch
    machine: Machine
    place: Place
    memory: tuple[Item, ...]
    full: tuple[Item, ...]
    all_logits: Item
    artifacts: tuple[Artifact, ...]
    stores: tuple[Store, ...]
    measured: Measured
    notes: tuple[str, ...] = ()
    refusals: tuple[HarnessError, ...] = ()

    @property
    def free(self) -> int:
        """Free memory of the device of the training."""
        return self.machine.gpu.free if self.machine.gpu else self.machine.memory

    @property
    def held(self) -> int:
        """Weights, adapter, gradients and optimizer: the peak without the share of a batch."""
        return total(item for item in self.memory if item.held)

    @property
    def weights_16bit(self) -> int:
        return 2 * self.facts.parameters

    def as_dict(self) -> dict[str, Any]:
        """Return the plan for JSON; sizes in bytes, times in seconds."""
        rows = self.rows
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "recipe_sha256": self.recipe.digest,
            "base": {**asdict(self.facts), "at_hand": self.facts.source != PUBLISHED},
            "rows": {
                "train": rows.count,
                "dev": rows.dev,
                "too_long": rows.too_long,
                "tokens": rows.tokens,
                "longest": self.batch.length,
                "longest_completion": self.batch.completion,
                "source": rows.source,
                "estimated": rows.estimated,
                "sample": [list(piece) for piece in rows.sample],
                "sample_decoded": rows.decoded,
            },
            "steps": asdict(self.steps),
            "checkpoints": dict(zip(("written", "at_a_time"), self.checkpoints, strict=True)),
            "largest_batch": asdict(self.batch),
            "memory": {
                "device": self.place,
                "free": self.free,
                "recipe": _parts(self.memory),
                "weights_adapter_optimizer": self.held,
                "full_fine_tuning": _parts(self.full),
                "weights_16bit": self.weights_16bit,
                "logits_of_all_positions": asdict(self.all_logits),
                "measured_peak": self.measured.peak,
            },
            "machine": asdict(self.machine),
            "disk": {
                "artifacts": [
                    {**asdict(one), "path": str(one.path), "missing": one.missing}
                    for one in self.artifacts
                ],
                "stores": [
                    {"path": str(s.disk.path), "free": s.disk.free, "missing": s.missing}
                    for s in self.stores
                ],
            },
            "time": {
                "seconds": self.measured.seconds,
                "tokens_per_second": self.measured.tokens_per_second,
            },
            "notes": list(self.notes),
            "refusals": [str(error) for error in self.refusals],
        }


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
    machine = machine or hardware.find()
    recipe, facts = context.recipe, _facts(context)
    start_from.open_start(context, facts)
    rows = rows_of(context)
    steps = schedule(rows.count, recipe.training)
    saved = checkpoints(steps.last, recipe.training)
    place: Place = "gpu" if machine.gpu else "cpu"
    batch = rows.largest(recipe.training.batch)
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
        training_memory(facts, recipe, batch, place),
        training_memory(facts, recipe, batch, place, full=True),
        logits(facts, batch.positions, "prompt and completion"),
        written,
        _stores(written, disk),
        measured(context.run_dir.folder, recipe, place, epochs * rows.tokens),
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


def _parts(items: tuple[Item, ...]) -> dict[str, Any]:
    return {"total": total(items), "parts": [asdict(item) for item in items]}
