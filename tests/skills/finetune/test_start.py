"""`start_from`: finding, reading, checking and loading the adapter training continues from."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf as gguf_format
import numpy as np
import pytest
from finetune_artifacts import ALPHA, R, converted_adapter, random_adapter
from finetune_base import SMOLLM2, tiny_base, work_over
from finetune_training import messages_of, prepared_in, rows_of, run_in
from finetune_training import work_in as training_in
from lora_gguf import write_adapter

from harness.cli.app import App
from harness.errors import InputError, UsageError
from harness.runs.frontend import Frontend
from harness.settings import CODE_ROOT
from harness.terminal.console import Screen
from harness.testing import fake_settings
from skills.finetune.deploy.registered import name_of
from skills.finetune.model import start_from
from skills.finetune.model.bases import describe
from skills.finetune.model.facts import BaseFacts, published
from skills.finetune.run.recipe import Recipe, load, overridden
from skills.finetune.run.run_dir import Done
from skills.finetune.run.stage import StageContext
from skills.finetune.training.metrics import Metrics
from skills.finetune.training.train import inputs, train

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
SHIPPED = {"adapter.r": 16, "adapter.alpha": 32, "adapter.targets": "all-linear"}
"""The settings of models/nanda-annotator."""


def smollm2_facts() -> BaseFacts:
    found = published("HuggingFaceTB/SmolLM2-135M-Instruct")
    assert found is not None
    return found


def over_smollm2(folder: Path, name: str | Path, **changes: Any) -> StageContext:
    """A run that continues from an adapter of SmolLM2, without the weights of the base."""
    named = {f"adapter.{key}": value for key, value in changes.items()}
    return work_over(folder, SMOLLM2, {**SHIPPED, **named, "adapter.start_from": str(name)})


def written(path: Path, ranks: Sequence[int], alpha: float = 8.0) -> Path:
    """The GGUF of an adapter of the queries of SmolLM2-135M, with an r for each layer."""
    writer = gguf_format.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_float32("adapter.lora.alpha", alpha)
    for number, r in enumerate(ranks):
        name = f"blk.{number}.attn_q.weight.lora_"
        writer.add_tensor(f"{name}a", np.ones((r, 576), np.float32))
        writer.add_tensor(f"{name}b", np.ones((576, r), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def dev_losses(folder: Path) -> Mapping[int, float]:
    lines = Metrics(folder / "metrics.jsonl").read()
    return {line["step"]: line["dev_loss"] for line in lines if "dev_loss" in line}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def first(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of six steps, without dropout."""
    folder = tmp_path_factory.mktemp("run") / "first"
    run_in(folder, base, {"adapter.dropout": 0.0})
    return folder


@pytest.mark.parametrize("name", ["nanda-annotator", "nanda-annotator-lora"])
def test_start_from_the_shipped_model_by_name(tmp_path: Path, name: str) -> None:
    work = over_smollm2(tmp_path, name)
    ships = CODE_ROOT / "models" / "nanda-annotator" / "nanda-annotator-lora.gguf"
    assert start_from.find(work) == ships
    found = start_from.open_start(work, smollm2_facts())
    assert found is not None
    assert (found.r, found.alpha, len(found.shapes)) == (16, 32.0, 7 * 30)
    assert found.shapes["model.layers.29.mlp.down_proj"] == (576, 1536)
    a, b = found.matrices("model.layers.0.self_attn.k_proj")
    assert (a.shape, b.shape) == ((16, 576), (192, 16))


def test_without_start_from_the_adapter_is_new(tmp_path: Path) -> None:
    work = work_over(tmp_path, SMOLLM2)
    assert start_from.find(work) is None
    assert start_from.digest(work) is None
    assert start_from.open_start(work, smollm2_facts()) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"r": 8}, "has r 16, and the recipe 8"),
        ({"alpha": 16}, "has alpha 32, and the recipe 16"),
        (
            {"targets": ("q_proj", "v_proj")},
            r"has 210 layers \(q_proj, .*, down_proj\), and the recipe 60\. --set 'adapter\.tar",
        ),
    ],
)
def test_an_adapter_of_another_size_is_refused(
    tmp_path: Path, changes: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        start_from.open_start(over_smollm2(tmp_path, "nanda-annotator", **changes), smollm2_facts())


def test_an_adapter_of_another_base_is_refused(tmp_path: Path) -> None:
    wider = published("HuggingFaceTB/SmolLM2-360M-Instruct")
    assert wider is not None
    with pytest.raises(
        InputError, match=r"has 1536 to 576 for model\.layers\..*-360M-Instruct has 2560 to 960"
    ):
        start_from.open_start(over_smollm2(tmp_path, "nanda-annotator"), wider)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("producer", "the model producer does not have an adapter"),
        ("nanda-anotator", "there is no adapter 'nanda-anotator' to continue from"),
        ("no/such/folder", "there is no adapter 'no/such/folder' to continue from"),
        ("~nobody-here/ft", "there is no adapter '~nobody-here/ft' to continue from"),
        ("a" * 300, "there is no adapter 'a"),
    ],
)
def test_missing_start_adapter_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        start_from.find(over_smollm2(tmp_path, name))


def test_file_that_is_not_an_adapter_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.gguf"
    text.write_text("no GGUF")
    with pytest.raises(InputError, match="the adapter cannot be read: cannot be read as GGUF"):
        start_from.open_start(over_smollm2(tmp_path, text), smollm2_facts())
    (empty := tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"there is no adapter '.*empty' to continue from"):
        start_from.digest(over_smollm2(tmp_path, empty))


def test_adapter_with_an_unknown_layer_is_refused(tmp_path: Path) -> None:
    lora = write_adapter(tmp_path / "odd.gguf", {"blk.0.attn_odd.weight": (32, 3)})
    with pytest.raises(
        InputError, match=r"has 32 to 3 for blk\.0\.attn_odd\..*, and .* has nothing"
    ):
        start_from.open_start(over_smollm2(tmp_path, lora), smollm2_facts())


def test_adapter_in_the_folder_of_the_run_is_refused(tmp_path: Path) -> None:
    work = over_smollm2(tmp_path, tmp_path / "out")
    for name in ("adapter", "earlier-1/adapter"):
        (work.run_dir.folder / name).mkdir(parents=True)
        (work.run_dir.folder / name / "adapter_config.json").touch()
    for name in ("out", "out/adapter"):
        with pytest.raises(InputError, match="is in the folder of the run"):
            start_from.find(over_smollm2(tmp_path, tmp_path / name))
    earlier = work.run_dir.folder / "earlier-1"
    assert start_from.find(over_smollm2(tmp_path, earlier)) == earlier / "adapter"


@pytest.mark.parametrize(("ranks", "found"), [((8, 4), "4, 8"), ((), "none")])
def test_adapter_with_several_ranks_is_refused(
    tmp_path: Path, ranks: Sequence[int], found: str
) -> None:
    path = written(tmp_path / "lora.gguf", ranks)
    with pytest.raises(InputError, match=rf"its layers have r {found}\. Training continues"):
        start_from.open_start(over_smollm2(tmp_path, path), smollm2_facts())


@pytest.mark.parametrize(("r", "alpha"), [(4, 22.6), (49, 32.0)])
def test_gguf_alpha_has_32_bits(tmp_path: Path, r: int, alpha: float) -> None:
    path = written(tmp_path / "lora.gguf", [r] * 30, alpha)
    work = over_smollm2(tmp_path, path, r=r, alpha=alpha, targets=("q_proj",))
    found = start_from.open_start(work, smollm2_facts())
    assert found is not None
    assert found.alpha == pytest.approx(alpha)


def test_start_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ft").mkdir()
    monkeypatch.chdir(tmp_path)
    for given, kept in (
        ("ft", str(tmp_path / "ft")),
        ("nanda-annotator", "nanda-annotator"),
        ("nowhere", "nowhere"),
    ):
        work = over_smollm2(tmp_path, given)
        anchored = start_from.anchored(work.recipe, work.call.models.registry)
        assert anchored.adapter.start_from == kept


def test_recipe_without_start_from_keeps_its_digest() -> None:
    assert "start_from" not in Recipe().model_dump()["adapter"]
    named = overridden(Recipe(), {"adapter.start_from": "nanda-annotator"})
    assert named.model_dump()["adapter"]["start_from"] == "nanda-annotator"
    assert Recipe.model_validate(named.model_dump()) == named
    assert load("lesson").digest.startswith("ef498607"), "as before there was such a setting"


@pytest.mark.parametrize("name", ["nanda-annotator", "nanda-annotator-lora"])
def test_stage_alone_does_not_replace_the_start_model(tmp_path: Path, name: str) -> None:
    work = over_smollm2(tmp_path, name)
    work.run_dir.make()
    work.run_dir.record("train", {}, Done([], {"steps": 4, "steps_of_all_epochs": 4}), 1.0)
    with pytest.raises(UsageError, match="would replace nanda-annotator"):
        name_of(work)
    named = replace(work, call=replace(work.call, options=SimpleNamespace(as_name="mine")))
    assert name_of(named) == "mine"


def dispatched(folder: Path, line: str) -> str:
    """Return the text that /finetune prints, with the shipped registry."""
    app = App(fake_settings(folder), Frontend("test"), Screen(io.StringIO(), io.StringIO()))
    try:
        return app.dispatch(f"/finetune {line}").result.text
    finally:
        app.close()


def test_plan_shows_the_start_adapter_and_refuses_a_misfit(tmp_path: Path) -> None:
    dispatched(tmp_path, f"dataset --gold {CODE_ROOT}/examples/gold.csv save to {tmp_path}/t.jsonl")
    given = (
        f"plan {tmp_path}/t.jsonl --out {tmp_path}/ft --base HuggingFaceTB/SmolLM2-135M-Instruct "
        "--start-from nanda-annotator --set adapter.targets=all-linear"
    )
    assert "starting from nanda-annotator" in dispatched(tmp_path, given)
    assert "starting from" not in dispatched(tmp_path, f"{given} --set adapter.start_from=null")
    with pytest.raises(InputError, match="has r 16, and the recipe 8"):
        dispatched(tmp_path, f"{given} --set adapter.r=8")


@pytest.mark.train
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
    of_gguf, of_peft = (start_from.open_start(work, facts) for work in works)
    assert of_gguf is not None
    assert of_peft is not None
    assert dict(of_gguf.shapes) == dict(of_peft.shapes)
    for layer in of_peft.shapes:
        for ours, theirs in zip(of_gguf.matrices(layer), of_peft.matrices(layer), strict=True):
            assert np.array_equal(ours, theirs.numpy()), layer


@pytest.mark.train
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


@pytest.mark.train
def test_no_improvement_is_reported(base: Path, first: Path, tmp_path: Path) -> None:
    no_step = 1e-30
    changes = {"adapter.start_from": str(first), "training.learning_rate": no_step}
    work = run_in(tmp_path / "run", base, changes)
    losses = dev_losses(tmp_path / "run")
    assert losses[6] == losses[0]
    assert f"of {first}, from which it started, {losses[0]:.4f}: no improvement" in messages_of(
        work
    )


@pytest.mark.train
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


@pytest.mark.train
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


@pytest.mark.train
def test_stage_inputs_include_the_start_adapter(base: Path, first: Path, tmp_path: Path) -> None:
    plain = prepared_in(training_in(tmp_path / "plain", base), rows_of(4))
    assert "start_from" not in inputs(plain)["adapter"]
    assert "start" not in inputs(plain)
    named = prepared_in(
        training_in(tmp_path / "named", base, {"adapter.start_from": str(first)}), rows_of(4)
    )
    assert inputs(named)["start"] == start_from.digest(named)
    again = replace(named, recipe=overridden(named.recipe, {"adapter.start_from": f"{first}/."}))
    assert inputs(again) == inputs(named), "by whatever name"
    misfit = replace(named, recipe=overridden(named.recipe, {"adapter.r": 8}))
    with pytest.raises(InputError, match="has r 4, and the recipe 8"):
        inputs(misfit)


@pytest.mark.train
def test_misfit_adapter_is_refused_before_loading_the_base(
    base: Path, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skills.finetune.model import loading

    monkeypatch.setattr(loading, "load_model", lambda *_: pytest.fail("the base was loaded"))
    changes = {"adapter.start_from": str(first), "adapter.r": 8}
    work = prepared_in(training_in(tmp_path / "run", base, changes), rows_of(4))
    with pytest.raises(InputError, match="has r 4, and the recipe 8"):
        train(work)
