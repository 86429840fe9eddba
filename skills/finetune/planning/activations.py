"""What autograd keeps from the forward pass for the backward pass, and the logits.

Reckoned for a decoder layer as transformers writes it (modeling_llama.py, modeling_qwen2.py), in
bytes of one position, with H the hidden width, Q heads x head width, I the MLP's width, S the
tokens of a row, and c the bytes of the type that is computed in:

    two RMS norms           8 H      their input in float32
    attention               4 Q c    queries, keys and values (repeated for every head), the result
    attention's mask          S c    made for every layer where a batch has padding
    MLP                     3 I c    the gate, its SiLU, and what it is multiplied with

A frozen linear layer keeps nothing, for its input is needed for the gradient of its weights alone.
An adapted one keeps the adapter's input after dropout and what A makes of it, under autocast in the
type that is computed in, and dropout's mask: a byte on a GPU and float32 on a CPU. Under
checkpointing (Chen et al. 2016, arXiv 1604.06174) each layer's input is kept, and one layer at a
time is computed again. The sum is within 5 % of what autograd was seen to keep on a CPU (a test).
"""

from __future__ import annotations

from skills.finetune.model.adapter_layers import targets
from skills.finetune.model.facts import BaseFacts
from skills.finetune.planning.terms import TRAINED, Batch, Item, Place, compute_bytes
from skills.finetune.run.recipe import Recipe

SCORE = 12
"""Bytes of one score of the vocabulary at the peak."""


def adapter_activations(facts: BaseFacts, recipe: Recipe, batch: Batch, place: Place) -> Item:
    """Of the largest batch, where an adapter is trained.

    Raises:
        UsageError: the recipe names a layer that the base does not have.
    """
    mask = 0 if not recipe.adapter.dropout else 1 if place == "gpu" else TRAINED
    names = targets(facts, recipe.adapter)
    inputs = sum(facts.linear[name][0] for name in names)
    width = compute_bytes(recipe.quantization)
    adapters = inputs * (width + mask) + len(names) * recipe.adapter.r * width
    return _item(facts, recipe, batch, _layer(facts, batch, width) + adapters)


def full_activations(facts: BaseFacts, recipe: Recipe, batch: Batch) -> Item:
    """The same where all weights are trained, so that linear layers and norms keep their input:
    (4 H + Q + I) c more.
    """
    width = compute_bytes(recipe.quantization)
    queries = facts.heads * facts.head_dim
    inputs = 4 * facts.hidden + queries + facts.intermediate
    return _item(facts, recipe, batch, _layer(facts, batch, width) + inputs * width)


def logits(facts: BaseFacts, positions: int, which: str) -> Item:
    """The scores of the whole vocabulary at so many positions, on their way back.

    12 bytes a score: cross entropy's log-probabilities, their gradient, and the gradient of the
    scores, each in float32 (torch.nn.functional.cross_entropy), which is more than the forward pass
    has at a time. `which` names the positions, for people.
    """
    formula = f"{positions:,} {which} positions x {facts.vocab:,} tokens x {SCORE} bytes"
    return Item("logits", positions * facts.vocab * SCORE, formula)


def _layer(facts: BaseFacts, batch: Batch, width: int) -> int:
    """Bytes that one layer keeps of one position, with frozen weights."""
    queries = facts.heads * facts.head_dim
    return 8 * facts.hidden + (4 * queries + batch.length + 3 * facts.intermediate) * width


def _item(facts: BaseFacts, recipe: Recipe, batch: Batch, layer: int) -> Item:
    """One layer's worth more is for the gradients that pass through the layer at work."""
    shape = f"{batch.rows} rows x {batch.length:,} tokens"
    if not recipe.training.checkpointing:
        size = batch.positions * (facts.layers + 1) * layer
        formula = f"{shape} x ({facts.layers} layers + 1 for gradients) x {layer:,} bytes"
        return Item("activations", size, formula)
    kept = facts.hidden * compute_bytes(recipe.quantization)
    size = batch.positions * (facts.layers * kept + 2 * layer)
    layers_work = f"2 x {layer:,} of the one at work"
    formula = f"{shape} x ({facts.layers} layers x {kept:,} bytes + {layers_work})"
    return Item("activations, checkpointed", size, formula)
