"""`quantization.unpacked`: NF4 weights in dense layers give the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from finetune_training import rows_of, work_in

from skills.finetune.tokenization.prepared_rows import Row, collate
from skills.finetune.training.trainer import completion_losses

pytestmark = pytest.mark.train
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
    for block in kept.reshape(-1, 64):  # sixteen values of one scale in each block
        assert len(block.unique()) <= 16
