"""Memory of training: formulas compared with sums by hand, and with measurements."""

from __future__ import annotations

from typing import Any

import pytest

from skills.finetune.model.base_shapes import BaseFacts
from skills.finetune.model.resources import Batch, activation_bytes, nf4_bytes
from skills.finetune.recipe import Adapter, Recipe, Training

pytestmark = pytest.mark.train


@pytest.mark.parametrize("double", [True, False])
def test_nf4_size_matches_bitsandbytes(double: bool) -> None:
    torch = pytest.importorskip("torch", reason="the finetune extra is not installed")
    bitsandbytes = pytest.importorskip("bitsandbytes", reason="the finetune extra is missing")
    weight = bitsandbytes.nn.Params4bit(
        torch.randn(192, 576), requires_grad=False, quant_type="nf4", compress_statistics=double
    ).to("cpu")
    state = weight.quant_state
    constants = [state.absmax, *([state.state2.absmax] if double else [])]
    found = sum(tensor.numel() * tensor.element_size() for tensor in (weight, *constants))
    assert found == nf4_bytes(192 * 576, double=double)


def kept_by_autograd(recipe: Recipe, shapes: dict[str, Any], batch: Batch) -> int:
    """Return the bytes that the forward pass of a random Llama keeps; one row has padding."""
    import peft
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(LlamaConfig(**shapes)).to(torch.bfloat16)
    targets = recipe.adapter.targets
    config = peft.LoraConfig(
        r=recipe.adapter.r,
        lora_dropout=recipe.adapter.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
    )
    model = peft.get_peft_model(model, config).train()
    weights = {one.untyped_storage().data_ptr() for one in model.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        if (place := tensor.untyped_storage().data_ptr()) not in weights:
            kept[place] = tensor
        return tensor

    ids = torch.randint(0, 500, (batch.rows, batch.length))
    mask = torch.ones_like(ids)
    mask[0, -10:] = 0
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16),
    ):
        model.base_model.model.model(input_ids=ids, attention_mask=mask, use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), "all-linear"])
def test_activations_match_what_autograd_keeps(targets: Any) -> None:
    for name in ("torch", "transformers", "peft"):
        pytest.importorskip(name, reason="the finetune extra is not installed")
    facts = BaseFacts("small", 128, 4, 4, 2, 32, 320, 500, True, 0, "a test")
    shapes = {
        "hidden_size": 128,
        "intermediate_size": 320,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 500,
    }
    recipe = Recipe(adapter=Adapter(r=8, targets=targets), training=Training(checkpointing=False))
    batch = Batch(4, 200, 100)
    planned = activation_bytes(facts, recipe, batch, "cpu")
    forward = planned * facts.layers / (facts.layers + 1)
    assert kept_by_autograd(recipe, shapes, batch) == pytest.approx(forward, rel=0.05)
