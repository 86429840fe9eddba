"""The weighted loss of the completions.

For the completion tokens t of all rows of one step, each with its row's weight w, and the decisions
d whether a move is stated, each with its row's weight times that of the recipe's `Decisions`,

    loss = (sum_t w_t -log p(t) + sum_d w_d -log q(d)) / (sum_t w_t + sum_d w_d)

where p(t) is the probability of the token given the text before it. If the move is not stated, q(d)
is the probability of the token that means so; if it is stated, it is 1 minus that probability. A
stated move whose text starts with that token has no decision (`decisions`). The sums run over all
batches of the step, so accumulation gives the same result as one large batch (as with
`num_items_in_batch` of transformers). With equal weights and no decisions, the loss is the mean
over the step's completion tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from skills.finetune.preparation.batches import IGNORED

if TYPE_CHECKING:
    from torch import Tensor


def completion_losses(model: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the negative log likelihood of each completion token, then of each decision.

    The model's own forward pass is used, including any scaling of the logits. Logits are computed
    only for positions that predict a completion token, since over a large vocabulary they take most
    of the memory. The losses are computed in float32.

    Args:
        model: a causal model of transformers, with or without an adapter of peft.
        batch: of `batches.collate`, B x T.

    Returns: the losses and their weights, each float32, for tokens and decisions together.
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
    """Return -log q of decisions: the binary cross-entropy of one token against all others.

    The log-odds of a token are its logit minus the logsumexp of all others, so that precision is
    kept where one of the two is nearly certain.

    Args:
        logits: n x vocabulary.
        not_stated: the token that means "not stated" for each decision, int64 of n.
        stated: whether the move is stated, bool of n.

    Returns: float32 of n.
    """
    import torch

    own = logits.gather(1, not_stated[:, None])[:, 0]
    others = logits.scatter(1, not_stated[:, None], float("-inf")).logsumexp(dim=1)
    return torch.nn.functional.binary_cross_entropy_with_logits(
        own - others, (~stated).float(), reduction="none"
    )


def weighted_loss(losses: Tensor, weights: Tensor, total: Tensor) -> Tensor:
    """Return a batch's share of the step's loss; the shares of a step add up to it.

    Args:
        losses, weights: of `completion_losses`.
        total: the `total_weight` of the step.
    """
    return (losses * weights).sum() / total


def total_weight(batches: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Return the total weight of all completion tokens and decisions, a float32 scalar."""
    import torch

    sums = [batch[name].sum() for batch in batches for name in ("weights", "deciding")]
    return torch.stack(sums).sum()


@contextmanager
def only(model: Any, keep: Tensor) -> Iterator[None]:
    """Make the model compute logits for these positions only, as n x vocabulary.

    Args:
        keep: bool of B x T.
    """

    def select(module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0][keep], *inputs[1:])

    inner = getattr(model, "module", model)  # of DistributedDataParallel
    handle = inner.get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()
