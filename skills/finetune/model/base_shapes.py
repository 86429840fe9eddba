"""Read the shapes of a base, and the types and shapes of tensors, without reading the weights.

The published shapes of the bases that are most often used are listed here, so that a run can be
planned before gigabytes are downloaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, ValidationError

from harness.errors import InputError, UsageError, first_error
from harness.models.gguf_file import open_gguf
from harness.support.bounded_files import MAX_JSON_BYTES, read_bytes

PUBLISHED = "the published config, the weights are not here"
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""The supported model types of transformers, and the supported architectures of a GGUF."""
FLOATS = frozenset({"BF16", "F16", "F32"})
"""The types of weights into which an adapter can be merged."""
PACKED = frozenset({"U8", "I8", "F8_E4M3", "F8_E5M2"})
"""The types of quantized weights."""
AS_SAVED = "A base is a folder as transformers saves a model, with its weights as .safetensors."
_KEYS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "vocab_size",
    "tie_word_embeddings",
)
_PUBLISHED: tuple[tuple[Any, ...], ...] = (
    ("Qwen/Qwen2.5-0.5B", 896, 24, 14, 2, 4864, 151936, True),
    ("Qwen/Qwen2.5-1.5B", 1536, 28, 12, 2, 8960, 151936, True),
    ("Qwen/Qwen2.5-3B", 2048, 36, 16, 2, 11008, 151936, True),
    ("Qwen/Qwen2.5-7B", 3584, 28, 28, 4, 18944, 152064, False),
    ("Qwen/Qwen2.5-14B", 5120, 48, 40, 8, 13824, 152064, False),
    ("Qwen/Qwen2.5-32B", 5120, 64, 40, 8, 27648, 152064, False),
    ("HuggingFaceTB/SmolLM2-135M", 576, 30, 9, 3, 1536, 49152, True),
    ("HuggingFaceTB/SmolLM2-360M", 960, 32, 15, 5, 2560, 49152, True),
    ("HuggingFaceTB/SmolLM2-1.7B", 2048, 24, 32, 32, 8192, 49152, True),
)
"""For each base on the Hub: its name, and the values of `_KEYS` in its config.json."""


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """The shapes of a decoder of the Llama family (Llama, Qwen2, Qwen3, Mistral, SmolLM2).

    Attributes:
        hidden: width of the residual stream.
        layers: number of decoder layers.
        heads, kv_heads: number of query heads, and of key and value heads (grouped-query
            attention).
        head_dim: width of a head; heads x head_dim is usually `hidden`.
        intermediate: width inside the MLP.
        vocab: number of rows of the embedding, including padding rows.
        tied: True if the output layer is the embedding.
        parameters: the total number of parameters, with a tied matrix counted once.
        source: the source of the numbers in words; `PUBLISHED` if no file of the base was read.
    """

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied: bool
    parameters: int
    source: str

    @property
    def linear(self) -> Mapping[str, tuple[int, int]]:
        """The shape (inputs, outputs) of each linear layer in a decoder layer, by name."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (self.hidden, queries),
            "k_proj": (self.hidden, keys),
            "v_proj": (self.hidden, keys),
            "o_proj": (queries, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def linear_parameters(self) -> int:
        """The number of weights in the linear layers of all decoder layers, without biases."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linear.values())

    @property
    def layer_shapes(self) -> Mapping[str, tuple[int, int]]:
        """The shape (outputs, inputs) of each linear layer, by its name in transformers."""
        return {
            f"model.layers.{number}.{'self_attn' if name[1:] == '_proj' else 'mlp'}.{name}": (
                outputs,
                inputs,
            )
            for number in range(self.layers)
            for name, (inputs, outputs) in self.linear.items()
        }

    def targets(self, named: str | tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of the linear layers that get an adapter; "all-linear" selects all.

        Raises:
            UsageError: a name in `named` is not a linear layer of the base.
        """
        if named == "all-linear":
            return tuple(self.linear)
        for name in named:
            if name not in self.linear:
                raise UsageError(
                    f"adapter.targets: {self.name} does not have a layer {name!r}",
                    hint=f"The layers are {', '.join(self.linear)}; all-linear selects all layers.",
                )
        return tuple(dict.fromkeys(named))


def shapes_of_config(config: Mapping[str, Any], name: str, source: str, where: str) -> BaseFacts:
    """Return the shapes of a base, computed from its config.json.

    The number of parameters follows the Llama architecture in transformers: an embedding, layers, a
    final norm, and an output layer unless it is the embedding. Each layer has seven matrices, their
    biases if any, and two norms. A layer of Qwen3 has two more norms, over the width of a head.

    Args:
        name, source: the values of these fields of `BaseFacts`.
        where: the file that an error names.

    Raises:
        InputError: a required number is missing or invalid.
    """
    try:
        hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        layers, vocab = int(config["num_hidden_layers"]), int(config["vocab_size"])
        intermediate = int(config["intermediate_size"])
        kv_heads = int(config.get("num_key_value_heads") or heads)
        head_dim = int(config.get("head_dim") or hidden // heads)
    except (ArithmeticError, KeyError, TypeError, ValueError) as exc:
        raise InputError(f"a number is missing or invalid: {exc}", where=where) from exc
    queries, keys = heads * head_dim, kv_heads * head_dim
    layer = 2 * hidden * (queries + keys) + 3 * hidden * intermediate + 2 * hidden
    if config["model_type"] == "qwen2":  # qwen2 always has biases of queries, keys and values
        layer += queries + 2 * keys
    elif config.get("attention_bias"):
        layer += queries + 2 * keys + hidden
    if config.get("mlp_bias"):
        layer += 2 * intermediate + hidden
    if config["model_type"] == "qwen3":
        layer += 2 * head_dim
    tied = bool(config.get("tie_word_embeddings", False))  # False is the default in all `FAMILIES`
    parameters = layers * layer + hidden + vocab * hidden * (1 if tied else 2)
    sizes = (hidden, layers, heads, kv_heads, head_dim, intermediate, vocab)
    return BaseFacts(name, *sizes, tied, parameters, source)


def shapes_of_gguf(path: Path, name: str, source: str) -> BaseFacts:
    """Return the shapes of a base, computed from the metadata of a GGUF.

    Raises:
        InputError: the file is not the GGUF of a model that can be a base.
    """
    gguf = open_gguf(path)
    if gguf.is_adapter:
        raise InputError("is an adapter, not a model", where=str(path))
    architecture = gguf.values.get("general.architecture")
    check_family(architecture, path)
    keys = {
        "hidden_size": "embedding_length",
        "num_hidden_layers": "block_count",
        "num_attention_heads": "attention.head_count",
        "num_key_value_heads": "attention.head_count_kv",
        "head_dim": "attention.key_length",
        "intermediate_size": "feed_forward_length",
    }
    tensors = {tensor.name for tensor in gguf.tensors}
    config = {key: gguf.values.get(f"{architecture}.{value}") for key, value in keys.items()}
    config |= {
        "model_type": architecture,
        "vocab_size": len(gguf.values.get("tokenizer.ggml.tokens", ())),
        "tie_word_embeddings": "output.weight" not in tensors,
        "attention_bias": "blk.0.attn_q.bias" in tensors,
    }
    return shapes_of_config(config, name, source, str(path))


def check_family(found: object, where: Path) -> None:
    """Raise InputError if the model type `found` is not one of `FAMILIES`."""
    if found not in FAMILIES:
        raise InputError(
            f"is a model of the type {found!r}, which cannot be a base",
            where=str(where),
            hint=f"Supported types are {', '.join(FAMILIES)}.",
        )


def published(base: str) -> BaseFacts | None:
    """Return the shapes of a base, or None if this module does not list the base.

    `base` is "Owner/Name", or only the name; a model and its "-Instruct" version have the same
    shapes.
    """
    owner, _, name = base.rpartition("/")
    name = name.casefold().removesuffix("-instruct")
    for facts in all_published():
        its_owner, _, its_name = facts.name.partition("/")
        if name == its_name.casefold().removesuffix("-instruct"):
            return facts if owner in ("", its_owner) else None
    return None


def all_published() -> tuple[BaseFacts, ...]:
    """Return the shapes of all bases that this module lists, the largest first."""
    found = []
    for name, *values in _PUBLISHED:
        config = {
            **dict(zip(_KEYS, values, strict=True)),
            "model_type": "qwen2" if name[:4] == "Qwen" else "llama",
        }
        found.append(shapes_of_config(config, f"{name}-Instruct", PUBLISHED, name))
    return tuple(sorted(found, key=lambda facts: -facts.parameters))


class Stored(NamedTuple):
    """The type and shape of a tensor in a file."""

    dtype: str
    shape: tuple[int, ...]


def _file_name(name: str) -> str:
    if not name or "/" in name or "\\" in name:
        raise ValueError(f"{name!r} is not the name of a file")
    return name


class _Index(BaseModel):
    """The contents of model.safetensors.index.json: for each tensor, a file in the same folder."""

    weight_map: dict[str, Annotated[str, AfterValidator(_file_name)]]


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors in a model folder, by name, and their files."""

    files: tuple[Path, ...]
    tensors: Mapping[str, Stored]

    @property
    def size(self) -> int:
        """The size of the files in bytes."""
        return sum(path.stat().st_size for path in self.files)

    @property
    def count(self) -> int:
        """The number of weights."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())


def read_weights(folder: Path, hint: str = AS_SAVED) -> Weights:
    """Return the weight files of a model that transformers saved, and their tensors.

    Only the headers of the files are read.

    Args:
        hint: the hint of the error for a missing or damaged file.

    Raises:
        InputError: a file is missing, damaged or truncated.
    """
    names = {"model.safetensors"}
    path = index = folder / "model.safetensors.index.json"
    tensors: dict[str, Stored] = {}
    try:
        if index.is_file():
            text = read_bytes(index, MAX_JSON_BYTES)
            names = set(_Index.model_validate_json(text).weight_map.values())
        for name in sorted(names):
            path = folder / name
            if not path.is_file():
                raise InputError(f"has no {name}", where=str(folder), hint=hint)
            tensors |= read_header(path)
    except (OSError, ValueError) as exc:
        reason = first_error(exc) if isinstance(exc, ValidationError) else exc
        raise InputError(f"is damaged or truncated ({reason})", where=str(path), hint=hint) from exc
    return Weights(tuple(folder / name for name in sorted(names)), tensors)


def read_header(path: Path) -> dict[str, Stored]:
    """Return the type and the shape of each tensor in a .safetensors file, by tensor name.

    Raises:
        ValueError: the file is damaged or truncated.
        OSError: the file cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as exc:
        raise ValueError(str(exc)) from exc
    return {name: Stored(one.get_dtype(), tuple(one.get_shape())) for name, one in slices.items()}
