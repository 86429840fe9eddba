"""Training: the loss, the order of the rows, and that a resumed run is the run it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from finetune_base import tiny_base
from finetune_training import SMALL, run_in

from skills.finetune.metrics import Metrics

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of six steps in two epochs, in one go."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    run_in(folder, base)
    return folder


def losses(folder: Path) -> dict[int, float]:
    lines = Metrics(folder / "metrics.jsonl").read()
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize("after", [2, 3, 4])
def test_a_resumed_run_is_the_run_in_one_go(
    base: Path, whole: Path, tmp_path: Path, after: int
) -> None:
    """Within an epoch (2, 4) and between two (3); with dropout, and two batches to a step."""
    assert SMALL["adapter.dropout"] > 0
    assert SMALL["training.accumulation"] == 2
    run_in(tmp_path / "run", base, {"training.max_steps": after})
    assert max(losses(tmp_path / "run")) == after
    run_in(tmp_path / "run", base, resume=True)
    assert losses(tmp_path / "run") == losses(whole)
    for step in (4, 6):
        name = f"checkpoint-{step}"
        assert weights(tmp_path / "run" / name) == weights(whole / name)


def test_the_best_checkpoint_is_what_is_used(whole: Path) -> None:
    lines = Metrics(whole / "metrics.jsonl").read()
    dev = {line["step"]: line["dev_loss"] for line in lines if "dev_loss" in line}
    assert set(dev) == {2, 4, 6}
    best = min(dev, key=dev.__getitem__)
    assert weights(whole / "adapter") == weights(whole / f"checkpoint-{best}")
    config = json.loads((whole / "adapter" / "adapter_config.json").read_text())
    assert Path(config["base_model_name_or_path"]).name == "tiny"
    assert (config["r"], config["lora_alpha"]) == (4, 32)
    assert {path.name for path in (whole / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
