"""Write and read the file that `encoder` loads: an ONNX graph of a network, with metadata.

The weights of linear layers and the embeddings of tokens and of their positions are stored as 8-bit
integers with a scale for each row. They take about a quarter of the space of 32-bit floats. When
onnxruntime runs the graph, it multiplies the integers by the scales, and computes with 32-bit
floats.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, load, numpy_helper, save

from skills.reader.encoder import INPUTS, OUTPUTS
from skills.reader.network import EPSILON, HEADS, LAYERS, Network

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

OPSET, CONTRIB = 20, "com.microsoft"
IR_VERSION = 9
"""`OPSET` and `IR_VERSION` are versions of ONNX that onnxruntime 1.17 and later can read."""
LIMIT = 127
"""The largest signed 8-bit integer."""


class _Graph:
    """The nodes and the weights of an ONNX graph that is being built.

    Each method adds weights or nodes, and returns the names of the weights or the name of the
    output.
    """

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.stored: list[Any] = []

    def constant(self, name: str, value: Any) -> str:
        self.stored.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, kind: str, *inputs: str, out: str = "", domain: str = "", **fields: Any) -> str:
        name = out or f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [*inputs], [name], domain=domain, **fields))
        return name

    def integers(self, name: str, rows: NDArray[Any]) -> tuple[str, str]:
        """Store a matrix as 8-bit integers and a scale for each row; return the names of both."""
        scale = np.maximum(np.abs(rows).max(1, keepdims=True), 1e-9) / LIMIT
        integers = np.round(rows / scale).astype(np.int8)
        return (
            self.constant(f"{name}.weight", integers),
            self.constant(f"{name}.scale", scale.astype(np.float32)),
        )

    def linear(self, x: str, name: str, out: str = "") -> str:
        integers, scale = self.integers(name, self.weights[f"{name}.weight"])
        rows = self.node("Mul", self.node("Cast", integers, to=TensorProto.FLOAT), scale)
        product = self.node("MatMul", x, self.node("Transpose", rows, perm=[1, 0]))
        bias = self.constant(f"{name}.bias", self.weights[f"{name}.bias"])
        return self.node("Add", product, bias, out=out)

    def normalized(self, x: str, name: str, epsilon: float) -> str:
        kinds = ("weight", "bias")
        own = [self.constant(f"{name}.{kind}", self.weights[f"{name}.{kind}"]) for kind in kinds]
        return self.node("LayerNormalization", x, *own, axis=-1, epsilon=epsilon)

    def block(self, x: str, name: str, epsilon: float) -> str:
        """Add a `network.Block` to the graph, and return the name of its output.

        Args:
            x: the name of the input of the block.
            name: the name of the block in `network.Network`.
        """
        parts = [self.linear(x, f"{name}.{part}") for part in ("query", "key", "value")]
        found = self.node("MultiHeadAttention", *parts, domain=CONTRIB, num_heads=HEADS)
        added = self.node("Add", self.linear(found, f"{name}.output"), x)
        x = self.normalized(added, f"{name}.attended", epsilon)
        grown = self.node("Gelu", self.linear(x, f"{name}.grow"))
        added = self.node("Add", self.linear(grown, f"{name}.shrink"), x)
        return self.normalized(added, f"{name}.done", epsilon)


def write(network: Network, tokenizer: str, about: Mapping[str, Any], path: Path) -> None:
    """Write a network to a file.

    Args:
        tokenizer: the tokenizer as JSON of the package `tokenizers`.
        about: the metadata: the keys that `encoder.Encoder` reads, and more keys for training and
            for people.
    """
    model = graph_of(network)
    for key, value in (("reader", json.dumps(about)), ("tokenizer", tokenizer)):
        model.metadata_props.add(key=key, value=value)
    save(model, str(path))


def graph_of(network: Network) -> ModelProto:
    """Return the ONNX graph of a network, for one abstract at a time."""
    weights = {name: one.detach().numpy() for name, one in network.state_dict().items()}
    graph = _Graph(weights)
    integers, scale = graph.integers("words", weights["words.weight"])
    words = graph.node("Cast", graph.node("Gather", integers, "tokens"), to=TensorProto.FLOAT)
    words = graph.node("Mul", words, graph.node("Gather", scale, "tokens"))
    count = graph.node("Shape", "tokens", start=1, end=2)
    zero = graph.constant("zero", np.zeros(1, np.int64))
    integers, scale = graph.integers("positions", weights["positions.weight"])
    every = graph.node("Mul", graph.node("Cast", integers, to=TensorProto.FLOAT), scale)
    x = graph.node("Add", words, graph.node("Slice", every, zero, count, zero))
    x = graph.normalized(x, "embedded", EPSILON)
    for number in range(LAYERS):
        x = graph.block(x, f"layers.{number}", EPSILON)
    graph.linear(x, "token", out="token")
    vectors = graph.normalized(graph.node("MatMul", "means", x), "mean", 1e-5)
    for place, name in enumerate(("begin", "end")):
        every = graph.constant(f"{name}.weight", weights[f"{name}.weight"])
        index = graph.constant(f"{name}.index", np.array(place, np.int64))
        places = graph.node("Gather", "places", index, axis=0)
        vectors = graph.node("Add", vectors, graph.node("Gather", every, places))
    vectors = graph.block(vectors, "over", 1e-5)
    graph.linear(vectors, "sentence", out="sentence")
    graph.linear(vectors, "part", out="part")
    whole = graph.node("ReduceMean", vectors, graph.constant("axis", np.array([1])), keepdims=0)
    graph.linear(whole, "unstated", out="unstated")
    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, "tokens"]),
        helper.make_tensor_value_info("means", TensorProto.FLOAT, [1, "sentences", "tokens"]),
        helper.make_tensor_value_info("places", TensorProto.INT64, [2, "sentences"]),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in OUTPUTS]
    assert tuple(one.name for one in inputs) == INPUTS
    made = helper.make_graph(graph.nodes, "reader", inputs, outputs, graph.stored)
    versions = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
    return helper.make_model(made, opset_imports=versions, ir_version=IR_VERSION)


def read(path: Path) -> tuple[Network, str, dict[str, Any]]:
    """Read a file for further training; return the network, the tokenizer and the metadata.

    The file lacks the weights for the roles of sentences, which are initialized randomly. The
    tokenizer is JSON of the package `tokenizers`.
    """
    model = load(str(path))
    stored = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    about = {one.key: one.value for one in model.metadata_props}
    found = json.loads(about["reader"])
    network = Network(len(found["moves"]))
    import torch

    state = network.state_dict()
    for name in state:
        if name.startswith("role."):
            continue
        own = stored[name].astype(np.float32)
        scale = stored.get(name.removesuffix("weight") + "scale") if own.ndim == 2 else None
        state[name] = torch.from_numpy(own if scale is None else own * scale)
    network.load_state_dict(state)
    return network, about["tokenizer"], found
