"""`start_from`: finding, reading, checking and loading the adapter training continues from."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import gguf as gguf_format
import numpy as np
import pytest
from finetune_artifacts import ALPHA, R, converted_adapter, random_adapter
from finetune_base import work_over
from finetune_training import messages_of, prepared_in, rows_of, run_in
from finetune_training import work_in as training_in

from harness.errors import InputError
from skills.finetune.model import lora_adapters
from skills.finetune.model.bases import describe
from skills.finetune.recipe import overridden
from skills.finetune.training.callbacks import Metrics
from skills.finetune.training.train import train, train_inputs

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),  # from peft
]


def dev_losses(folder: Path) -> Mapping[int, float]:
    lines = Metrics(folder / "metrics.jsonl").read()
    return {line["step"]: line["dev_loss"] for line in lines if "dev_loss" in line}


@pytest.fixture(scope="module")
def first(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of six steps, without dropout."""
    folder = tmp_path_factory.mktemp("run") / "first"
    run_in(folder, base, {"adapter.dropout": 0.0})
    return folder


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_gguf_adapter_equals_the_peft_adapter(base: Path, tmp_path: Path, family: str) -> None:
    """llama.cpp's converter reorders the rows of queries and keys of a llama."""
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    if family == "qwen2":
        config = Qwen2Config.from_pretrained(base)
        assert config.num_attention_heads != config.num_key_value_heads
        folder = tmp_path / "qwen2"
        Qwen2ForCausalLM(config).save_pretrained(folder)
        AutoTokenizer.from_pretrained(base).save_pretrained(folder)
        base = folder
    random_adapter(base, tmp_path / "adapter")
    lora = converted_adapter(base, tmp_path / "adapter", tmp_path / "lora.gguf")
    architecture = gguf_format.GGUFReader(lora).fields["general.architecture"].contents()
    assert architecture == family
    changes = {"adapter.r": R, "adapter.alpha": ALPHA, "adapter.targets": "all-linear"}
    works = [
        work_over(tmp_path, base, {**changes, "adapter.start_from": str(path)})
        for path in (lora, tmp_path / "adapter")
    ]
    facts = describe(works[0])
    assert facts is not None
    of_gguf, of_peft = (lora_adapters.open_start(work, facts) for work in works)
    assert of_gguf is not None
    assert of_peft is not None
    assert dict(of_gguf.shapes) == dict(of_peft.shapes)
    for layer in of_peft.shapes:
        for ours, theirs in zip(of_gguf.matrices(layer), of_peft.matrices(layer), strict=True):
            assert np.array_equal(ours, theirs.numpy()), layer


@pytest.mark.parametrize("form", ["run", "f32", "bf16"])
def test_training_starts_at_the_loss_of_the_start_adapter(
    base: Path, first: Path, tmp_path: Path, form: str
) -> None:
    name = (
        first
        if form == "run"
        else converted_adapter(base, first / "adapter", tmp_path / "l.gguf", form)
    )
    changes = {"adapter.dropout": 0.0, "adapter.start_from": str(name)}
    before = dev_losses(first)
    work = run_in(tmp_path / "run", base, changes)
    after = dev_losses(tmp_path / "run")
    assert set(after) == {0, 2, 4, 6}
    assert after[0] == pytest.approx(before[6], abs=1e-3 if form == "bf16" else 1e-5)
    assert before[2] - before[6] > 5e-3, "another adapter has another loss"
    assert not (tmp_path / "run" / "checkpoint-0").exists()
    is_worse = min(after[step] for step in (2, 4, 6)) >= after[0]
    assert ("no improvement" in messages_of(work)) == is_worse


def test_no_improvement_is_reported(base: Path, first: Path, tmp_path: Path) -> None:
    no_step = 1e-30
    changes = {"adapter.start_from": str(first), "training.learning_rate": no_step}
    work = run_in(tmp_path / "run", base, changes)
    losses = dev_losses(tmp_path / "run")
    assert losses[6] == losses[0]
    assert f"of {first}, from which it started, {losses[0]:.4f}: no improvement" in messages_of(
        work
    )


def test_resume_needs_the_same_start_adapter_and_skips_step_0(
    base: Path, first: Path, tmp_path: Path
) -> None:
    random_adapter(base, own := tmp_path / "own")
    changes = {"adapter.alpha": ALPHA, "adapter.start_from": str(own)}
    run_in(tmp_path / "run", base, {**changes, "training.max_steps": 2})
    run_in(tmp_path / "run", base, changes, resume=True)
    lines = Metrics(tmp_path / "run" / "metrics.jsonl").read()
    assert [line["step"] for line in lines if "dev_loss" in line] == [0, 2, 4, 6]
    random_adapter(base, own, seed=1)
    with pytest.raises(InputError, match=r"started with other settings: adapter\.start_sha256 was"):
        run_in(tmp_path / "run", base, changes, resume=True)


def test_metrics_of_a_run_without_steps_are_discarded(
    base: Path, first: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    Metrics(folder / "metrics.jsonl").add({"step": 0, "dev_loss": 1.0})
    work = run_in(folder, base, {"adapter.start_from": str(first)})
    assert dev_losses(folder)[0] == pytest.approx(dev_losses(first)[6], abs=1e-5)
    assert "no improvement" not in messages_of(work) or min(dev_losses(folder).values()) > 1
    shutil.rmtree(folder)
    folder.mkdir()
    Metrics(folder / "metrics.jsonl").add({"step": 0, "dev_loss": 1.0})
    assert "no improvement" not in messages_of(run_in(folder, base))
    assert 0 not in dev_losses(folder)


def test_stage_inputs_include_the_start_adapter(base: Path, first: Path, tmp_path: Path) -> None:
    plain = prepared_in(training_in(tmp_path / "plain", base), rows_of(4))
    assert "start_from" not in train_inputs(plain)["adapter"]
    assert "start" not in train_inputs(plain)
    named = prepared_in(
        training_in(tmp_path / "named", base, {"adapter.start_from": str(first)}), rows_of(4)
    )
    assert train_inputs(named)["start"] == lora_adapters.start_digest(named)
    again = replace(named, recipe=overridden(named.recipe, {"adapter.start_from": f"{first}/."}))
    assert train_inputs(again) == train_inputs(named), "by whatever name"
    misfit = replace(named, recipe=overridden(named.recipe, {"adapter.r": 8}))
    with pytest.raises(InputError, match="has r 4, and the recipe 8"):
        train_inputs(misfit)


def test_misfit_adapter_is_refused_before_loading_the_base(
    base: Path, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skills.finetune.training import trainer

    monkeypatch.setattr(trainer, "load_model", lambda *_, **__: pytest.fail("the base was loaded"))
    changes = {"adapter.start_from": str(first), "adapter.r": 8}
    work = prepared_in(training_in(tmp_path / "run", base, changes), rows_of(4))
    with pytest.raises(InputError, match="has r 4, and the recipe 8"):
        train(work)
