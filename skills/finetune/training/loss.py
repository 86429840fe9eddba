"""The loss: of the completions alone, weighted.

For the completion tokens t of all rows of one step, each with its row's weight w, and the decisions
d whether a move is stated, each with its row's weight times that of the recipe's `Decisions`,

    loss = (sum_t w_t -log p(t) + sum_d w_d -log q(d)) / (sum_t w_t + sum_d w_d)

where p is the probability after what stands before, and q(d), where the move is not stated, that of
the token which says so, and 1 less that where it is stated; a stated move whose text begins with
that token is no decision (`decisions`). The sums go over all batches of the
step, so that accumulation gives what one large batch would (what `num_items_in_batch` of
transformers is for). With equal weights and no decisions it is the mean over the step's completion
tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from skills.finetune.preparation.batches import IGNORED

if TYPE_CHECKING:
    from torch import Tensor


def completion_losses(model: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The negative log likelihood of each completion token of a batch, then of each decision.

    The model's own forward pass runs, whatever its architecture does to its logits; they are
    computed for the positions that predict a completion token and for no other, since over a large
    vocabulary they are most of the memory. The sums are taken in float32.

    Args:
        model: a causal model of transformers, with or without an adapter of peft.
        batch: as `batches.collate` makes it, B x T.

    Returns: the losses and their weights, each float32 of tokens and decisions together.
    """
    import torch

    targets = batch["labels"][:, 1:]
    predicted = targets != IGNORED
    keep = torch.nn.functional.pad(predicted, (0, 1), value=False)
    with only(model, keep):
        logits = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
        ).logits
    logits, tokens = logits.float(), targets[predicted]
    losses = torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
    weights, deciding = batch["weights"][:, 1:][predicted], batch["deciding"][:, 1:][predicted]
    decides = deciding > 0
    if not decides.any():
        return losses, weights
    not_stated = batch["not_stated"][:, 1:][predicted][decides]
    decided = decision_losses(logits[decides], not_stated, tokens[decides] != not_stated)
    return torch.cat((losses, decided)), torch.cat((weights, deciding[decides]))


def decision_losses(logits: Tensor, not_stated: Tensor, stated: Tensor) -> Tensor:
    """-log q of decisions: the binary cross-entropy of one token against all others.

    The log-odds of a token are its logit less the log of the sum of exp of all others, so that
    nothing is lost where one of the two is nearly certain.

    Args:
        logits: n x vocabulary.
        not_stated: of each decision the token that says so, int64 of n.
        stated: what is right, bool of n.

    Returns: float32 of n.
    """
    import torch

    own = logits.gather(1, not_stated[:, None])[:, 0]
    others = logits.scatter(1, not_stated[:, None], float("-inf")).logsumexp(dim=1)
    return torch.nn.functional.binary_cross_entropy_with_logits(
        own - others, (~stated).float(), reduction="none"
    )


def weighted_loss(losses: Tensor, weights: Tensor, total: Tensor) -> Tensor:
    """A batch's share of the step's loss; the shares of a step add up to it.

    Args:
        losses, weights: of `completion_losses`.
        total: of the step, from `total_weight`.
    """
    return (losses * weights).sum() / total


def total_weight(batches: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """The sum of the weights of all completion tokens and decisions; a float32 scalar."""
    import torch

    sums = [batch[name].sum() for batch in batches for name in ("weights", "deciding")]
    return torch.stack(sums).sum()


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
