"""What the stages of a fine-tuning run are given, and what a stage is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.api.skill import Call
from skills.finetune.run.recipe import Recipe
from skills.finetune.run.run_dir import Done, RunDir
from skills.nanda.framework import Framework


@dataclass(frozen=True, slots=True)
class StageContext:
    """One run.

    Attributes:
        data: the training set, a .jsonl of `/finetune dataset`; None for a stage that needs none.
        dev: rows to measure on, in the same form; None: a share of the gold rows of `data`.
    """

    call: Call
    recipe: Recipe
    run_dir: RunDir
    framework: Framework
    data: Path | None = None
    dev: Path | None = None

    @property
    def cache(self) -> Path:
        """Where what can be made again is kept: bases that were unpacked."""
        return self.call.settings.cache_dir


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage.

    Attributes:
        inputs: all that its result depends on, cheap to find out; digests of files, settings. It
            refuses, before any work, what cannot be done.
        perform: does it, and leaves its files in the folder of the run.
    """

    name: str
    summary: str
    inputs: Callable[[StageContext], Mapping[str, Any]]
    perform: Callable[[StageContext], Done]
