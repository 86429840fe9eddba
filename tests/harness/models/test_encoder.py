"""Vectors of the passages of a text, by the real engine."""

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize

from harness.errors import ModelUnavailable
from harness.models import encoder as encoder_module
from harness.models.encoder import Encoder
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


def test_each_passage_has_the_mean_and_the_last_vector(encoder: Encoder) -> None:
    found = encoder.vectors(PASSAGES)
    assert found.shape == (3, 2, 576)
    [one_token] = encoder.vectors(["Planners"[:1]])
    assert np.array_equal(one_token[0], one_token[1])
    assert not np.array_equal(found[1][0], found[1][1])


def test_vectors_depend_on_the_text_before_them(encoder: Encoder) -> None:
    found = encoder.vectors(PASSAGES)
    assert np.allclose(encoder.vectors(PASSAGES[:2]), found[:2], rtol=0.02, atol=0.02)
    other = encoder.vectors([PASSAGES[2], *PASSAGES[1:]])
    assert not np.allclose(other[1], found[1], rtol=0.02, atol=0.02)


def test_the_same_text_has_the_same_vectors(encoder: Encoder) -> None:
    before = encoder.vectors(PASSAGES)
    encoder.vectors(["Something else."])
    assert np.array_equal(encoder.vectors(PASSAGES), before)


def test_passages_beyond_the_context_have_no_vector(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_module, "CONTEXT", 5)
    found = encoder.vectors(PASSAGES)
    assert found[0].any()
    assert not found[2].any()
