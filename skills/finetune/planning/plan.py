"""The plan of a run, and its form as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from harness.errors import HarnessError
from skills.finetune.model.facts import PUBLISHED, BaseFacts
from skills.finetune.model.memory import Batch, Item, Place, total
from skills.finetune.planning.disk import Artifact
from skills.finetune.planning.measured import Measured
from skills.finetune.planning.rows import Rows
from skills.finetune.run.hardware import Disk, Machine
from skills.finetune.run.recipe import Recipe
from skills.finetune.training.watch import Schedule


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
        given: the recipe as it was given; `recipe` is adapted to the machine.
        adapted: what was adapted, one clause each.
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
    given: Recipe
    adapted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    refusals: tuple[HarnessError, ...] = ()

    @property
    def free(self) -> int:
        """Free memory of the device of the training."""
        return self.machine.free

    @property
    def held(self) -> int:
        """Weights, adapter, gradients and optimizer: the peak without the share of a batch."""
        return total(item for item in self.memory if item.held)

    @property
    def weights_16bit(self) -> int:
        return 2 * self.facts.parameters

    def as_dict(self) -> dict[str, Any]:
        """Return the plan for JSON; sizes in bytes, times in seconds."""
        return {
            "recipe": self.given.model_dump(mode="json"),
            "recipe_sha256": self.given.digest,
            "adapted": list(self.adapted),
            "base": {**asdict(self.facts), "at_hand": self.facts.source != PUBLISHED},
            "rows": self._rows_as_dict(),
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

    def _rows_as_dict(self) -> dict[str, Any]:
        rows = self.rows
        return {
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
        }


def _parts(items: tuple[Item, ...]) -> dict[str, Any]:
    return {"total": total(items), "parts": [asdict(item) for item in items]}
