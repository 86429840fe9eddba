"""Training: losses, the order of the rows, and resuming."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from finetune_training import SMALL, prepared_in, rows_of, run_in, work_in

from skills.finetune.tokenization.prepared_rows import Row, collate, order
from skills.finetune.training import trainer
from skills.finetune.training.callbacks import Metrics
from skills.finetune.training.train import train
from skills.finetune.training.trainer import completion_losses, total_weight, weighted_loss

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run of six steps in two epochs."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    run_in(folder, base)
    return folder


def losses(folder: Path) -> list[tuple[int, float]]:
    lines = Metrics(folder / "metrics.jsonl").read()
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize("after", [2, 3, 4])
def test_resumed_run_equals_an_uninterrupted_one(
    base: Path, whole: Path, tmp_path: Path, after: int
) -> None:
    """Within an epoch (2, 4) and between two (3); with dropout, and two batches per step."""
    assert SMALL["adapter.dropout"] > 0
    assert SMALL["training.accumulation"] == 2
    run_in(tmp_path / "run", base, {"training.max_steps": after})
    assert [step for step, _ in losses(tmp_path / "run")] == [*range(1, after + 1)]
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


def test_resumed_run_keeps_the_order_of_each_epoch(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def noted(rows: Sequence[Row], pad: int) -> dict[str, Any]:
        seen.append([row.id for row in rows])
        return collate(rows, pad)

    monkeypatch.setattr(trainer, "collate", noted)
    lengths = [len(row["input_ids"]) for row in rows_of(10)]
    wanted = [
        [f"row-{row}" for row in rows]
        for epoch in range(2)
        for rows in order(lengths, SMALL["training.batch"], 42, epoch)
    ]
    assert wanted[:5] != wanted[5:]
    run_in(tmp_path / "run", base, {"training.max_steps": 4}, dev=0)
    assert seen == wanted[:7]
    seen.clear()
    run_in(tmp_path / "run", base, resume=True, dev=0)
    assert seen == wanted[7:]


def test_without_dev_rows_the_last_checkpoint_is_used(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_in(folder, base, {"training.keep": 1}, dev=0)
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-6"]
    assert weights(folder / "adapter") == weights(folder / "checkpoint-6")
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    lines = Metrics(folder / "metrics.jsonl").read()
    assert all(line["tokens_per_second"] > 0 for line in lines)
    lengths = sum(len(row["input_ids"]) for row in rows_of(10))
    assert sum(line["tokens"] for line in lines) == 2 * lengths, "without padding"


def test_best_checkpoint_is_saved_and_logged_between_intervals(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, measured = tmp_path / "run", iter((1.0, 1.0, 0.0, 0.0, 2.0, 2.0))

    def best_at_four(model: Any, batch: Any) -> Any:
        found, rows = completion_losses(model, batch)
        return (found, rows) if model.training else (found + next(measured), rows)

    monkeypatch.setattr(trainer, "completion_losses", best_at_four)
    monkeypatch.setattr(trainer, "POINTS", 1)
    run_in(folder, base, {"training.save_steps": 5, "training.log_steps": 5, "training.keep": 1})
    assert weights(folder / "adapter") == weights(folder / "checkpoint-4")
    assert {path.name for path in folder.glob("checkpoint-*")} == {"checkpoint-4", "checkpoint-6"}
    assert [step for step, _ in losses(folder)] == [2, 4, 5, 6]


def test_every_step_of_a_short_run_is_logged(base: Path, tmp_path: Path) -> None:
    run_in(tmp_path / "run", base, {"training.log_steps": 5}, dev=0)
    lines = Metrics(tmp_path / "run" / "metrics.jsonl").read()
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_dev_loss_is_the_unweighted_mean_over_tokens(base: Path, tmp_path: Path) -> None:
    """With so small a step, the loss remains that of the base."""
    import torch
    from transformers import AutoModelForCausalLM

    rows = [{**row, "weight": 0.5} for row in rows_of(2, seed=1)]
    rows.append(rows_of(1, seed=2)[0])
    rows[0]["decisions"] = [[rows[0]["completion_start"], 8.0, 17]]
    changes = {"training.learning_rate": 1e-12, "training.max_steps": 1}
    train(prepared_in(work_in(tmp_path, base, changes), rows_of(10), rows))
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    found = []
    for row in rows:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0].double()
        chances = torch.log_softmax(logits, dim=-1)
        for place in range(row["completion_start"], len(row["input_ids"])):
            found.append(-float(chances[place - 1, row["input_ids"][place]]))
    lines = Metrics(tmp_path / "metrics.jsonl").read()
    [measured] = [line["dev_loss"] for line in lines if "dev_loss" in line]
    assert measured == pytest.approx(sum(found) / len(found), abs=1e-5)


def test_logged_loss_is_weighted_over_the_whole_step(base: Path, whole: Path) -> None:
    """A new adapter changes nothing, so the first loss is that of the base."""
    import torch
    from transformers import AutoModelForCausalLM

    made = [
        Row(row["id"], tuple(row["input_ids"]), row["completion_start"], row["weight"])
        for row in rows_of(10)
    ]
    batches = order([len(row.input_ids) for row in made], SMALL["training.batch"], 42, 0)
    batch = collate([made[row] for rows in batches[:2] for row in rows], 2)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.no_grad():
        found, weights = completion_losses(model, batch)
    loss = weighted_loss(found, weights, total_weight([batch]))
    assert losses(whole)[0][1] == pytest.approx(float(loss), abs=1e-5)
