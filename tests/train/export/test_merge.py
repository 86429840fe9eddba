"""The stage `merge`: its weights equal those of peft, in copies of the base's files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from finetune_artifacts import inputs_of, random_adapter, work_in
from safetensors import SafetensorError

from harness.errors import InputError, OutputError, SkillFailed, UsageError
from skills.finetune.export import merge
from skills.finetune.model.base_shapes import read_weights

torch = pytest.importorskip("torch", reason="needs the finetune extra")
peft = pytest.importorskip("peft", reason="needs the finetune extra")
transformers = pytest.importorskip("transformers", reason="needs the finetune extra")

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),  # from peft
]

IDS = [[1, 520, 9531, 198, 504, 3575, 282, 4649, 314]]


def logits(model: Any) -> Any:
    with torch.no_grad():
        return model(torch.tensor(IDS)).logits


def load(folder: Path, **options: Any) -> Any:
    options.setdefault("dtype", torch.float32)
    return transformers.AutoModelForCausalLM.from_pretrained(folder, **options).eval()


def with_adapter(base: Path, adapter: Path, **options: Any) -> Any:
    return peft.PeftModel.from_pretrained(load(base, **options), adapter).eval()


def as_float32(base: Path, folder: Path) -> Path:
    """Save the base in float32, in which a merge needs no rounding."""
    shutil.copytree(base, folder)
    (folder / "model.safetensors").unlink()
    load(base).save_pretrained(folder)
    return folder


def tensors_of(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    found: dict[str, Any] = load_file(folder / "model.safetensors")
    return found


def config_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found


def test_merged_logits_equal_those_of_peft(base: Path, tmp_path: Path) -> None:
    exact = as_float32(base, tmp_path / "exact")
    work = work_in(tmp_path, base=exact)
    random_adapter(exact, work.run_dir.adapter)

    merge.merge(work)

    expected = logits(with_adapter(exact, work.run_dir.adapter))
    torch.testing.assert_close(logits(load(work.run_dir.merged)), expected, atol=2e-5, rtol=1e-4)
    assert not torch.allclose(expected, logits(load(exact)), atol=1e-2)


def test_merged_weights_equal_merge_and_unload_rounded_once(base: Path, tmp_path: Path) -> None:
    work = work_in(tmp_path, base=base)
    random_adapter(base, work.run_dir.adapter)

    merge.merge(work)

    theirs = with_adapter(base, work.run_dir.adapter).merge_and_unload().state_dict()
    ours = load(work.run_dir.merged, dtype="auto").state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == torch.bfloat16, name
        # The weights may differ by half a step of bfloat16, and by the order of the r additions.
        torch.testing.assert_close(tensor.float(), theirs[name], atol=1e-6, rtol=2**-8, msg=name)


def test_nf4_merge_equals_the_quantized_model_that_was_trained(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="needs the finetune extra")
    exact = as_float32(base, tmp_path / "exact")
    work = work_in(
        tmp_path, base=exact, export={"merge_base": "nf4"}, quantization={"compute": "float32"}
    )
    random_adapter(exact, work.run_dir.adapter)

    facts = merge.merge(work).facts

    quantized = transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    model = with_adapter(exact, work.run_dir.adapter, quantization_config=quantized)
    for name, layer in model.named_modules():
        if name.endswith("_proj.base_layer"):
            layer.train()  # otherwise, bitsandbytes uses bfloat16 on CPUs with AVX512-BF16
    trained = logits(model)
    torch.testing.assert_close(logits(load(work.run_dir.merged)), trained, atol=2e-5, rtol=1e-4)
    assert not torch.allclose(trained, logits(with_adapter(exact, work.run_dir.adapter)), atol=1e-2)
    assert facts["merge_base"] == "nf4"


def test_nf4_merge_changes_only_quantized_tensors(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="needs the finetune extra")
    untied = shutil.copytree(base, tmp_path / "untied")
    model = load(base, dtype="auto", tie_word_embeddings=False)
    model.lm_head.weight.data = model.model.embed_tokens.weight.data * 2
    model.save_pretrained(untied)
    work = work_in(tmp_path, base=untied, export={"merge_base": "nf4"})
    random_adapter(base, work.run_dir.adapter)

    merge.merge(work)

    before, after = tensors_of(untied), tensors_of(work.run_dir.merged)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.endswith("proj.weight")}
    assert "lm_head.weight" in before


def test_tied_weights_stay_tied(base: Path, tmp_path: Path) -> None:
    work = work_in(tmp_path, base=base)
    random_adapter(base, work.run_dir.adapter)

    merge.merge(work)

    merged = read_weights(work.run_dir.merged).tensors
    assert merged.keys() == read_weights(base).tensors.keys()
    assert "lm_head.weight" not in merged
    assert {tensor.dtype for tensor in merged.values()} == {"BF16"}
    model = load(work.run_dir.merged)
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()


def test_quantization_config_is_removed_at_every_depth(base: Path, tmp_path: Path) -> None:
    marked = shutil.copytree(base, tmp_path / "marked")
    config = config_of(base)
    leftover = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    # A base with a quantization method at the top level is refused; leftovers are not.
    changed = {
        **config,
        "quantization_config": {},
        "inner": {"a": 1, "quantization_config": leftover},
    }
    (marked / "config.json").write_text(json.dumps(changed))
    work = work_in(tmp_path, base=marked)
    random_adapter(base, work.run_dir.adapter)

    merge.merge(work)

    assert config_of(work.run_dir.merged) == {**config, "inner": {"a": 1}}


def test_tokenizer_is_copied_with_the_template_in_its_config(base: Path, tmp_path: Path) -> None:
    work = work_in(tmp_path, base=base)
    random_adapter(base, work.run_dir.adapter)

    merge.merge(work)

    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (work.run_dir.merged / name).read_bytes() == (base / name).read_bytes()
    config = json.loads((work.run_dir.merged / "tokenizer_config.json").read_text())
    assert config["chat_template"] == (base / "chat_template.jinja").read_text()
    del config["chat_template"]
    assert config == json.loads((base / "tokenizer_config.json").read_text())


def test_a_base_in_several_files_is_merged_file_by_file(base: Path, tmp_path: Path) -> None:
    sharded = shutil.copytree(base, tmp_path / "sharded")
    (sharded / "model.safetensors").unlink()
    load(base, dtype="auto").save_pretrained(sharded, max_shard_size="100KB")
    assert len(list(sharded.glob("*.safetensors"))) > 2
    whole, parts = work_in(tmp_path / "1", base=base), work_in(tmp_path / "2", base=sharded)
    for work in (whole, parts):
        random_adapter(base, work.run_dir.adapter)
        merge.merge(work)

    one = load(whole.run_dir.merged, dtype="auto").state_dict()
    for name, tensor in load(parts.run_dir.merged, dtype="auto").state_dict().items():
        assert torch.equal(tensor, one[name]), name


def test_facts_report_the_share_of_changed_weights(base: Path, tmp_path: Path) -> None:
    work = work_in(tmp_path, base=base)
    random_adapter(base, work.run_dir.adapter, strength=0.5)
    strong = merge.merge(work).facts
    random_adapter(base, work.run_dir.adapter, strength=0.001)
    weak = merge.merge(work).facts

    assert strong["layers"] == 14  # seven matrices in each of two layers
    assert strong["scale"] == 2
    assert weak["weights_changed"] < strong["weights_changed"] <= 1


@pytest.mark.parametrize(
    ("setting", "value", "meaning"),
    [
        ("use_rslora", True, "rank-stabilized LoRA"),
        ("use_dora", True, "DoRA"),
        ("modules_to_save", ["lm_head"], "whole layers"),
        ("alpha_pattern", {"q_proj": 8}, "scales that differ"),
        ("bias", "all", "trained biases of the base"),
        ("peft_type", "IA3", "IA3"),
        ("init_lora_weights", "pissa", "a changed base"),
    ],
)
def test_unsupported_adapter_setting_is_refused_by_name(
    base: Path, tmp_path: Path, setting: str, value: object, meaning: str
) -> None:
    work = work_in(tmp_path, base=base)
    random_adapter(base, work.run_dir.adapter)
    change_config(work.run_dir.adapter, {setting: value})

    with pytest.raises(InputError, match=setting) as caught:
        merge.merge(work)
    assert meaning in str(caught.value)


def change_config(adapter: Path, changes: Mapping[str, Any]) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_adapter_of_another_base_is_refused_by_layer(base: Path, tmp_path: Path) -> None:
    work = work_in(tmp_path, base=base)
    random_adapter(base, work.run_dir.adapter, hidden=32)

    with pytest.raises(InputError, match=r"model\.layers\.0\.\S+ should be"):
        merge.merge(work)


def test_base_with_another_digest_than_the_rows_is_refused(base: Path, tmp_path: Path) -> None:
    work = work_in(tmp_path, base=base)
    random_adapter(base, work.run_dir.adapter)
    digest = inputs_of(merge.merge, work)["base"]
    work.run_dir.prepared.mkdir()
    prepared = work.run_dir.prepared / "prepared.json"
    prepared.write_text(json.dumps({"base": "one", "base_digest": digest}))
    assert inputs_of(merge.merge, work)["base"] == digest

    prepared.write_text(json.dumps({"base": "another", "base_digest": "0" * 64}))
    with pytest.raises(InputError, match="were prepared for another, which is not"):
        merge.merge(work)


def test_quantized_base_is_refused(base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    packed = shutil.copytree(base, tmp_path / "packed")
    tensors = load_file(packed / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    tensors[name] = torch.zeros((4096, 1), dtype=torch.uint8)
    save_file(tensors, packed / "model.safetensors", metadata={"format": "pt"})
    work = work_in(tmp_path, base=packed)
    random_adapter(base, work.run_dir.adapter)

    with pytest.raises(InputError, match=f"contains quantized weights .*{name} is U8"):
        merge.merge(work)


def test_missing_adapter_error_names_the_train_stage(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no adapter.*finetune train"):
        merge.merge(work_in(tmp_path, base=base))


def test_damaged_adapter_is_refused(base: Path, tmp_path: Path) -> None:
    work = work_in(tmp_path, base=base)
    random_adapter(base, work.run_dir.adapter)
    weights = work.run_dir.adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])

    with pytest.raises(InputError, match="the adapter cannot be read"):
        merge.merge(work)


def test_nf4_merge_is_refused_for_unquantized_training(base: Path, tmp_path: Path) -> None:
    work = work_in(tmp_path, base=base, export={"merge_base": "nf4"}, quantization={"kind": "none"})
    random_adapter(base, work.run_dir.adapter)

    with pytest.raises(UsageError, match="merge_base"):
        merge.merge(work)


def test_adapter_without_effect_is_an_error(base: Path, tmp_path: Path) -> None:
    work = work_in(tmp_path, base=base)
    random_adapter(base, work.run_dir.adapter, strength=0)

    with pytest.raises(SkillFailed, match="changes no weight"):
        merge.merge(work)
    assert not work.run_dir.merged.exists()


def test_a_disk_too_small_is_refused_before_anything_is_written(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = work_in(tmp_path, base=base)
    random_adapter(base, work.run_dir.adapter)
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    with pytest.raises(
        OutputError, match=r"the merged model needs 6\.\d MB of disk space, and 1 kB"
    ):
        merge.merge(work)


def test_a_file_that_cannot_be_written_is_an_output_error(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = work_in(tmp_path, base=base)
    random_adapter(base, work.run_dir.adapter)

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OutputError, match="not written: No space left on device"):
        merge.merge(work)
    assert [path.name for path in work.run_dir.folder.iterdir() if "merged" in path.name] == []


def test_merged_weights_can_be_read_like_the_other_files(base: Path, tmp_path: Path) -> None:
    work = work_in(tmp_path, base=base)
    random_adapter(base, work.run_dir.adapter)
    merge.merge(work)
    config = work.run_dir.merged / "config.json"
    for path in work.run_dir.merged.glob("*.safetensors"):
        assert path.stat().st_mode == config.stat().st_mode


def test_inputs_change_with_adapter_base_and_merge_settings(base: Path, tmp_path: Path) -> None:
    work = work_in(tmp_path, base=base)
    random_adapter(base, work.run_dir.adapter)
    first = inputs_of(merge.merge, work)
    assert inputs_of(merge.merge, work) == first

    nf4 = inputs_of(merge.merge, work_in(tmp_path, base=base, export={"merge_base": "nf4"}))
    assert differing(first, nf4) == {"merge_base", "quantization"}

    random_adapter(base, work.run_dir.adapter, seed=1)
    assert differing(first, inputs_of(merge.merge, work)) == {"adapter"}

    other = shutil.copytree(base, tmp_path / "other")
    template = other / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    assert differing(
        inputs_of(merge.merge, work), inputs_of(merge.merge, work_in(tmp_path, base=other))
    ) == {"base"}


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    return {name for name in one if one[name] != other[name]}
