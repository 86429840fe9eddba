"""Bases: finding, checking, describing and unpacking them, and their digest."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from finetune_base import SMOLLM2, smollm2, work_over

from harness.errors import InputError
from skills.finetune.model.base_shapes import published, shapes_of_config, shapes_of_gguf
from skills.finetune.model.bases import TEMPLATE, chat_template, describe, open_base
from skills.finetune.run_folder import StageContext


@pytest.mark.parametrize("name", ["no-such-thing", "~nobody-here/base", "a" * 300])
def test_unknown_base_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"the base '{name}' is not on this machine"):
        open_base(work_over(tmp_path, name))
    assert describe(work_over(tmp_path, name)) is None


def test_a_config_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match=r"config\.json: cannot be read \(it has more than 32 MB"):
        describe(work_over(tmp_path, str(tmp_path)))


def test_a_pipe_in_place_of_a_chat_template_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / TEMPLATE)
    assert chat_template(tmp_path) == ""
    (tmp_path / TEMPLATE).unlink()
    with (tmp_path / TEMPLATE).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match=r"it has more than 32 MB"):
        chat_template(tmp_path)


def test_config_without_required_numbers_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"config\.json: a number is missing or invalid: 'num_attention_heads'"
    ):
        shapes_of_config({"model_type": "llama", "hidden_size": 8}, "x", "y", "config.json")


def test_config_without_heads_is_refused(tmp_path: Path) -> None:
    numbers = dict.fromkeys(("num_attention_heads", "num_hidden_layers", "vocab_size"), 0)
    config = {"model_type": "llama", "hidden_size": 8, "intermediate_size": 8, **numbers}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"config\.json: a number is missing or invalid: .* zero"):
        describe(work_over(tmp_path, str(tmp_path)))


@pytest.fixture
def over_gguf(tmp_path: Path) -> StageContext:
    """A run over SmolLM2's GGUF, with a cache in which nothing is unpacked."""
    gguf = smollm2()
    work = work_over(tmp_path, SMOLLM2)
    (work.call.settings.cache_dir / "models").mkdir(parents=True)
    (work.call.settings.cache_dir / "models" / gguf.name).symlink_to(gguf)
    return work


def test_a_gguf_is_described_by_its_own_numbers(over_gguf: StageContext) -> None:
    pytest.importorskip("gguf", reason="needs the dev or the finetune extra")
    facts, known = describe(over_gguf), published("SmolLM2-135M")
    assert facts is not None
    assert known is not None
    for name in ("hidden", "layers", "heads", "kv_heads", "head_dim", "intermediate", "vocab"):
        assert getattr(facts, name) == getattr(known, name), name
    assert (facts.tied, facts.parameters) == (known.tied, known.parameters)
    assert not (over_gguf.call.settings.cache_dir / "bases").exists()


def test_missing_gguf_is_not_described_and_not_fetched(tmp_path: Path) -> None:
    work = work_over(tmp_path, SMOLLM2)
    assert describe(work) is None
    assert not work.call.settings.cache_dir.exists()


def test_adapter_gguf_is_not_a_base(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="needs the dev or the finetune extra")
    from gguf import GGUFWriter

    path = tmp_path / "adapter.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(InputError, match="is an adapter, not a model"):
        shapes_of_gguf(path, "x", "y")
    with pytest.raises(InputError, match="cannot be read as GGUF"):
        shapes_of_gguf(Path(__file__), "x", "y")
