"""Checkpoints: detecting damage, keeping the best, and the guard of a resumed run."""

from __future__ import annotations

import pytest

from skills.finetune.recipe import Recipe, overridden
from skills.finetune.training import checkpoints

pytestmark = pytest.mark.train


def test_guard_covers_settings_that_determine_the_steps() -> None:
    pytest.importorskip("torch", reason="needs the finetune extra")
    facts = {name: name for name in checkpoints.PREPARED}
    digests = {"train.jsonl": "1", "dev.jsonl": "2", "prepared.json": "3"}
    before = checkpoints.guard(Recipe(), facts, digests)
    for changes in (
        {"training.learning_rate": 1e-4},
        {"training.epochs": 4},
        {"training.batch": 2, "training.accumulation": 8},
        {"training.seed": 1},
        {"training.schedule": "cosine"},
        {"training.save_steps": 200},
        {"adapter.r": 8},
        {"adapter.targets": "all-linear"},
        {"quantization.kind": "none"},
    ):
        now = checkpoints.guard(overridden(Recipe(), changes), facts, digests)
        assert {name for name in now if now[name] != before[name]} == set(changes)
    for changes in (
        {"training.max_steps": 4},
        {"training.keep": 2},
        {"training.checkpointing": False},
        {"export.name": "another"},
    ):
        assert checkpoints.guard(overridden(Recipe(), changes), facts, digests) == before
    for name in ("train.jsonl", "dev.jsonl"):
        now = checkpoints.guard(Recipe(), facts, {**digests, name: "changed"})
        assert now[f"data.{name}"] == "changed"
    for name in checkpoints.PREPARED:
        now = checkpoints.guard(Recipe(), {**facts, name: "changed"}, digests)
        assert now[name] == "changed"
    assert {"version.torch", "version.peft", "device"} <= set(before)
