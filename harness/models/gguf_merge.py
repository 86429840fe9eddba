"""Merge a LoRA adapter into its base once: one GGUF is served faster than two.

    W' = W + (alpha / r) B A        for each weight W with a pair in the adapter (Hu et al. 2021)

Both files are llama.cpp's, so the sum is the one its engine would compute from base and adapter
(the rows of query and key are permuted in both). It is computed in float32. All matrices are
written as Q8_0, which has faster kernels on a CPU than smaller types and is close enough to the sum
that the text hardly changes. Neither torch nor the finetune extra is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import ModelUnavailable
from harness.models import gguf_q8
from harness.models.gguf_file import GgufFile, open_gguf

VERSION = 1
"""Version of the output format: files of another version are merged again."""


class Pair(NamedTuple):
    """The matrices of an adapter for one weight: A of r x in, B of out x r, and alpha / r."""

    a: Any
    b: Any
    scale: float

    def added_to(self, weights: Any) -> Any:
        """Return the weights of the base with the adapter's change."""
        return weights + self.scale * (self.b @ self.a)


def merge(
    base: Path, adapter: Path, target: Path, tick: Callable[[str], None] = lambda _: None
) -> None:
    """Write the merged model to `target`, which may be incomplete if this raises.

    Args:
        tick: receives the progress, "40%".

    Raises:
        ModelUnavailable: a file is not a GGUF, the adapter does not fit the base, or the base has
            a tensor type that cannot be converted.
        OSError: the file cannot be written.
    """
    model = open_gguf(base, ModelUnavailable)
    gguf_q8.write(model, target, changes=changes(model, adapter), tick=tick)


def changes(model: GgufFile, adapter: Path) -> dict[str, Callable[[Any], Any]]:
    """Return for each weight that an adapter changes a function of it that returns the sum.

    Raises:
        ModelUnavailable: the adapter is not a LoRA adapter, or does not fit the model.
    """
    pairs = lora_pairs(adapter)
    _check(model, pairs, adapter)
    return {name: pair.added_to for name, pair in pairs.items()}


def lora_pairs(path: Path) -> dict[str, Pair]:
    """Return the matrices of a GGUF LoRA adapter by weight name, in float32.

    Raises:
        ModelUnavailable: it is not a LoRA adapter.
    """
    from gguf.quants import dequantize

    adapter = open_gguf(path, ModelUnavailable)
    alpha = adapter.values.get("adapter.lora.alpha")
    if alpha is None:
        raise ModelUnavailable("this GGUF is not a LoRA adapter", where=str(path))
    halves: dict[str, dict[str, Any]] = {}
    for tensor in adapter.tensors:
        name, _, half = tensor.name.rpartition(".lora_")
        try:
            halves.setdefault(name, {})[half] = dequantize(tensor.data, tensor.tensor_type)
        except (ValueError, NotImplementedError) as exc:
            raise ModelUnavailable(f"{tensor.name} cannot be read: {exc}", where=str(path)) from exc
    pairs = {}
    for name, both in halves.items():
        if both.keys() != {"a", "b"} or not _is_pair(both["a"], both["b"]):
            raise ModelUnavailable(f"the adapter has no pair for {name!r}", where=str(path))
        pairs[name] = Pair(both["a"], both["b"], float(alpha) / len(both["a"]))
    return pairs


def _is_pair(a: Any, b: Any) -> bool:
    return bool(a.ndim == b.ndim == 2 and len(a) == b.shape[1] > 0)


def _check(model: GgufFile, pairs: Mapping[str, Pair], adapter: Path) -> None:
    """Raise ModelUnavailable if a pair has no weight of its shape in the base."""
    shapes = {tensor.name: tuple(map(int, tensor.shape)) for tensor in model.tensors}
    for name, pair in pairs.items():
        shape = pair.a.shape[1], pair.b.shape[0]
        if shapes.get(name) != shape:
            raise ModelUnavailable(
                f"the adapter changes {name} of {shape}, and the base {model.path.name} has "
                f"{shapes.get(name, 'none')}",
                where=str(adapter),
                hint="It was trained on another base.",
            )
