"""Vectors of the passages of a text, by the real engine."""

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize

from harness.errors import ModelUnavailable
from harness.models import encoder as encoder_module
from harness.models.encoder import Encoder, visible_bytes
from harness.models.gguf_layers import write_first_layers
from harness.models.weights import FileStore

BASE = "smollm2-135m-instruct"
PASSAGES = ["Planners wait.", "We present Tortoise, which halts.", "It is slow."]


@pytest.fixture(scope="module")
def layers(model_files: FileStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("layers") / "two.gguf"
    write_first_layers(model_files.ensure(BASE), 2, target)
    return target


@pytest.fixture(scope="module")
def encoder(layers: Path) -> Iterator[Encoder]:
    running = Encoder(layers)
    yield running
    running.close()


def test_the_first_layers_are_those_of_the_model(layers: Path, model_files: FileStore) -> None:
    read = gguf.GGUFReader(layers), gguf.GGUFReader(model_files.ensure(BASE))
    own, all_ = ({tensor.name: tensor for tensor in one.tensors} for one in read)
    numbers = {name.split(".")[1] for name in own if name.startswith("blk.")}
    assert numbers == {"0", "1"}
    assert {"token_embd.weight", "output_norm.weight"} < own.keys() < all_.keys()
    for name in ("blk.1.ffn_up.weight", "output_norm.weight"):
        weights = [dequantize(one[name].data, one[name].tensor_type) for one in (own, all_)]
        assert np.allclose(*weights, atol=np.abs(weights[1]).max() / 100), name


def test_a_model_with_fewer_layers_is_refused(layers: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="fewer than 3 layers"):
        write_first_layers(layers, 3, tmp_path / "three.gguf")


def test_an_adapter_is_merged_into_the_layers(
    layers: Path, model_files: FileStore, tmp_path: Path
) -> None:
    adapter, target = tmp_path / "adapter.gguf", tmp_path / "tuned.gguf"
    name = "blk.1.ffn_up.weight"
    writer = gguf.GGUFWriter(adapter, "llama")
    writer.add_type("adapter")
    writer.add_float32("adapter.lora.alpha", 2)
    a, b = np.zeros((1, 576), np.float32), np.zeros((1536, 1), np.float32)
    a[0, 5], b[7, 0] = 0.5, 1.0
    writer.add_tensor(f"{name}.lora_a", a)
    writer.add_tensor(f"{name}.lora_b", b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_first_layers(model_files.ensure(BASE), 2, target, adapter)
    read = gguf.GGUFReader(target), gguf.GGUFReader(layers)
    tuned, own = (next(one for one in file.tensors if one.name == name) for file in read)
    change = dequantize(tuned.data, tuned.tensor_type) - dequantize(own.data, own.tensor_type)
    assert change[7, 5] == pytest.approx(1.0, abs=0.02), "alpha / r times b a"
    change[7] = 0
    assert not change.any()


def test_an_adapter_of_another_model_is_refused(model_files: FileStore, tmp_path: Path) -> None:
    base = model_files.ensure(BASE)
    with pytest.raises(ModelUnavailable, match="not a LoRA adapter"):
        write_first_layers(base, 2, tmp_path / "two.gguf", base)


def test_a_passage_has_the_mean_and_the_last_of_its_tokens(encoder: Encoder) -> None:
    found = encoder.encode(PASSAGES)
    assert found.ends[-1] == visible_bytes(" ".join(PASSAGES))
    bounds = [(0, visible_bytes(PASSAGES[0])), (0, found.ends[0])]
    first, one_token = found.vectors(bounds)
    count = int(np.searchsorted(found.ends, bounds[0][1])) + 1
    assert np.allclose(first[:576], found.tokens[:count].mean(axis=0), rtol=1e-4, atol=1e-4)
    assert np.array_equal(first[576:], found.tokens[count - 1])
    assert np.allclose(one_token[:576], one_token[576:])
    whole = found.vectors([(0, int(found.ends[-1]))])[0]
    assert np.allclose(found.whole(), whole, rtol=1e-4, atol=1e-4)


def test_characters_of_several_tokens_are_counted_once(encoder: Encoder) -> None:
    text = "Bäume 我们提出 \U0001f41d sting."
    found = encoder.encode([text])
    assert found.ends[-1] == len("Bäume我们提出\U0001f41dsting.".encode())
    assert (np.diff(found.ends) >= 0).all()


def test_vectors_depend_on_the_text_before_them(encoder: Encoder) -> None:
    found, part = encoder.encode(PASSAGES).tokens, encoder.encode(PASSAGES[:2]).tokens
    assert np.allclose(part, found[: len(part)], rtol=0.02, atol=0.02)
    other = encoder.encode([PASSAGES[2], *PASSAGES[1:]]).tokens
    assert not np.allclose(other[-1], found[-1], rtol=0.02, atol=0.02)


def test_the_same_text_has_the_same_vectors(encoder: Encoder) -> None:
    before = encoder.encode(PASSAGES).tokens
    encoder.encode(["Something else."])
    assert np.array_equal(encoder.encode(PASSAGES).tokens, before)


def test_tokens_beyond_the_context_have_no_vector(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_module, "CONTEXT", 5)
    found = encoder.encode(PASSAGES)
    assert found.tokens[4].any()
    assert not found.tokens[5:].any()
    assert len(found.tokens) == len(found.ends)
