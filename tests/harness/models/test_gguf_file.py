"""Reading GGUF files: metadata and tensors as the `gguf` package reads them."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import pytest
from repository import ROOT
from tiny_gguf import write_adapter, write_model

from harness.errors import HarnessError, InputError, ModelUnavailable
from harness.models import gguf_file
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


def test_a_negative_id_is_the_id_of_no_token() -> None:
    values = {"tokenizer.ggml.tokens": ["<a>", "<b>"], "tokenizer.ggml.eos_token_id": -1}
    assert GgufFile(Path(), values, {}).end_of_turn is None


UINT8, UINT32, TEXT, ARRAY = 0, 4, 8, 9
F32, Q8_0 = 0, 8
GB = 1 << 30
SPACE = 4 * GB
"""Additional memory that the process may allocate here."""


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


def u64(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def text(value: bytes) -> bytes:
    return u64(len(value)) + value


def key(name: bytes, kind: int, value: bytes) -> bytes:
    return text(name) + u32(kind) + value


def array(kind: int, count: int) -> bytes:
    return key(b"a", ARRAY, u32(kind) + u64(count))


def tensor(dims: tuple[int, ...], kind: int = F32, offset: int = 0, name: bytes = b"t") -> bytes:
    return text(name) + u32(len(dims)) + u64(*dims) + u32(kind) + u64(offset)


def head(tensors: int, keys: int) -> bytes:
    return b"GGUF" + u32(3) + u64(tensors, keys)


LLAMA = key(b"general.architecture", TEXT, text(b"llama"))
ONE = head(1, 1) + LLAMA
"""The beginning of a file with one tensor."""
MANY = b"".join(tensor((1000,), name=b"t%d" % number) for number in range(9))
FILES = {
    "keys": (head(0, 1 << 60) + LLAMA, "it has 1,152,921,504,606,846,976 keys"),
    "tensors": (head(1 << 60, 1) + LLAMA, "it has 1,152,921,504,606,846,976 tensors"),
    "length of a name": (head(0, 1) + u64((1 << 64) - 1), "the file is truncated"),
    "length of a text": (head(0, 1) + key(b"a", TEXT, u64(1 << 62)), "the file is truncated"),
    "array of bytes": (head(0, 1) + array(UINT8, 1 << 62), "the file is truncated"),
    "array of texts": (head(0, 1) + array(TEXT, 1 << 62), "the file is truncated"),
    "array of arrays": (head(0, 1) + array(ARRAY, 1 << 62), "it has an array of arrays"),
    "type of a value": (head(0, 1) + key(b"a", 77, b""), "77"),
    "no UTF-8": (head(0, 1) + key(b"\xff", UINT32, u32(1)), "utf-8"),
    "twice a key": (head(0, 2) + LLAMA + LLAMA, "Duplicate general.architecture"),
    "kind of a key": (
        head(0, 1) + key(b"general.architecture", UINT32, u32(1)),
        "general.architecture is '1'",
    ),
    "kind of a token": (
        head(0, 1) + key(b"tokenizer.ggml.eos_token_id", TEXT, text(b"x")),
        "tokenizer.ggml.eos_token_id is 'x'",
    ),
    "alignment of 0": (
        head(0, 1) + key(b"general.alignment", UINT32, u32(0)),
        "Invalid alignment",
    ),
    "alignment of 2 GB": (
        head(1, 1) + key(b"general.alignment", UINT32, u32(1 << 31)) + tensor((4,)),
        "the file is truncated",
    ),
    "tensor beyond the file": (ONE + tensor((1 << 20,)), "the file is truncated"),
    "offset beyond the file": (ONE + tensor((4,), offset=1 << 62), "the file is truncated"),
    "offset that overflows": (ONE + tensor((4,), offset=(1 << 64) - 32), "overflow"),
    "shape that overflows": (ONE + tensor((1 << 32, 1 << 32)), "cannot reshape"),
    "number of dimensions": (ONE + text(b"t") + u32((1 << 32) - 1), "the file is truncated"),
    "dimensions": (ONE + tensor((1,) * 65), "dimension"),
    "type of a tensor": (ONE + tensor((4,), kind=200), "200"),
    "part of a block": (ONE + tensor((5,), kind=Q8_0), "not a multiple"),
    "tensors on each other": (head(9, 1) + LLAMA + MANY, "its tensors are larger than the file"),
}
SPARSE = {
    "keys": (head(0, 1 << 40), "it has 1,099,511,627,776 keys"),
    "text": (head(0, 1) + key(b"a", TEXT, u64(8 * GB)), "its metadata is longer than 64 MB"),
    "bytes": (head(0, 1) + array(UINT8, 8 * GB), "its metadata is longer than 64 MB"),
    "texts": (head(0, 1) + array(TEXT, GB), "its metadata is longer than 64 MB"),
}


@pytest.fixture
def little_memory() -> Iterator[None]:
    """A limit that a file of 9 GB in memory exceeds; mapped files do not count."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (SPACE, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


@pytest.mark.parametrize("name", FILES)
def test_hostile_file_is_refused(tmp_path: Path, name: str) -> None:
    content, message = FILES[name]
    path = tmp_path / "m.gguf"
    path.write_bytes(content + bytes(4096))
    with pytest.raises(HarnessError, match=f"cannot be read as GGUF: .*{message}"):
        open_gguf(path)


@pytest.mark.parametrize("name", SPARSE)
def test_sparse_file_is_not_read(tmp_path: Path, name: str, little_memory: None) -> None:
    content, message = SPARSE[name]
    with (tmp_path / "m.gguf").open("wb") as file:
        file.write(content)
        file.truncate(9 * GB)
    with pytest.raises(HarnessError, match=message):
        open_gguf(tmp_path / "m.gguf")


def test_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.gguf")
    with pytest.raises(HarnessError, match="it is not a regular file"):
        open_gguf(tmp_path / "m.gguf")


LOAD = """
import sys
from pathlib import Path
from harness.errors import ModelUnavailable
from harness.models.backends import llamacpp as engine
for path in map(Path, sys.argv[1:]):
    try:
        engine.start({"gguf": path}, 512)
    except ModelUnavailable as exc:
        print(path.stem, exc.message, flush=True)
"""


def test_engine_refuses_them_too(tmp_path: Path) -> None:
    """In a process of its own: llama.cpp reads the files, and may damage its memory."""
    paths = [tmp_path / f"{number}.gguf" for number in range(len(FILES))]
    for path, (content, _) in zip(paths, FILES.values(), strict=True):
        path.write_bytes(content + bytes(4096))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *paths], capture_output=True, text=True, cwd=ROOT, check=True
    )
    lines = [line for line in done.stdout.splitlines() if "the engine cannot load" in line]
    assert [line.split()[0] for line in lines] == [path.stem for path in paths]


def test_base_without_architecture_is_not_merged(tmp_path: Path) -> None:
    alpha = key(b"adapter.lora.alpha", 6, struct.pack("<f", 1.0))
    for name, content in (("base", head(0, 0)), ("lora", head(0, 1) + alpha)):
        (tmp_path / name).write_bytes(content + bytes(64))
    with pytest.raises(ModelUnavailable, match="names no architecture"):
        gguf_file.merge_adapter(tmp_path / "base", tmp_path / "lora", tmp_path / "out")
