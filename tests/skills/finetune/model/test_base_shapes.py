"""Headers and indexes of .safetensors files that are damaged, or made to mislead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InputError
from skills.finetune.model.base_shapes import read_header, read_weights


def stored(start: Any, end: Any, shape: Any = (2,)) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


def write(path: Path, header: bytes | dict[str, Any], data: int = 16) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(data))
    return path


def test_header_is_read(tmp_path: Path) -> None:
    header = {"b": stored(8, 16), "a": stored(0, 8), "__metadata__": {"format": "pt"}}
    path = write(tmp_path / "model.safetensors", header)
    assert read_header(path) == {"a": ("F32", (2,)), "b": ("F32", (2,))}
    assert set(read_weights(tmp_path).tensors) == {"a", "b"}


@pytest.mark.parametrize(
    "header",
    [
        {"a": stored(0, 12), "b": stored(8, 16)},
        {"a": stored(0, 4), "b": stored(8, 16)},
        {"a": stored(0, 8)},
        {"a": stored(0, 1 << 62)},
        {"a": stored(-8, 16)},
        {"a": stored(0, "16")},
        {"a": stored(0, 16, ["4"])},
        {"a": {}},
        b"[]",
        b"[" * 100_000,
        b"{",
    ],
)
def test_misleading_header_is_refused(tmp_path: Path, header: bytes | dict[str, Any]) -> None:
    write(tmp_path / "model.safetensors", header)
    with pytest.raises(InputError, match=r"model.safetensors: is damaged or truncated"):
        read_weights(tmp_path)


def test_long_header_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write((8 << 30).to_bytes(8, "little"))
        file.truncate(9 << 30)
    with pytest.raises(InputError, match=r"(?i)header.*too large"):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    "index",
    [
        '{"weight_map": {"a": "../other/model.safetensors"}}',
        '{"weight_map": {"a": "/etc/passwd"}}',
        '{"weight_map": {"a": 1}}',
        '{"weight_map": {"a": {}}}',
        '{"weight_map": []}',
        "[]",
        "[" * 100_000,
    ],
)
def test_index_names_only_files_beside_it(tmp_path: Path, index: str) -> None:
    for folder in ("model", "other"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "model.safetensors", {"a": stored(0, 16)})
    (tmp_path / "model" / "model.safetensors.index.json").write_text(index)
    with pytest.raises(InputError, match="is damaged or truncated"):
        read_weights(tmp_path / "model")


def test_the_error_of_an_index_quotes_the_name_of_the_file(tmp_path: Path) -> None:
    index = '{"weight_map": {"a": "../other/model.safetensors"}}'
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(
        InputError, match=r"'\.\./other/model\.safetensors' is not the name of a file"
    ):
        read_weights(tmp_path)
