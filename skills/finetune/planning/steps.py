"""How many checkpoints a run has, and its time and memory where one like it was measured."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skills.finetune.planning.terms import Place
from skills.finetune.run.recipe import Recipe, Training
from skills.finetune.training.metrics import NAME, Metrics
from skills.finetune.training.train import RUN

BEARING = ("batch", "accumulation", "optimizer", "checkpointing", "max_length")
"""The settings of training that pace and memory depend on."""


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


def checkpoints(steps: int, training: Training) -> tuple[int, int]:
    """How many are written, the last step's included, and how many are there at a time.

    With `keep` those are the newest, the best, and the one that is written before one is deleted.
    """
    written = math.ceil(steps / training.save_steps)
    return written, written if training.keep is None else min(written, training.keep + 2)


def measured(folder: Path, recipe: Recipe, place: Place, tokens: float) -> Measured:
    """What the run that is in `folder` has shown, if it is one of these settings.

    Args:
        tokens: of all steps that are planned.
    """
    if not _like(folder, recipe, place):
        return Measured()
    lines = Metrics(folder / NAME).read()
    paces = [line["tokens_per_second"] for line in lines if _number(line, "tokens_per_second")]
    peaks = [line["peak_bytes"] for line in lines if _number(line, "peak_bytes")]
    pace = statistics.median(paces) if paces else None
    seconds = tokens / pace if pace else None
    return Measured(pace, seconds, max(peaks) if peaks else None)


def _like(folder: Path, recipe: Recipe, place: Place) -> bool:
    """Whether the run in `folder` has all settings that bear on its pace and its memory.

    How many epochs there are, and how often is saved, does not.
    """
    settings = recipe.model_dump(mode="json")
    try:
        before = json.loads((folder / RUN).read_text(encoding="utf-8"))
        return (
            before["recipe"]["base"] == recipe.base
            and before["guard"]["device"] == ("cuda" if place == "gpu" else "cpu")
            and all(
                before["recipe"][part] == settings[part] for part in ("quantization", "adapter")
            )
            and all(
                before["recipe"]["training"][name] == settings["training"][name] for name in BEARING
            )
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _number(line: dict[str, Any], name: str) -> bool:
    value = line.get(name)
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
