"""`start_from`: finding, reading, checking and loading the adapter training continues from."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf as gguf_format
import numpy as np
import pytest
from finetune_base import SMOLLM2, work_over
from lora_gguf import write_adapter

from harness.cli.app import App
from harness.errors import InputError, UsageError
from harness.runs.frontend import Frontend
from harness.settings import CODE_ROOT
from harness.terminal.console import Screen
from harness.testing import fake_settings
from skills.finetune.export.register import name_of
from skills.finetune.model import lora_adapters
from skills.finetune.model.base_shapes import BaseFacts, published
from skills.finetune.plugin import Finetune
from skills.finetune.recipe import Recipe, load_recipe, overridden
from skills.finetune.run_folder import StageContext

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


@pytest.mark.parametrize("name", ["nanda-annotator", "nanda-annotator-lora"])
def test_start_from_the_shipped_model_by_name(tmp_path: Path, name: str) -> None:
    work = over_smollm2(tmp_path, name)
    ships = CODE_ROOT / "models" / "nanda-annotator" / "nanda-annotator-lora.gguf"
    assert lora_adapters.start_path(work) == ships
    found = lora_adapters.open_start(work, smollm2_facts())
    assert found is not None
    assert (found.r, found.alpha, len(found.shapes)) == (16, 32.0, 7 * 30)
    assert found.shapes["model.layers.29.mlp.down_proj"] == (576, 1536)
    a, b = found.matrices("model.layers.0.self_attn.k_proj")
    assert (a.shape, b.shape) == ((16, 576), (192, 16))


def test_without_start_from_the_adapter_is_new(tmp_path: Path) -> None:
    work = work_over(tmp_path, SMOLLM2)
    assert lora_adapters.start_path(work) is None
    assert lora_adapters.start_digest(work) is None
    assert lora_adapters.open_start(work, smollm2_facts()) is None


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
        lora_adapters.open_start(
            over_smollm2(tmp_path, "nanda-annotator", **changes), smollm2_facts()
        )


def test_an_adapter_of_another_base_is_refused(tmp_path: Path) -> None:
    wider = published("HuggingFaceTB/SmolLM2-360M-Instruct")
    assert wider is not None
    with pytest.raises(
        InputError, match=r"has 1536 to 576 for model\.layers\..*-360M-Instruct has 2560 to 960"
    ):
        lora_adapters.open_start(over_smollm2(tmp_path, "nanda-annotator"), wider)


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
        lora_adapters.start_path(over_smollm2(tmp_path, name))


def test_file_that_is_not_an_adapter_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.gguf"
    text.write_text("no GGUF")
    with pytest.raises(InputError, match="the adapter cannot be read: cannot be read as GGUF"):
        lora_adapters.open_start(over_smollm2(tmp_path, text), smollm2_facts())
    (empty := tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"there is no adapter '.*empty' to continue from"):
        lora_adapters.start_digest(over_smollm2(tmp_path, empty))


def test_adapter_with_an_unknown_layer_is_refused(tmp_path: Path) -> None:
    lora = write_adapter(tmp_path / "odd.gguf", {"blk.0.attn_odd.weight": (32, 3)})
    with pytest.raises(
        InputError, match=r"has 32 to 3 for blk\.0\.attn_odd\..*, and .* has nothing"
    ):
        lora_adapters.open_start(over_smollm2(tmp_path, lora), smollm2_facts())


def test_adapter_in_the_folder_of_the_run_is_refused(tmp_path: Path) -> None:
    work = over_smollm2(tmp_path, tmp_path / "out")
    for name in ("adapter", "earlier-1/adapter"):
        (work.run_dir.folder / name).mkdir(parents=True)
        (work.run_dir.folder / name / "adapter_config.json").touch()
    for name in ("out", "out/adapter"):
        with pytest.raises(InputError, match="is in the folder of the run"):
            lora_adapters.start_path(over_smollm2(tmp_path, tmp_path / name))
    earlier = work.run_dir.folder / "earlier-1"
    assert lora_adapters.start_path(over_smollm2(tmp_path, earlier)) == earlier / "adapter"


@pytest.mark.parametrize(("ranks", "found"), [((8, 4), "4, 8"), ((), "none")])
def test_adapter_with_several_ranks_is_refused(
    tmp_path: Path, ranks: Sequence[int], found: str
) -> None:
    path = written(tmp_path / "lora.gguf", ranks)
    with pytest.raises(InputError, match=rf"its layers have r {found}\. Training continues"):
        lora_adapters.open_start(over_smollm2(tmp_path, path), smollm2_facts())


@pytest.mark.parametrize(("r", "alpha"), [(4, 22.6), (49, 32.0)])
def test_gguf_alpha_has_32_bits(tmp_path: Path, r: int, alpha: float) -> None:
    path = written(tmp_path / "lora.gguf", [r] * 30, alpha)
    work = over_smollm2(tmp_path, path, r=r, alpha=alpha, targets=("q_proj",))
    found = lora_adapters.open_start(work, smollm2_facts())
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
        anchored = lora_adapters.with_absolute_start(work.recipe, work.call.models.registry)
        assert anchored.adapter.start_from == kept


def test_recipe_without_start_from_keeps_its_digest() -> None:
    assert "start_from" not in Recipe().model_dump()["adapter"]
    named = overridden(Recipe(), {"adapter.start_from": "nanda-annotator"})
    assert named.model_dump()["adapter"]["start_from"] == "nanda-annotator"
    assert Recipe.model_validate(named.model_dump()) == named
    assert load_recipe("lesson").digest.startswith("ef498607"), "as before there was such a setting"


@pytest.mark.parametrize("name", ["nanda-annotator", "nanda-annotator-lora"])
def test_stage_alone_does_not_replace_the_start_model(tmp_path: Path, name: str) -> None:
    work = over_smollm2(tmp_path, name)
    work.run_dir.make()
    work.run_dir.record("train", {}, facts={"steps": 4, "steps_of_all_epochs": 4})
    with pytest.raises(UsageError, match="would replace nanda-annotator"):
        name_of(work)
    named = replace(work, call=replace(work.call, options=Finetune.Options(as_name="mine")))
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
