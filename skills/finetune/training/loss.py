"""The loss: of the completions alone, weighted.

For the completion tokens t of all rows of one step, with weights w,

    loss = sum_t w_t -log p(t | what stands before it) / sum_t w_t

where a token's weight is its row's, times what `Decisions` of the recipe gives a token that decides
whether a move is stated. Both sums go over all batches of the step, so that accumulation gives what
one large batch would (what `num_items_in_batch` of transformers is for). With equal weights it is
the mean over the step's completion tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from skills.finetune.training.batches import IGNORED

if TYPE_CHECKING:
    from torch import Tensor


def completion_losses(model: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The negative log likelihood of each completion token of a batch.

    The model's own forward pass runs, whatever its architecture does to its logits; they are
    computed for the positions that predict a completion token and for no other, since over a large
    vocabulary they are most of the memory. The sums are taken in float32.

    Args:
        model: a causal model of transformers, with or without an adapter of peft.
        batch: as `batches.collate` makes it, B x T.

    Returns: the losses and the weights of these tokens, each float32 of n.
    """
    import torch

    targets = batch["labels"][:, 1:]
    predicted = targets != IGNORED
    keep = torch.nn.functional.pad(predicted, (0, 1), value=False)
    with only(model, keep):
        logits = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
        ).logits
    losses = torch.nn.functional.cross_entropy(logits.float(), targets[predicted], reduction="none")
    return losses, batch["weights"][:, 1:][predicted]


def weighted_loss(losses: Tensor, weights: Tensor, total: Tensor) -> Tensor:
    """A batch's share of the step's loss; the shares of a step add up to it.

    Args:
        losses, weights: of `completion_losses`.
        total: of the step, from `total_weight`.
    """
    return (losses * weights).sum() / total


def total_weight(batches: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """The sum of the weights of all completion tokens; a float32 scalar."""
    import torch

    return torch.stack([batch["weights"].sum() for batch in batches]).sum()


@contextmanager
def only(model: Any, keep: Tensor) -> Iterator[None]:
    """Have the model compute logits for these positions alone, as n x vocabulary.

    Args:
        keep: bool of B x T.
    """

    def select(module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0][keep], *inputs[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()
