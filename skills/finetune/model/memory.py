"""Peak memory of training, computed from shapes.

Each figure is an `Item` with its formula in words. In the lesson's recipe (Qwen2.5-7B) weights,
adapter and optimizer need 5.6 GB, while the same weights in 16 bit need 15.2 GB. It is more than
3.9 GB (4.127 bits for each of 7.6 billion parameters) because bitsandbytes only quantizes the
linear layers of the decoder: embedding and output of 152,064 tokens keep 16 bits and take 2.2 GB.

Activations are what autograd keeps from the forward pass for the backward pass, for a decoder layer
as transformers implements it (modeling_llama.py, modeling_qwen2.py), in bytes per position. With H
the hidden width, Q heads x head width, I the width of the MLP, S the tokens of a row, and c the
bytes of the compute type:

    two RMS norms           8 H      their input in float32
    attention               4 Q c    queries, keys and values (repeated for every head), the result
    attention mask            S c    created for every layer where a batch has padding
    MLP                     3 I c    the gate, its SiLU, and the factor it is multiplied with
    adapted linear layer             its input after dropout, the output of A, the dropout mask
    trained linear layers, norms     (4 H + Q + I) c: their inputs, in full fine-tuning

A frozen linear layer keeps nothing: its input is only needed for the gradient of its weights. The
dropout mask takes one byte on a GPU and four on a CPU. Under checkpointing (Chen et al. 2016, arXiv
1604.06174) the input of each layer is kept and one layer at a time is computed again. A test holds
the sum within 5 % of what autograd keeps on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from skills.finetune.model.facts import BaseFacts
from skills.finetune.run.recipe import Adapter, Quantization, Recipe

Place = Literal["gpu", "cpu"]

TRAINED = 4
"""Bytes of a trained value and of its gradient: peft keeps adapters in float32
(`autocast_adapter_dtype` of get_peft_model), so that small steps are not lost."""
BLOCK = 64
"""Weights that share a constant under NF4: bitsandbytes.functional.quantize_4bit."""
NESTED_BLOCK = 256
"""Constants that share one when they are quantized themselves: the same function."""
SMALLEST_8BIT = 4096
"""Smaller tensors keep 32-bit optimizer states: `min_8bit_size` of bitsandbytes.optim."""
OPTIMIZER_BLOCK = 256
"""Values of an 8-bit optimizer state that share a constant: bitsandbytes.optim.optimizer."""
SCORE = 12
"""Peak bytes per score of the vocabulary: cross entropy's log-probabilities, their gradient, and
the gradient of the scores, each in float32 (torch.nn.functional.cross_entropy)."""
OVERHEAD = {
    "gpu": ("CUDA", 1_400_000_000, "context, workspaces and fragmentation, as Unsloth estimates"),
    "cpu": ("process", 850_000_000, "torch, transformers, peft, bitsandbytes, and fragmentation"),
}
"""CUDA: Unsloth's studio/backend/utils/hardware/VRAM_ESTIMATION.md. Process: 560 MB as measured
with these packages and a base loaded, without its weights, plus what its allocator cannot use."""


@dataclass(frozen=True, slots=True)
class Item:
    """A part of the memory.

    Attributes:
        formula: how `bytes` is computed, in words.
        held: the item does not depend on the batch.
    """

    name: str
    bytes: int
    formula: str
    held: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """The largest batch of a run.

    Attributes:
        length: tokens of the longest row; the others are padded to it.
        completion: tokens of the longest completion.
    """

    rows: int
    length: int
    completion: int

    @classmethod
    def largest(cls, lengths: Sequence[int], completions: Sequence[int], batch: int) -> Batch:
        """Return the largest batch: they are grouped by length, so long rows come together."""
        rows = min(batch, len(lengths))
        return cls(rows, max(lengths, default=0), max(completions, default=0))

    @property
    def positions(self) -> int:
        return self.rows * self.length


def total(items: Iterable[Item]) -> int:
    """Return the sum of the bytes."""
    return sum(item.bytes for item in items)


def training_memory(
    facts: BaseFacts,
    recipe: Recipe,
    batch: Batch,
    place: Place,
    *,
    full: bool = False,
    shards: int = 1,
) -> tuple[Item, ...]:
    """Return the items held at the peak of training by a process.

    Args:
        full: train all weights instead of an adapter, with the same batch and optimizer.
        shards: how many processes FSDP divides the weights among.

    Raises:
        UsageError: the recipe names a layer that the base does not have.
    """
    quantization, optimizer = recipe.quantization, recipe.training.optimizer
    items = list(_full_weights(facts) if full else _weights(facts, recipe))
    matrices = [facts.parameters] if full else adapter_matrices(facts, recipe.adapter)
    size = optimizer_bytes(matrices if full else matrices * facts.layers, optimizer)
    items += [
        Item("optimizer", size, f"two averages of each trained value, {optimizer}", held=True),
        activations(facts, recipe, batch, place, full=full),
    ]
    if quantization.kind == "nf4" and not quantization.unpacked and not full:
        width = compute_bytes(quantization)
        largest = max(inputs * outputs for inputs, outputs in facts.linear.values())
        formula = f"the largest layer, {largest:,} weights x {width} bytes"
        items.append(Item("a layer unpacked for use", largest * width, formula))
    items.append(logits(facts, batch.rows * batch.completion, "completion"))
    items.append(Item(*OVERHEAD[place]))
    return tuple(items if shards == 1 else _divided(items, facts, recipe, shards))


def _divided(
    items: Sequence[Item], facts: BaseFacts, recipe: Recipe, shards: int
) -> Iterator[Item]:
    """Yield the items with those that do not depend on the batch divided among processes.

    FSDP gathers a layer for its use, and the next one meanwhile. Each process loads the whole base
    first, since weights in NF4 cannot be divided before (accelerate's `fsdp2_prepare_model`).
    """
    found = []
    for item in items:
        part = -(-item.bytes // shards)
        formula = f"{item.formula} / {shards} processes"
        found.append(replace(item, bytes=part, formula=formula) if item.held else item)
    base = total(item for item in items if item.name.startswith("base"))
    ends = (facts.parameters - facts.linear_parameters) * compute_bytes(recipe.quantization)
    size = ends + 2 * (base - ends) // facts.layers
    formula = f"2 of {facts.layers} layers, embedding and output"
    found.append(Item("layers gathered for use", size, formula))
    yield from found
    overhead = items[-1].bytes
    if (more := base + overhead - total(found)) > 0:
        formula = f"{base:,} bytes when it is loaded, which is the peak"
        yield Item("the base before it is divided", more, formula)


def _weights(facts: BaseFacts, recipe: Recipe) -> Iterator[Item]:
    """Yield the base's weights, the adapter and its gradients.

    bitsandbytes quantizes the linear layers except the output (`get_keys_to_not_convert` of
    transformers.quantizers.base).
    """
    quantization = recipe.quantization
    width, compute = compute_bytes(quantization), quantization.compute
    packed = facts.linear_parameters if quantization.kind == "nf4" else 0
    if packed and quantization.unpacked:
        formula = f"{packed:,} weights of linear layers x {width} bytes"
        yield Item("base in NF4, unpacked", packed * width, formula, held=True)
    elif packed:
        constant = "1 byte" if quantization.double else "4 bytes"
        nested = f", and 4 for every {NESTED_BLOCK} of those" if quantization.double else ""
        formula = f"{packed:,} weights of linear layers x 4 bits, {constant} for every {BLOCK}"
        size = nf4_bytes(packed, double=quantization.double)
        yield Item("base in NF4", size, formula + nested, held=True)
    rest = facts.parameters - packed
    which = "parameters of embedding, output, norms and biases" if packed else "parameters"
    yield Item(f"base in {compute}", rest * width, f"{rest:,} {which} x {width} bytes", held=True)
    size = facts.layers * sum(adapter_matrices(facts, recipe.adapter))
    names = ", ".join(facts.targets(recipe.adapter.targets))
    formula = f"{size:,} values (r {recipe.adapter.r} on {names} of {facts.layers} layers)"
    yield Item("adapter", size * TRAINED, f"{formula} x {TRAINED} bytes", held=True)
    yield Item("gradients", size * TRAINED, f"values of the adapter x {TRAINED} bytes", held=True)


def _full_weights(facts: BaseFacts) -> Iterator[Item]:
    """Yield weights and gradients of full fine-tuning in mixed precision.

    16 bytes a parameter with Adam (Rajbhandari et al. 2020, arXiv 1910.02054, section 3.1).
    """
    count = facts.parameters
    yield Item("base in 16 bit", 2 * count, f"{count:,} parameters x 2 bytes", held=True)
    yield Item("base in 32 bit, which is trained", 4 * count, "parameters x 4 bytes", held=True)
    yield Item("gradients", 2 * count, "parameters x 2 bytes", held=True)


def activations(
    facts: BaseFacts, recipe: Recipe, batch: Batch, place: Place, *, full: bool = False
) -> Item:
    """Return the activations of the largest batch (table at the top of this module).

    Raises:
        UsageError: the recipe names a layer that the base does not have.
    """
    width, queries = compute_bytes(recipe.quantization), facts.heads * facts.head_dim
    layer = 8 * facts.hidden + (4 * queries + batch.length + 3 * facts.intermediate) * width
    if full:
        layer += (4 * facts.hidden + queries + facts.intermediate) * width
    else:
        mask = 0 if not recipe.adapter.dropout else 1 if place == "gpu" else 4
        names = facts.targets(recipe.adapter.targets)
        layer += sum(facts.linear[name][0] for name in names) * (width + mask)
        layer += len(names) * recipe.adapter.r * width
    shape = f"{batch.rows} rows x {batch.length:,} tokens"
    if not recipe.training.checkpointing:
        size = batch.positions * (facts.layers + 1) * layer
        formula = f"{shape} x ({facts.layers} layers + 1 for gradients) x {layer:,} bytes"
        return Item("activations", size, formula)
    kept = facts.hidden * width
    size = batch.positions * (facts.layers * kept + 2 * layer)
    recomputed = f"2 x {layer:,} of the recomputed layer"
    formula = f"{shape} x ({facts.layers} layers x {kept:,} bytes + {recomputed})"
    return Item("activations, checkpointed", size, formula)


def logits(facts: BaseFacts, positions: int, which: str) -> Item:
    """Return the scores of the whole vocabulary at some positions, in the backward pass.

    Args:
        which: name of the positions in the formula.
    """
    formula = f"{positions:,} {which} positions x {facts.vocab:,} tokens x {SCORE} bytes"
    return Item("logits", positions * facts.vocab * SCORE, formula)


def adapter_matrices(facts: BaseFacts, adapter: Adapter) -> tuple[int, ...]:
    """Return the sizes of a decoder layer's trained matrices: A is r x inputs, B is outputs x r.

    Hu et al. 2021 (arXiv 2106.09685), section 4.1. Under grouped-query attention, keys and values
    have fewer outputs and therefore smaller matrices.

    Raises:
        UsageError: the adapter names a layer that the base does not have.
    """
    shapes = [facts.linear[name] for name in facts.targets(adapter.targets)]
    return tuple(adapter.r * size for shape in shapes for size in shape)


def nf4_bytes(weights: int, *, double: bool) -> int:
    """Return the bytes of weights under NF4.

    Half a byte each, and for every 64 of them a constant: 4 bytes, or with double quantization 1
    byte and for every 256 constants 4 more: 4.5 and 4.127 bits a weight. Dettmers et al. 2023
    (arXiv 2305.14314), section 3.
    """
    constants = -(-weights // BLOCK)
    nested = constants + 4 * -(-constants // NESTED_BLOCK)
    return -(-weights // 2) + (nested if double else 4 * constants)


def optimizer_bytes(matrices: Iterable[int], optimizer: str) -> int:
    """Return the bytes of Adam's two averages for trained tensors of these sizes.

    4 bytes each per value (Kingma and Ba 2014, arXiv 1412.6980); with 8-bit states 1 byte, and a
    constant of 4 for every 256 values (Dettmers et al. 2021, arXiv 2110.02861). Paged optimizers
    have the same size; that the driver may move their pages to main memory is not counted.
    """
    smallest = SMALLEST_8BIT if optimizer.endswith("8bit") else math.inf
    return sum(
        2 * (size + 4 * -(-size // OPTIMIZER_BLOCK) if size >= smallest else 4 * size)
        for size in matrices
    )


def compute_bytes(quantization: Quantization) -> int:
    """Return the bytes of a value of the compute type."""
    return 4 if quantization.compute == "float32" else 2
