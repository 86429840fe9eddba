"""Merging an adapter into its base, and the cached file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize
from lora_gguf import ALPHA, CHANGED, RANK, write_adapter
from pydantic import ValidationError

from harness.errors import ModelUnavailable
from harness.models import gguf_file
from harness.models.backend import Message, Model, Request
from harness.models.backends.llamacpp import LlamaCppBackend
from harness.models.registry import FileEntry, ServeEntry
from harness.models.weights import FileStore


def base_of(model_files: FileStore) -> Path:
    return model_files.ensure("smollm2-135m-instruct")


class Kept:
    """A store of the real base and an adapter, with its own cache."""

    def __init__(self, base: Path, adapter: Path, folder: Path) -> None:
        self.said: list[str] = []
        self.cache = folder / "cache"
        entries = {"base": FileEntry(path=str(base)), "lora": FileEntry(path=str(adapter))}
        self.files = FileStore(entries, self.cache, self.said.append)

    def left(self) -> list[str]:
        return sorted(p.name for p in (self.cache / "models").iterdir() if p.suffix != ".lock")


@pytest.fixture(scope="module")
def kept(model_files: FileStore, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("merged")
    return Kept(base_of(model_files), write_adapter(folder / "lora.gguf"), folder)


@pytest.fixture(scope="module")
def merged(kept: Kept) -> Path:
    return kept.files.merged("base", "lora")


def tensors(path: Path) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


def test_matrices_are_the_sum_within_q8_0(merged: Path, kept: Kept, model_files: FileStore) -> None:
    before, after = tensors(base_of(model_files)), tensors(merged)
    adapter = tensors(kept.files.path("lora"))
    assert list(after) == list(before)
    for name in (*CHANGED, "blk.29.attn_k.weight", "blk.29.ffn_up.weight", "output_norm.weight"):
        tensor = before[name]
        wanted = dequantize(tensor.data, tensor.tensor_type)
        if name in CHANGED:
            a, b = (adapter[f"{name}.lora_{half}"].data.astype(np.float64) for half in "ab")
            change = ALPHA / RANK * b @ a
            assert np.abs(change).max() > 0.1
            wanted = wanted + change
        found = dequantize(after[name].data, after[name].tensor_type)
        if wanted.ndim == 1:
            assert np.array_equal(found, wanted)
            continue
        assert after[name].tensor_type == gguf.GGMLQuantizationType.Q8_0
        # The largest weight of a block is 127 steps. The error is at most half of a step, and a
        # little more since the scale of the block is rounded to float16.
        blocks = wanted.reshape(-1, gguf_file.BLOCK)
        step = np.abs(blocks).max(axis=1, keepdims=True) / 127
        assert np.all(np.abs(found.reshape(blocks.shape) - blocks) <= step * 0.57 + 1e-7), name


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_adapter_types_are_read(tmp_path: Path, kind: str) -> None:
    """The types that llama.cpp's converter can write."""
    whole = gguf_file.lora_pairs(write_adapter(tmp_path / "whole.gguf"))
    kept_as = gguf.GGMLQuantizationType[kind]
    found = gguf_file.lora_pairs(write_adapter(tmp_path / "lora.gguf", kind=kept_as))
    assert found.keys() == whole.keys() == CHANGED.keys()
    for name, pair in found.items():
        assert pair.scale == ALPHA / RANK
        assert np.allclose(pair.a, whole[name].a, atol=1e-2)
        assert np.allclose(pair.b, whole[name].b, atol=1e-3)


def test_rest_of_the_base_is_unchanged(merged: Path, model_files: FileStore) -> None:
    before, after = (gguf.GGUFReader(path).fields for path in (base_of(model_files), merged))
    assert after.keys() == before.keys()
    changed = [n for n, field in before.items() if field.contents() != after[n].contents()]
    assert changed == ["general.file_type"]
    assert after["general.file_type"].contents() == gguf.LlamaFileType.MOSTLY_Q8_0


class Raw(gguf.GGUFWriter):
    """A writer that also writes empty lists, as other programs do."""

    def add_empty_list(self, name: str) -> None:
        self.add_key_value(name, [], gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.STRING)

    def _pack_val(self, val: Any, vtype: Any, add_vtype: bool, sub_type: Any = None) -> bytes:
        if vtype == gguf.GGUFValueType.ARRAY and not val:
            head = self._pack("I", vtype) if add_vtype else b""
            return head + self._pack("I", gguf.GGUFValueType.STRING) + self._pack("Q", 0)
        return super()._pack_val(val, vtype, add_vtype, sub_type)


def write_base(path: Path, *, alignment: int, kind: np.dtype[Any]) -> Path:
    writer = Raw(path, "llama")
    writer.add_custom_alignment(alignment)
    writer.add_empty_list("tokenizer.ggml.merges")
    for name, shape in (("norm", (8,)), ("blk.0.attn_q.weight", (3, 32)), ("last", (8,))):
        writer.add_tensor(name, np.ones(shape, kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("alignment", [16, 32, 64, 128])
def test_other_alignment_and_empty_list(tmp_path: Path, alignment: int) -> None:
    base = write_base(tmp_path / "base.gguf", alignment=alignment, kind=np.dtype(np.float32))
    lora = write_adapter(tmp_path / "lora.gguf", {"blk.0.attn_q.weight": (32, 3)})
    gguf_file.merge_adapter(base, lora, tmp_path / "merged.gguf")
    found = tensors(tmp_path / "merged.gguf")
    assert gguf.GGUFReader(tmp_path / "merged.gguf").alignment == alignment
    for name in ("norm", "last"):
        assert np.array_equal(found[name].data, np.ones(8, np.float32))


def test_unsupported_base_is_not_merged(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf", alignment=32, kind=np.dtype(np.int32))
    lora = write_adapter(tmp_path / "lora.gguf", {"blk.0.attn_q.weight": (32, 3)})
    with pytest.raises(ModelUnavailable, match="cannot be converted"):
        gguf_file.merge_adapter(base, lora, tmp_path / "merged.gguf")


@pytest.fixture(scope="module")
def both(kept: Kept, merged: Path) -> Iterator[tuple[Model, Model]]:
    """Base and adapter, and both in one."""
    places = [
        ServeEntry(backend="llamacpp", gguf="base", adapter="lora", merge=merge, context=512)
        for merge in (False, True)
    ]
    apart, one = (LlamaCppBackend(kept.files).load(place) for place in places)
    yield apart, one
    apart.close()
    one.close()


@pytest.mark.model
def test_engine_gives_the_same_answer_as_unmerged(
    both: tuple[Model, Model], embedded: Model
) -> None:
    request = Request((Message("user", "Name three colours."),), max_tokens=1, top_logprobs=5)
    apart, one, base = (
        dict(model.generate(request).logprobs[0].items()) for model in (*both, embedded)
    )
    assert max(apart, key=apart.__getitem__) == max(one, key=one.__getitem__)
    shared = apart.keys() & one.keys()
    assert len(shared) >= 4
    assert max(abs(apart[token] - one[token]) for token in shared) < 0.5
    assert apart != base


def test_digests_of_all_three_files(both: tuple[Model, Model], kept: Kept, merged: Path) -> None:
    apart, one = both
    assert dict(one.digests) == {**apart.digests, "merged": kept.files.digest_of(merged)}


def test_merged_once_with_a_notice(kept: Kept, merged: Path) -> None:
    made = merged.stat().st_mtime_ns
    assert kept.files.merged("base", "lora") == merged
    assert merged.stat().st_mtime_ns == made
    assert kept.said == ["merging lora into base, once"]
    assert kept.left() == [merged.name, f"{merged.name}.sha256"]


@pytest.mark.parametrize("damage", ["truncated", "changed", "digest", "no digest"])
def test_a_damaged_merge_is_made_again(tmp_path: Path, damage: str) -> None:
    shapes = {"blk.0.attn_q.weight": (32, 3)}
    lora = write_adapter(tmp_path / "lora.gguf", shapes)
    kept = Kept(
        write_base(tmp_path / "base.gguf", alignment=32, kind=np.dtype("f4")), lora, tmp_path
    )
    made = kept.files.merged("base", "lora")
    sound, beside = made.read_bytes(), made.with_name(f"{made.name}.sha256")
    if damage == "truncated":
        made.write_bytes(sound[:-9])
    elif damage == "changed":
        made.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    elif damage == "digest":
        beside.write_text("0" * 64)
    else:
        beside.unlink()
    assert kept.files.merged("base", "lora").read_bytes() == sound
    again = f"merging lora into base again, since {made.name} does not match its digest"
    assert kept.said == ["merging lora into base, once", again]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"blk.0.attn_q.weight": (640, 576)}, r"blk\.0\.attn_q\.weight of \(640, 576\)"),
        ({"blk.99.attn_q.weight": (576, 576)}, r"blk\.99\.attn_q\.weight .* has none"),
    ],
)
def test_adapter_of_another_base_is_refused(
    model_files: FileStore,
    tmp_path: Path,
    shapes: dict[str, tuple[int, int]],
    message: str,
) -> None:
    adapter = write_adapter(tmp_path / "other.gguf", shapes)
    other = Kept(base_of(model_files), adapter, tmp_path)
    with pytest.raises(ModelUnavailable, match=message) as caught:
        other.files.merged("base", "lora")
    assert "other.gguf" in str(caught.value)
    assert caught.value.exit_code == 3
    assert other.left() == []


def test_file_that_is_not_an_adapter_is_refused(model_files: FileStore, tmp_path: Path) -> None:
    base = base_of(model_files)
    with pytest.raises(ModelUnavailable, match="not a LoRA adapter"):
        Kept(base, base, tmp_path).files.merged("base", "lora")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no GGUF at all, but long enough for a header")
    with pytest.raises(ModelUnavailable, match="cannot be read as GGUF"):
        Kept(base, broken, tmp_path).files.merged("base", "lora")


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_full_disk_makes_the_model_unavailable(
    model_files: FileStore, kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf.GGUFWriter, "write_tensor_data", full)
    other = Kept(base_of(model_files), kept.files.path("lora"), tmp_path)
    with pytest.raises(ModelUnavailable, match="No space left on device") as caught:
        other.files.merged("base", "lora")
    assert "HARNESS_CACHE" in str(caught.value.hint)
    assert other.left() == []


def test_adapter_is_used_if_merging_fails(
    model_files: FileStore, kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf.GGUFWriter, "write_tensor_data", full)
    other = Kept(base_of(model_files), kept.files.path("lora"), tmp_path)
    place = ServeEntry(backend="llamacpp", gguf="base", adapter="lora", merge=True, context=512)
    model = LlamaCppBackend(other.files).load(place)
    assert set(model.digests) == {"gguf", "adapter"}
    model.close()
    assert "base + lora: not merged, which is slower" in other.said[-1]
    assert "No space left on device" in other.said[-1]


def test_merge_without_an_adapter_is_refused() -> None:
    with pytest.raises(ValidationError, match="`merge` needs a gguf file and an adapter"):
        ServeEntry(backend="llamacpp", gguf="base", merge=True)
