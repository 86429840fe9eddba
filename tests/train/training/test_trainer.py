"""Training with tiny models: batches, loss, dev loss, and unpacked weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from finetune_base import tiny_base
from finetune_training import SMALL, prepared_in, rows_of, run_in, work_in

from skills.finetune.model import resources
from skills.finetune.model.resources import with_fast_compute
from skills.finetune.recipe import Recipe, Training, overridden
from skills.finetune.tokenization.prepared_rows import (
    IGNORED,
    Batches,
    Row,
    by_length,
    collate,
    order,
)
from skills.finetune.training import trainer
from skills.finetune.training.callbacks import Metrics, schedule
from skills.finetune.training.train import train
from skills.finetune.training.trainer import (
    completion_losses,
    decision_losses,
    total_weight,
    weighted_loss,
)

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


PAD = 2
"""Also the end token: labels depend on the position."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The tiny base with an adapter, computing in float32."""
    folder = tmp_path_factory.mktemp("model")
    base = tiny_base(folder / "tiny")
    from skills.finetune.training.trainer import load_model

    return load_model(base, work_in(folder / "run", base).recipe).eval()


def made(rows: Sequence[Any]) -> list[Row]:
    return [
        Row(row["id"], tuple(row["input_ids"]), row["completion_start"], row["weight"])
        for row in rows
    ]


def losses_of(model: Any, batch: Any) -> tuple[Any, Any]:
    import torch

    with torch.no_grad():
        return completion_losses(model, batch)


def by_hand(model: Any, rows: Sequence[Row]) -> tuple[float, float]:
    """Compute the numerator and denominator of the loss row by row, with all logits."""
    import torch

    above, below = 0.0, 0.0
    for row in rows:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row.input_ids])).logits[0].double()
        for position in range(row.completion_start, len(row.input_ids)):
            chances = torch.log_softmax(logits[position - 1], dim=-1)
            above -= row.weight * float(chances[row.input_ids[position]])
            below += row.weight
            for _, weight, token in (one for one in row.decisions if one[0] == position):
                chance = float(chances[token].exp())
                is_it = row.input_ids[position] == token
                above -= row.weight * weight * math.log(chance if is_it else 1 - chance)
                below += row.weight * weight
    return above, below


def test_the_loss_is_that_of_the_full_computation(model: Any) -> None:
    rows = made(rows_of(4))
    batch = collate(rows, PAD)
    losses, weights = losses_of(model, batch)
    above, below = by_hand(model, rows)
    total = total_weight([batch])
    assert float(total) == pytest.approx(below)
    loss = float(weighted_loss(losses, weights, total))
    assert loss == pytest.approx(above / below, abs=1e-5)


def test_batches_of_one_step_add_up_to_one_large_batch(model: Any) -> None:
    rows = made(rows_of(5))
    parts = [collate(rows[:3], PAD), collate(rows[3:], PAD)]
    total = total_weight(parts)
    shares = [float(weighted_loss(*losses_of(model, part), total)) for part in parts]
    above, below = by_hand(model, rows)
    assert sum(shares) == pytest.approx(above / below, abs=1e-5)


def test_logits_are_computed_for_completion_positions_alone(model: Any) -> None:
    rows = made(rows_of(3))
    seen: list[tuple[int, ...]] = []
    handle = model.get_output_embeddings().register_forward_hook(
        lambda module, inputs, logits: seen.append(tuple(logits.shape))
    )
    losses, weights = completion_losses(model, collate(rows, PAD))
    handle.remove()
    wanted = [len(row.input_ids) - row.completion_start for row in rows]
    assert seen[0][0] == len(losses) == sum(wanted)
    assert weights.tolist() == [
        row.weight for row, number in zip(rows, wanted, strict=True) for _ in range(number)
    ]
    whole = model(input_ids=collate(rows, PAD)["input_ids"]).logits
    assert whole.shape[1] == max(len(row.input_ids) for row in rows), "the model is as it was"


def test_a_row_of_twice_the_weight_counts_twice(model: Any) -> None:
    one, other = made(rows_of(2))
    heavy = Row(one.id, one.input_ids, one.completion_start, 2 * other.weight)
    batch, thrice = collate([heavy, other], PAD), collate([heavy, heavy, other], PAD)
    half = Row(one.id, one.input_ids, one.completion_start, other.weight)
    twice = collate([half, half, other], PAD)
    assert float(total_weight([batch])) == float(total_weight([twice]))
    assert step(model, batch) == pytest.approx(step(model, twice), abs=1e-5)
    assert step(model, batch) != pytest.approx(step(model, thrice), abs=1e-3)


def step(model: Any, batch: Any) -> float:
    return float(weighted_loss(*losses_of(model, batch), total_weight([batch])))


def test_decision_loss_has_the_weight_of_the_recipe(model: Any) -> None:
    one, other = made(rows_of(2))
    end = len(one.input_ids) - 1
    decisions = ((one.completion_start, 8.0, one.input_ids[one.completion_start]), (end, 2.5, 17))
    deciding = replace(one, decisions=decisions)
    batch = collate([deciding, other], PAD)
    losses, weights = losses_of(model, batch)
    alone, _ = losses_of(model, collate([one, other], PAD))
    assert losses[:-2].tolist() == pytest.approx(alone.tolist())
    assert weights[-2:].tolist() == pytest.approx([8 * one.weight, 2.5 * one.weight])
    above, below = by_hand(model, [deciding, other])
    assert float(total_weight([batch])) == pytest.approx(below)
    assert step(model, batch) == pytest.approx(above / below, abs=1e-5)
    assert step(model, batch) != pytest.approx(step(model, collate([one, other], PAD)), abs=1e-4)


def test_labels_go_by_position_and_the_end_token_is_among_them() -> None:
    rows = [
        Row("a", (5, PAD, 6, PAD), 2, 0.5, ((3, 4.0, 9),)),
        Row("b", (7, 8, 9, 10, PAD), 4, 0.5),
    ]
    batch = collate(rows, PAD)
    assert batch["input_ids"].tolist() == [[5, PAD, 6, PAD, PAD], [7, 8, 9, 10, PAD]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 0], [1] * 5]
    assert batch["labels"].tolist() == [
        [IGNORED, IGNORED, 6, PAD, IGNORED],
        [IGNORED] * 4 + [PAD],
    ]
    assert batch["weights"].tolist() == [[0, 0, 0.5, 0.5, 0], [0, 0, 0, 0, 0.5]]
    assert batch["deciding"].tolist() == [[0, 0, 0, 2, 0], [0] * 5]
    assert batch["not_stated"].tolist() == [[0, 0, 0, 9, 0], [0] * 5]


def test_a_decision_that_is_nearly_certain_keeps_its_gradient() -> None:
    """1 - p rounds to 0 if a logit is far above all others."""
    import torch

    logits = torch.tensor([[0.0, 0.0, 0.0, 60.0], [0.0, 0.0, 0.0, -60.0]], requires_grad=True)
    losses = decision_losses(logits, torch.tensor([3, 3]), torch.tensor([True, False]))
    assert losses.tolist() == pytest.approx([60 - math.log(3), 60 + math.log(3)])
    losses.sum().backward()
    assert logits.grad is not None
    assert logits.grad[:, 3].tolist() == pytest.approx([1, -1])


def test_order_depends_on_seed_and_epoch_only() -> None:
    lengths = [(place * 37) % 101 + 8 for place in range(430)]
    for epoch in range(3):
        batches = order(lengths, 4, 42, epoch)
        assert batches == order(lengths, 4, 42, epoch)
        assert sorted(row for rows in batches for row in rows) == list(range(430))
        assert len(batches) == 108
    assert order(lengths, 4, 42, 0) != order(lengths, 4, 42, 1)
    assert order(lengths, 4, 42, 1) != order(lengths, 4, 43, 1)


def test_batches_group_by_length_with_the_largest_first() -> None:
    rows = [Row(str(place), (1,) * ((place * 37) % 101 + 8), 1, 1.0) for place in range(430)]
    batches = Batches([len(row.input_ids) for row in rows], 4, 42)
    assert len(batches) == len(list(batches)) == 108
    lengths = [[batches.lengths[row] for row in rows] for rows in batches]
    padded = sum(max(one) * len(one) for one in lengths)
    assert padded < 1.03 * sum(map(sum, lengths)), "rows of other lengths share a batch"
    assert max(batches.lengths[row] for row in next(iter(batches))) == max(batches.lengths)
    assert [len(one) for one in by_length(rows, 100)] == [100, 100, 100, 100, 30]


@pytest.mark.parametrize(
    ("rows", "epochs", "max_steps", "wanted"),
    [
        (10, 2, None, (3, 6, 6)),
        (10, 2, 4, (3, 6, 4)),
        (10, 2, 100, (3, 6, 6)),
        (10, 0.5, None, (3, 2, 2)),
        (1, 1, None, (1, 1, 1)),
    ],
)
def test_how_many_steps_there_are(
    rows: int, epochs: float, max_steps: int | None, wanted: tuple[int, int, int]
) -> None:
    training = Training(batch=2, accumulation=2, epochs=epochs, max_steps=max_steps)
    steps = schedule(rows, training)
    assert (steps.per_epoch, steps.total, steps.last) == wanted


@pytest.mark.parametrize(
    ("capability", "wanted", "computed"),
    [
        ("AVX512", "bfloat16", "bfloat16"),
        ("AVX2", "bfloat16", "float32"),
        ("AVX512", "float16", "float32"),
        ("AVX2", "float32", "float32"),
    ],
)
def test_compute_type_is_supported_by_the_cpu(
    monkeypatch: pytest.MonkeyPatch, capability: str, wanted: str, computed: str
) -> None:
    torch = pytest.importorskip("torch", reason="needs the finetune extra")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    recipe = overridden(Recipe(), {"quantization.compute": wanted})
    found, why = with_fast_compute(recipe, resources.this_machine())
    assert found.quantization.compute == computed
    expected = f"this CPU does not support {wanted} efficiently: computing in {computed}"
    assert why == (expected if wanted != computed else "")


NF4 = {"quantization.kind": "nf4", "adapter.dropout": 0.0}


def trained_a_little(base: Path, folder: Path, changes: Mapping[str, Any]) -> Any:
    """A model with gradients, whose adapter is not zero."""
    import torch

    from skills.finetune.training.trainer import load_model

    torch.set_num_threads(1)
    model = load_model(base, work_in(folder, base, {**NF4, **changes}).recipe)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(1))
    rows = [
        Row(row["id"], tuple(row["input_ids"]), row["completion_start"], row["weight"])
        for row in rows_of(4)
    ]
    losses, _ = completion_losses(model.train(), collate(rows, 2))
    losses.sum().backward()
    return model, losses.detach()


@pytest.mark.parametrize("double", [True, False])
def test_losses_and_gradients_are_those_of_packed_weights(
    base: Path, tmp_path: Path, double: bool
) -> None:
    import torch

    how = {"quantization.double": double}
    packed, before = trained_a_little(base, tmp_path, {**how, "quantization.unpacked": False})
    plain, after = trained_a_little(base, tmp_path, {**how, "quantization.unpacked": True})
    assert torch.equal(before, after)
    of_plain = dict(plain.named_parameters())
    adapters = [name for name in of_plain if "lora_" in name]
    assert len(adapters) == 2 * 7 * 2
    for name, weight in packed.named_parameters():
        if "lora_" in name:
            assert torch.equal(weight.grad, of_plain[name].grad), name
            assert weight.grad.abs().sum() > 0


def test_unpacked_base_is_dense_and_frozen(base: Path, tmp_path: Path) -> None:
    from bitsandbytes.nn import Linear4bit

    packed, _ = trained_a_little(base, tmp_path, {})
    plain, _ = trained_a_little(base, tmp_path, {"quantization.unpacked": True})
    assert sum(isinstance(module, Linear4bit) for module in packed.modules()) == 14
    assert not any(isinstance(module, Linear4bit) for module in plain.modules())
    assert not hasattr(plain.config, "quantization_config")
    assert all("lora_" in name for name, w in plain.named_parameters() if w.requires_grad)


def test_the_weights_are_those_of_nf4_and_not_of_the_base(base: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    name = "model.layers.0.mlp.down_proj.weight"
    plain, _ = trained_a_little(base, tmp_path, {"quantization.unpacked": True})
    [kept] = [
        w for n, w in plain.named_parameters() if n.endswith("0.mlp.down_proj.base_layer.weight")
    ]
    original = load_file(base / "model.safetensors")[name].float()
    assert not torch.equal(kept, original)
    for block in kept.reshape(-1, 64):  # NF4: at most 16 values in each block
        assert len(block.unique()) <= 16
