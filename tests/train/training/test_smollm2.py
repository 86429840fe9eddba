"""Two training steps of SmolLM2-135M in NF4, and the resulting adapter."""

from __future__ import annotations

from pathlib import Path

import pytest
from finetune_base import SMOLLM2, smollm2
from finetune_training import messages_of, prepared_in, work_in

from harness import settings
from harness.models import registry
from harness.models.pool import ModelPool, Models
from skills.finetune.model.bases import open_base, open_tokenizer
from skills.finetune.training.callbacks import Metrics
from skills.finetune.training.train import train

pytestmark = pytest.mark.train
CHANGES = {
    "quantization.kind": "nf4",
    "quantization.compute": "bfloat16",
    "adapter.targets": ("q_proj", "v_proj"),
    "adapter.dropout": 0.0,
    "training.accumulation": 1,
    "training.checkpointing": True,
    "training.epochs": 1,
    "training.learning_rate": 5e-3,
}


@pytest.mark.timeout(600)
def test_two_steps_under_nf4_lower_the_loss(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="needs the finetune extra")
    import torch

    torch.set_num_threads(1)  # several threads would wait for each other on busy cores
    smollm2()
    work = work_in(tmp_path / "run", tmp_path, CHANGES | {"base": SMOLLM2})
    configured = settings.from_environment()
    work.call.models = Models(ModelPool(registry.load(configured.shipped_registry), {}))
    work.call.settings = configured  # for its cache, where the base is unpacked already
    tokenizer = open_tokenizer(open_base(work).folder)
    prompt = tokenizer.encode("Give the claim of this abstract: we tally ledgers by lantern light.")
    completion = tokenizer.encode("<annotation>\nClaim: ledgers can be tallied by lantern light")
    row = {
        "id": "row",
        "source": "gold",
        "weight": 1.0,
        "input_ids": [*prompt, *completion, tokenizer.eos_token_id],
        "completion_start": len(prompt),
    }
    done = train(prepared_in(work, [{**row, "id": str(n)} for n in range(4)], [row]))
    lines = Metrics(work.run_dir.folder / "metrics.jsonl").read()
    first, second = (line for line in lines if "loss" in line)
    assert second["loss"] < first["loss"], messages_of(work)
    assert first["tokens"] == 2 * len(row["input_ids"])
    assert first["peak_bytes"] > 100e6
    assert done.facts["step"] == done.facts["steps"] == 2

    from safetensors.numpy import load_file

    weights = load_file(work.run_dir.adapter / "adapter_model.safetensors")
    assert len(weights) == 30 * 2 * 2, "A and B for q_proj and v_proj of 30 layers"
    assert all(name.split(".")[-3] in ("q_proj", "v_proj") for name in weights)
