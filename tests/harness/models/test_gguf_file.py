"""Reading GGUF files: metadata and tensors as the `gguf` package reads them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import gguf
import pytest
from tiny_gguf import write_adapter, write_model

from harness.errors import InputError, ModelUnavailable
from harness.models.gguf_file import GgufFile, open_gguf

TEXTS = ("one", " two")


def test_values_and_tensors_equal_the_package_reader(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", TEXTS)
    theirs, ours = gguf.GGUFReader(tmp_path / "m.gguf"), open_gguf(tmp_path / "m.gguf")
    fields = {name: field for name, field in theirs.fields.items() if name[:5] != "GGUF."}
    assert ours.values == {name: field.contents() for name, field in fields.items()}
    assert {name: list(types) for name, types in ours.types.items()} == {
        name: field.types for name, field in fields.items()
    }
    for one, other in zip(ours.tensors, theirs.tensors, strict=True):
        assert (one.name, one.tensor_type) == (other.name, other.tensor_type)
        assert one.data.tobytes() == other.data.tobytes()


def test_kind_of_a_model_and_of_an_adapter(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", TEXTS)
    write_adapter(tmp_path / "lora.gguf", TEXTS)
    model = open_gguf(tmp_path / "m.gguf")
    assert (model.file_type, model.end_of_turn, model.is_adapter) == ("Q8_0", "<|im_end|>", False)
    assert model.tensor_types["Q8_0"] > 1
    assert model.weights < model.tensor_bytes < 4 * model.weights
    assert open_gguf(tmp_path / "lora.gguf").is_adapter


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    head = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + struct.pack("<Q1sIIQQ", 1, b"a", 9, 8, 1, 4)
    path = tmp_path / "m.gguf"
    path.write_bytes(head + b"text")
    assert open_gguf(path).values == {"a": ["text"]}
    path.write_bytes(head + b"tex")
    with pytest.raises(InputError, match="the file is truncated"):
        open_gguf(path)
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        open_gguf(tmp_path / "missing.gguf", ModelUnavailable)


def test_end_of_turn_prefers_the_eot_token() -> None:
    values: dict[str, Any] = {"tokenizer.ggml.tokens": ["<end>", "<turn>"]}
    values["tokenizer.ggml.eos_token_id"] = 0
    assert GgufFile(Path(), values, {}).end_of_turn == "<end>"
    values["tokenizer.ggml.eot_token_id"] = 1
    assert GgufFile(Path(), values, {}).end_of_turn == "<turn>"
    assert GgufFile(Path(), {}, {}).end_of_turn is None
