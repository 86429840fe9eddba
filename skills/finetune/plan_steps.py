"""How long a run is: its steps, its checkpoints, and its time where one like it was measured."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skills.finetune.metrics import NAME, Metrics
from skills.finetune.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Steps:
    """How long a run is.

    Attributes:
        epoch: optimizer steps of one epoch.
        total: of the run.
        checkpoints: that are written, the last step's included.
        kept: that are there at most at a time.
    """

    epoch: int
    total: int
    checkpoints: int
    kept: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What an earlier run of these settings in the same folder has shown; None: not measured.

    Attributes:
        tokens_per_second: of prompts and completions, without padding; the median of its lines.
        seconds: that the planned steps take at this pace, without measuring and saving.
        peak: bytes of memory at most.
    """

    tokens_per_second: float | None = None
    seconds: float | None = None
    peak: int | None = None


def steps_of(recipe: Recipe, rows: int) -> Steps:
    """The steps as transformers counts them (`Trainer.set_initial_training_values`).

    A part of a batch is a batch, a part of a step is a step, and a part of an epoch ends with the
    step it falls into.
    """
    training = recipe.training
    batches = math.ceil(rows / training.batch)
    epoch = math.ceil(batches / training.accumulation)
    total = math.ceil(training.epochs * epoch)
    if training.max_steps is not None:
        total = min(total, training.max_steps)
    checkpoints = math.ceil(total / training.save_steps)
    # The newest ones, the best one, and the one that is written before an old one is deleted.
    kept = checkpoints if training.keep is None else min(checkpoints, training.keep + 2)
    return Steps(epoch, total, checkpoints, kept)


def measured(folder: Path, recipe: Recipe, tokens: float) -> Measured:
    """What the run that is in `folder` has shown, if it is one of these settings.

    Args:
        tokens: of all steps that are planned.
    """
    if not _like(folder, recipe):
        return Measured()
    lines = Metrics(folder / NAME).read()
    paces = [line["tokens_per_second"] for line in lines if _number(line, "tokens_per_second")]
    peaks = [line["peak_bytes"] for line in lines if _number(line, "peak_bytes")]
    pace = statistics.median(paces) if paces else None
    seconds = tokens / pace if pace else None
    return Measured(pace, seconds, max(peaks) if peaks else None)


def _like(folder: Path, recipe: Recipe) -> bool:
    """Whether the newest checkpoint in `folder` was made with all settings that bear on the pace.

    How many epochs there are, and how often is saved, does not.
    """
    guards = sorted(
        folder.glob("checkpoint-*/checkpoint.json"), key=lambda one: one.stat().st_mtime
    )
    if not guards:
        return False
    try:
        guard = json.loads(guards[-1].read_text(encoding="utf-8"))["guard"]
        return guard["base"] == recipe.base and all(
            guard[name] == value for name, value in _bearing(recipe).items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _bearing(recipe: Recipe) -> dict[str, Any]:
    """The settings that pace and memory depend on, under the names a checkpoint has for them."""
    settings = recipe.model_dump(mode="json")
    found = {f"quantization.{name}": value for name, value in settings["quantization"].items()}
    found |= {f"adapter.{name}": value for name, value in settings["adapter"].items()}
    names = ("batch", "accumulation", "optimizer", "checkpointing", "max_length")
    return found | {f"training.{name}": settings["training"][name] for name in names}


def _number(line: dict[str, Any], name: str) -> bool:
    value = line.get(name)
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
