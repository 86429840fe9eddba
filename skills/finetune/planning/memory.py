"""What training holds in memory at its peak, reckoned from shapes.

Every figure is an `Item` with its formula in words. In the lesson's recipe (Qwen2.5-7B) weights,
adapter and optimizer come to 5.6 GB, where the same weights in 16 bit are 15.2 GB. It is not
3.9 GB, 4.127 bits for each of 7.6 billion parameters, because bitsandbytes packs the linear layers
within the decoder alone: the embedding and the output of 152,064 tokens stay as they are, and are
2.2 GB of it.

Activations are reckoned from what autograd keeps of each operation of a Llama layer as transformers
writes it, and from above where that depends on the kernel that is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from skills.finetune.model.facts import BaseFacts
from skills.finetune.planning.activations import adapter_activations, full_activations, logits
from skills.finetune.planning.terms import TRAINED, Batch, Item, Place, compute_bytes
from skills.finetune.run.recipe import Adapter, Quantization, Recipe

BLOCK = 64
"""Weights that share a constant under NF4: bitsandbytes.functional.quantize_4bit."""
NESTED_BLOCK = 256
"""Constants that share one when they are quantized themselves: the same function."""
SMALLEST_8BIT = 4096
"""Smaller tensors keep 32-bit optimizer states: `min_8bit_size` of bitsandbytes.optim."""
OPTIMIZER_BLOCK = 256
"""Values of an 8-bit optimizer state that share a constant: bitsandbytes.optim.optimizer."""
CUDA = 1_400_000_000
"""CUDA's context, its libraries' workspaces and what the allocator cannot use, as Unsloth reckons
(studio/backend/utils/hardware/VRAM_ESTIMATION.md)."""
PROCESS = 700_000_000
"""A process that has loaded torch, transformers, peft and bitsandbytes (450 MB as measured), and
what its allocator cannot use."""


def adapter_matrices(facts: BaseFacts, adapter: Adapter) -> tuple[int, ...]:
    """The sizes of one decoder layer's trained matrices: A is r x inputs, B is outputs x r.

    Hu et al. 2021 (arXiv 2106.09685), section 4.1. Under grouped-query attention keys and values
    have fewer outputs, and so smaller matrices.

    Raises:
        UsageError: as `BaseFacts.targets`.
    """
    shapes = [facts.linear[name] for name in facts.targets(adapter.targets)]
    return tuple(adapter.r * size for shape in shapes for size in shape)


def nf4_bytes(weights: int, *, double: bool) -> int:
    """Bytes of so many weights under NF4.

    Half a byte each, and for every 64 of them a constant: 4 bytes, or with double quantization 1
    byte and for every 256 constants 4 more: 4.5 and 4.127 bits a weight. Dettmers et al. 2023
    (arXiv 2305.14314), section 3.
    """
    constants = -(-weights // BLOCK)
    nested = constants + 4 * -(-constants // NESTED_BLOCK)
    return -(-weights // 2) + (nested if double else 4 * constants)


def optimizer_bytes(matrices: Iterable[int], optimizer: str) -> int:
    """Bytes of Adam's two averages for trained tensors of these sizes.

    4 bytes each per value (Kingma and Ba 2014, arXiv 1412.6980); 1 byte and for every 256 values a
    constant of 4 with 8-bit states (Dettmers et al. 2021, arXiv 2110.02861). Paged ones are as
    large and may be moved to the machine's memory under pressure, which is not counted on.
    """
    smallest = SMALLEST_8BIT if optimizer.endswith("8bit") else math.inf
    return sum(
        2 * (size + 4 * -(-size // OPTIMIZER_BLOCK) if size >= smallest else 4 * size)
        for size in matrices
    )


def base_items(facts: BaseFacts, quantization: Quantization) -> tuple[Item, ...]:
    """The base's weights.

    bitsandbytes replaces the linear layers but the output (`get_keys_to_not_convert` of
    transformers.quantizers.base); embedding, norms, biases and output keep the computing type.
    """
    width = compute_bytes(quantization)
    if quantization.kind == "none":
        formula = f"{facts.parameters:,} parameters x {width} bytes"
        return (
            Item(f"base in {quantization.compute}", facts.parameters * width, formula, held=True),
        )
    packed = facts.linear_parameters
    rest = facts.parameters - packed
    others = Item(
        f"base in {quantization.compute}",
        rest * width,
        f"{rest:,} parameters of embedding, output, norms and biases x {width} bytes",
        held=True,
    )
    if quantization.unpacked:
        formula = f"{packed:,} weights of linear layers x {width} bytes"
        return Item("base in NF4, unpacked", packed * width, formula, held=True), others
    nested = "1 byte" if quantization.double else "4 bytes"
    further = f", and 4 for every {NESTED_BLOCK} of those" if quantization.double else ""
    return (
        Item(
            "base in NF4",
            nf4_bytes(packed, double=quantization.double),
            f"{packed:,} weights of linear layers x 4 bits, {nested} for every {BLOCK}{further}",
            held=True,
        ),
        others,
    )


def adapter_items(facts: BaseFacts, recipe: Recipe) -> tuple[Item, ...]:
    """The adapter, its gradients and its optimizer.

    Raises:
        UsageError: as `BaseFacts.targets`.
    """
    matrices = adapter_matrices(facts, recipe.adapter) * facts.layers
    trained, optimizer = sum(matrices), recipe.training.optimizer
    names = ", ".join(facts.targets(recipe.adapter.targets))
    in_words = f"{trained:,} values (r {recipe.adapter.r} on {names} of {facts.layers} layers)"
    return (
        Item("adapter", trained * TRAINED, f"{in_words} x {TRAINED} bytes", held=True),
        Item("gradients", trained * TRAINED, f"the adapter's values x {TRAINED} bytes", held=True),
        Item(
            "optimizer",
            optimizer_bytes(matrices, optimizer),
            f"two averages of each value of the adapter, {optimizer}",
            held=True,
        ),
    )


def qlora(facts: BaseFacts, recipe: Recipe, batch: Batch, place: Place) -> tuple[Item, ...]:
    """What this recipe holds at its peak; without quantization it is LoRA.

    Raises:
        UsageError: as `BaseFacts.targets`.
    """
    width = compute_bytes(recipe.quantization)
    items = [*base_items(facts, recipe.quantization), *adapter_items(facts, recipe)]
    items.append(adapter_activations(facts, recipe, batch, place))
    if recipe.quantization.kind == "nf4" and not recipe.quantization.unpacked:
        largest = max(inputs * outputs for inputs, outputs in facts.linear.values())
        formula = f"the largest, {largest:,} weights x {width} bytes"
        items.append(Item("a layer unpacked for use", largest * width, formula))
    items.append(logits(facts, batch.rows * batch.completion, "completion"))
    return (*items, _surroundings(place))


def full(facts: BaseFacts, recipe: Recipe, batch: Batch, place: Place) -> tuple[Item, ...]:
    """What training all weights would hold, with the same rows, optimizer and checkpointing.

    Mixed precision keeps weights and gradients in 16 bit and the weights once more in 32
    (Rajbhandari et al. 2020, arXiv 1910.02054, section 3.1): 16 bytes a parameter with Adam.
    """
    count, optimizer = facts.parameters, recipe.training.optimizer
    items = [
        Item("base in 16 bit", 2 * count, f"{count:,} parameters x 2 bytes", held=True),
        Item("base in 32 bit, which is trained", 4 * count, "parameters x 4 bytes", held=True),
        Item("gradients", 2 * count, "parameters x 2 bytes", held=True),
        Item(
            "optimizer",
            optimizer_bytes([count], optimizer),
            f"two averages of each parameter, {optimizer}",
            held=True,
        ),
        full_activations(facts, recipe, batch),
        logits(facts, batch.rows * batch.completion, "completion"),
        _surroundings(place),
    ]
    return tuple(items)


def _surroundings(place: Place) -> Item:
    if place == "gpu":
        return Item("CUDA", CUDA, "context, workspaces and fragments, as Unsloth reckons it")
    return Item("process", PROCESS, "torch, transformers, peft, bitsandbytes, and fragments")
