"""What a run will take, found out before any weight is loaded; torch is not needed.

found = plan(work)           # rows, steps, memory, disk, time; found.refusals: what cannot be
text.show(found)             # for people; found.as_dict() for programs
check(work)                  # the same, and refuses: what a full run calls before it trains
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, InputError
from harness.support.optional_deps import require
from skills.finetune.model import start_from
from skills.finetune.model.bases import describe
from skills.finetune.model.facts import PUBLISHED, BaseFacts, published
from skills.finetune.planning import machine as machines
from skills.finetune.planning.activations import logits
from skills.finetune.planning.disk import Artifact, artifacts, base_artifacts
from skills.finetune.planning.judgement import notes, packages, refusals
from skills.finetune.planning.machine import Disk, Machine
from skills.finetune.planning.memory import full, qlora
from skills.finetune.planning.rows import Rows, rows_of
from skills.finetune.planning.steps import Measured, checkpoints, measured
from skills.finetune.planning.terms import Batch, Item, Place, total
from skills.finetune.run.recipe import Recipe
from skills.finetune.run.stage import StageContext
from skills.finetune.training.watch import Schedule, schedule


@dataclass(frozen=True, slots=True)
class Store:
    """A file system that artifacts come to.

    Attributes:
        missing: bytes that are still to be written there.
    """

    disk: Disk
    missing: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will take. Sizes in bytes.

    Attributes:
        checkpoints: that are written, and that are there at a time.
        batch: the largest one.
        place: where it would be computed.
        memory, full: the parts of this recipe's peak, and of full fine-tuning's.
        all_logits: the logits of a trainer that computes them for prompts and padding as well.
        notes: what is worth knowing, a clause each.
        refusals: why the run cannot be done; () if it can.
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
    def free(self) -> int | None:
        """Memory of the device that would be used; None where it cannot be found out."""
        return self.machine.gpu.free if self.machine.gpu else self.machine.memory

    @property
    def held(self) -> int:
        """Weights, adapter, gradients and optimizer: the peak without what a batch adds to it."""
        return total(item for item in self.memory if item.held)

    @property
    def weights_16bit(self) -> int:
        return 2 * self.facts.parameters

    def as_dict(self) -> dict[str, Any]:
        """The whole plan as JSON has it; sizes in bytes, times in seconds."""
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
                "sample": [list(piece) for piece in rows.sample.pieces],
                "sample_decoded": rows.sample.decoded,
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
            "machine": {**asdict(self.machine), "gpus": [asdict(gpu) for gpu in self.machine.gpus]},
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
    disk: Callable[[Path], Disk] = machines.disk,
) -> Plan:
    """What a run will take. What cannot be is in `refusals`, so that the rest can be shown.

    Args:
        machine: what there is; None for this machine.
        disk: what is free where a folder is.

    Raises:
        InputError: the data, the base or the adapter to go on from cannot be used, or nothing is
            known of the base.
        UsageError: there are no rows, or the recipe names a layer that the base does not have.
    """
    machine = machine or machines.find()
    recipe, facts = context.recipe, _facts(context)
    start_from.opened(context, facts)
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
        qlora(facts, recipe, batch, place),
        full(facts, recipe, batch, place),
        logits(facts, batch.positions, "prompt and completion"),
        written,
        _stores(written, disk),
        measured(context.run_dir.folder, recipe, place, epochs * rows.tokens),
    )
    return replace(found, notes=notes(found), refusals=refusals(found))


def check(
    context: StageContext,
    machine: Machine | None = None,
    disk: Callable[[Path], Disk] = machines.disk,
) -> Plan:
    """Refuse a run that cannot be done, before any of it is done.

    Raises:
        InputError: it does not fit, or has nothing to train on; and as `plan`.
        UsageError: a package that it needs is missing; and as `plan`.
    """
    require(*packages(context.recipe))
    found = plan(context, machine, disk)
    for refusal in found.refusals:
        raise refusal
    return found


def _facts(context: StageContext) -> BaseFacts:
    base = context.recipe.base
    facts = describe(context) or published(base)
    if facts is None:
        raise InputError(
            f"nothing is known of the base {base}, which is not on this machine",
            hint="Name the folder it is in, or fetch it first; the shapes of Qwen2.5 and SmolLM2 "
            "are known without it.",
        )
    return replace(facts, name=base)


def _stores(written: Iterable[Artifact], disk: Callable[[Path], Disk]) -> tuple[Store, ...]:
    """The file systems that artifacts come to, with what is still to be written to each."""
    found: dict[int, Store] = {}
    for artifact in written:
        where = disk(artifact.path.parent)
        before = found.get(where.device, Store(where, 0))
        found[where.device] = replace(before, missing=before.missing + artifact.missing)
    return tuple(found.values())


def _parts(items: tuple[Item, ...]) -> dict[str, Any]:
    return {"total": total(items), "parts": [asdict(item) for item in items]}
