"""The layers of a base that an adapter is of, by the names that transformers gives them."""

from __future__ import annotations

from collections.abc import Iterator

from harness.errors import UsageError
from skills.finetune.model.facts import BaseFacts
from skills.finetune.run.recipe import Adapter


def targets(facts: BaseFacts, adapter: Adapter) -> tuple[str, ...]:
    """The linear layers of a decoder layer that get an adapter.

    Raises:
        UsageError: the base has no layer of such a name.
    """
    if adapter.targets == "all-linear":
        return tuple(facts.linear)
    for name in adapter.targets:
        if name not in facts.linear:
            raise UsageError(
                f"adapter.targets: {facts.name} has no layer {name!r}",
                hint=f"It has {', '.join(facts.linear)}; all-linear takes all of them.",
            )
    return tuple(dict.fromkeys(adapter.targets))


def layer_shapes(facts: BaseFacts) -> Iterator[tuple[str, tuple[int, int]]]:
    """The linear layers of a base by their names in transformers: (outputs, inputs)."""
    for number in range(facts.layers):
        for name, (inputs, outputs) in facts.linear.items():
            block = "self_attn" if name[1:] == "_proj" else "mlp"
            yield f"model.layers.{number}.{block}.{name}", (outputs, inputs)
