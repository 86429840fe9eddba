"""Speed and peak memory of an earlier run with the same settings in the same folder."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skills.finetune.formats.json_files import read_json
from skills.finetune.run.hardware import Machine
from skills.finetune.run.recipe import Recipe
from skills.finetune.training.metrics import NAME, Metrics
from skills.finetune.training.train import RUN

RELEVANT: Any = {
    "base": True,
    "quantization": True,
    "adapter": True,
    "training": {"batch", "accumulation", "optimizer", "checkpointing", "max_length"},
}
"""The settings that change speed or memory."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of an earlier run; None where there are none.

    Attributes:
        tokens_per_second: median, of prompts and completions without padding.
        seconds: estimate for the planned steps, without evaluation and saving.
        peak: maximum bytes of memory.
    """

    tokens_per_second: float | None = None
    seconds: float | None = None
    peak: int | None = None


def measured(folder: Path, recipe: Recipe, machine: Machine, tokens: float) -> Measured:
    """Return what the run in `folder` measured, if its settings are the same.

    Args:
        tokens: of all planned steps.
    """
    if not _is_same(folder, recipe, machine):
        return Measured()
    lines = Metrics(folder / NAME).read()
    speeds = [found for line in lines if (found := line.get("tokens_per_second"))]
    speed = statistics.median(speeds) if speeds else None
    peak = max((line.get("peak_bytes") or 0 for line in lines), default=0)
    return Measured(speed, tokens / speed if speed else None, peak or None)


def _is_same(folder: Path, recipe: Recipe, machine: Machine) -> bool:
    try:
        before = read_json(folder / RUN)
        earlier, device = Recipe.model_validate(before["recipe"]), before["guard"]["device"]
        processes = before.get("processes", 1)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    same = earlier.model_dump(include=RELEVANT) == recipe.model_dump(include=RELEVANT)
    is_alike = device == ("cuda" if machine.gpu else "cpu") and processes == machine.processes
    return same and is_alike
