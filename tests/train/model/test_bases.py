"""Bases: finding, checking, describing and unpacking them, and their digest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from finetune_base import HIDDEN, LAYERS, SMOLLM2, messages_of, smollm2, tiny_base, work_over

from harness import settings
from harness.errors import InputError, ModelUnavailable
from skills.finetune.model import bases
from skills.finetune.model.base_shapes import shapes_of_config
from skills.finetune.model.bases import (
    chat_template,
    describe,
    end_tokens,
    open_base,
    open_tokenizer,
)
from skills.finetune.run_folder import StageContext

pytestmark = pytest.mark.train

HUB = "someone/Tiny-1B-Instruct"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def base(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(made, tmp_path / "base"))


def edit(path: Path, **changes: Any) -> None:
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, **changes}))


def test_base_digest_changes_with_every_file_that_is_read(base: Path, tmp_path: Path) -> None:
    work = work_over(tmp_path, base)
    first = open_base(work)
    assert (first.folder, first.name) == (base, str(base))
    assert open_base(work) == first
    digests = {first.digest}
    template = base / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    digests.add(open_base(work).digest)
    edit(base / "config.json", rope_theta=1)
    digests.add(open_base(work).digest)
    weights = base / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    digests.add(open_base(work).digest)
    edit(base / "tokenizer.json", version="1.0", padding={"strategy": "BatchLongest"})
    digests.add(open_base(work).digest)
    assert len(digests) == 5


def test_base_digest_does_not_depend_on_path_or_time(base: Path, tmp_path: Path) -> None:
    first = open_base(work_over(tmp_path, base))
    moved = Path(shutil.copytree(base, tmp_path / "moved", copy_function=shutil.copyfile))
    assert open_base(work_over(tmp_path, moved)).digest == first.digest


def lacks(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def cut_short(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def of_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 4096)


def sharded(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lacks("config.json"), "has no config.json"),
        (lacks("model.safetensors"), "has no model.safetensors"),
        (lacks("tokenizer.json"), "has no tokenizer.json"),
        (lacks("chat_template.jinja"), "has no chat template"),
        (cut_short, "model.safetensors: is damaged or truncated"),
        (of_no_weights, "model.safetensors: is damaged or truncated"),
        (sharded, "has no model-2.safetensors"),
        (adapter, "is an adapter, not a model"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json: cannot be read"),
        (lambda folder: edit(folder / "config.json", model_type="gpt2"), "of the type 'gpt2'"),
        (
            lambda folder: edit(folder / "config.json", quantization_config={"bits": 4}),
            "already quantized",
        ),
    ],
)
def test_incomplete_base_folder_is_refused(
    base: Path, tmp_path: Path, damage: Any, complaint: str
) -> None:
    damage(base)
    with pytest.raises(InputError) as refused:
        open_base(work_over(tmp_path, base))
    assert complaint in str(refused.value)
    assert str(base) in str(refused.value)
    assert refused.value.hint or "cannot be read" in complaint


def test_chat_template_in_tokenizer_config_is_read(base: Path) -> None:
    template = chat_template(base)
    (base / "chat_template.jinja").unlink()
    edit(base / "tokenizer_config.json", chat_template=template)
    assert chat_template(base) == template
    several = [{"name": "tools", "template": "x"}, {"name": "default", "template": template}]
    edit(base / "tokenizer_config.json", chat_template=several)
    assert chat_template(base) == template


def test_end_tokens_come_from_both_configs(base: Path) -> None:
    assert end_tokens(base) == {2}
    edit(base / "generation_config.json", eos_token_id=[5, 7])
    assert end_tokens(base) == {2, 5, 7}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for a revision of `HUB` in an empty hub cache."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs the extra")
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    repository = cache / "models--someone--Tiny-1B-Instruct"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    return repository / "snapshots" / ("a" * 40)


def test_missing_hub_model_error_names_the_download_command(hub: Path, tmp_path: Path) -> None:
    work = work_over(tmp_path, HUB)
    with pytest.raises(InputError, match=f"'{HUB}' is not on this machine. `hf download {HUB}`"):
        open_base(work)
    assert describe(work) is None


def test_model_in_the_hub_cache_is_a_base(made: Path, hub: Path, tmp_path: Path) -> None:
    shutil.copytree(made, hub)
    work = work_over(tmp_path, HUB)
    base = open_base(work)
    assert base.folder == hub
    assert base.folder.name == "a" * 40
    assert base.digest == open_base(work_over(tmp_path, made)).digest
    facts = describe(work)
    assert facts is not None
    assert facts.hidden == HIDDEN


def test_incomplete_hub_download_is_refused(made: Path, hub: Path, tmp_path: Path) -> None:
    shutil.copytree(made, hub)
    (hub / "model.safetensors").unlink()
    work = work_over(tmp_path, HUB)
    with pytest.raises(InputError, match=f"has no model.safetensors. `hf download {HUB}`"):
        open_base(work)
    assert describe(work) is not None


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3"])
@pytest.mark.parametrize("tied", [True, False])
def test_parameter_count_equals_transformers(kind: str, tied: bool) -> None:
    torch = pytest.importorskip("torch", reason="needs the finetune extra")
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        kind,
        vocab_size=500,
        hidden_size=48,
        intermediate_size=100,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=8 if kind != "qwen3" else 16,
        tie_word_embeddings=tied,
        **({"attention_bias": True, "mlp_bias": True} if kind == "llama" else {}),
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    facts = shapes_of_config(json.loads(config.to_json_string()), "x", "y", "z")
    assert facts.parameters == model.num_parameters()
    assert (facts.layers, facts.heads, facts.kv_heads, facts.tied) == (3, 6, 2, tied)


def test_a_folder_is_described_without_its_weights(base: Path, tmp_path: Path) -> None:
    (base / "model.safetensors").unlink()
    facts = describe(work_over(tmp_path, base))
    assert facts is not None
    assert (facts.name, facts.hidden, facts.layers) == (str(base), HIDDEN, LAYERS)
    assert facts.source == "its config.json"


@pytest.fixture
def over_gguf(tmp_path: Path) -> StageContext:
    """A run over SmolLM2's GGUF, with a cache in which nothing is unpacked."""
    gguf = smollm2()
    work = work_over(tmp_path, SMOLLM2)
    (work.call.settings.cache_dir / "models").mkdir(parents=True)
    (work.call.settings.cache_dir / "models" / gguf.name).symlink_to(gguf)
    return work


def test_missing_registry_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = work_over(tmp_path, "nanda-annotator-lora")
    files = work.call.models.registry.files
    gone = files["nanda-annotator-lora"].model_copy(update={"path": "nowhere.gguf"})
    monkeypatch.setitem(files, "nanda-annotator-lora", gone)
    with pytest.raises(ModelUnavailable):
        open_base(work)


def test_gguf_is_unpacked_once_and_completely(
    over_gguf: StageContext, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked = []

    def unpack(gguf: Path, folder: Path) -> None:
        unpacked.append(gguf)
        if len(unpacked) == 1:
            (folder / "config.json").write_text("{}")
            raise KeyboardInterrupt
        shutil.copytree(made, folder, dirs_exist_ok=True)

    monkeypatch.setattr(bases, "unpack", unpack)
    with pytest.raises(KeyboardInterrupt):
        open_base(over_gguf)
    assert not [
        path for path in (over_gguf.call.settings.cache_dir / "bases").iterdir() if path.is_dir()
    ]
    base = open_base(over_gguf)
    assert open_base(over_gguf) == base
    assert len(unpacked) == 2
    assert base.name == SMOLLM2
    cut_short(base.folder)
    assert open_base(over_gguf) == base
    assert len(unpacked) == 3
    assert messages_of(over_gguf) == ""


def test_tokenizer_that_differs_from_the_engine_is_refused(
    over_gguf: StageContext, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpack(gguf: Path, folder: Path) -> None:
        shutil.copytree(made, folder, dirs_exist_ok=True)
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        tokenizer["pre_tokenizer"] = tokenizer["pre_tokenizer"]["pretokenizers"][1]
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))

    monkeypatch.setattr(bases, "unpack", unpack)
    with pytest.raises(InputError, match="the engine splits 'Blanks  2 before"):
        open_base(over_gguf)
    assert not [
        path for path in (over_gguf.call.settings.cache_dir / "bases").iterdir() if path.is_dir()
    ]


def test_unpacked_smollm2_answers_correctly(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the finetune extra")
    from transformers import AutoModelForCausalLM

    smollm2()
    work = work_over(tmp_path, SMOLLM2)
    shared = settings.from_environment().cache_dir
    work.call.settings.cache_dir.parent.mkdir(parents=True, exist_ok=True)
    shared.mkdir(parents=True, exist_ok=True)
    work.call.settings.cache_dir.symlink_to(shared)  # the base is unpacked only once
    base = open_base(work)
    tokenizer = open_tokenizer(base.folder)
    model = AutoModelForCausalLM.from_pretrained(base.folder)
    assert model.dtype == torch.bfloat16
    assert model.num_parameters() == 134_515_008
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    generated = model.generate(**prompt, max_new_tokens=8, do_sample=False)
    answer = tokenizer.decode(
        generated[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True
    )
    assert answer.startswith("The capital of France is Paris")
