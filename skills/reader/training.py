"""Train the network of a reader.

The loss of a move is the cross-entropy of "stated". If the move is stated, the negative log of the
summed probability of its sentences is added. If the move is not stated, or if the passages are
known, the cross-entropy of each sentence as a part of the move is added. If the passages are known,
the cross-entropies of the first and last tokens of the passages are also added. An auxiliary task
is to predict the roles that people gave to the sentences of other abstracts.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from skills.reader.encoder import Scores
from skills.reader.examples import Example
from skills.reader.network import Batch, Network, Output

PARTS, TOKENS, ROLES = 0.5, 0.25, 0.3
"""Weights of the losses of parts, tokens and roles; the other losses have the weight 1."""
NORM = 1.0
"""Maximum norm of the gradient."""
WARMUP = 0.06
"""Share of the steps in which the learning rate rises."""
BUCKET = 8
"""Number of batches whose examples are drawn together and sorted by length to shorten padding."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a training.

    Attributes:
        rate: learning rate of the last layer of the encoder. The rate of each lower layer is
            `decay` times the rate of the layer above.
        head_rate: learning rate of the layers above the encoder.
        every: a step whose number is a multiple of `every` also trains on a batch with roles.
        frozen: number of layers, from the lowest, that are not trained. The embeddings of tokens
            and positions, and their layer norm, are never trained.
    """

    epochs: float = 2.0
    batch: int = 8
    rate: float = 2e-4
    head_rate: float = 1e-3
    decay: float = 0.9
    weight_decay: float = 0.01
    every: int = 2
    frozen: int = 0
    seed: int = 0


def train(
    network: Network,
    examples: Sequence[Example],
    settings: Settings,
    roles: Sequence[Example] = (),
    after_step: Callable[[int, int, float], None] = lambda *_: None,
    loss_of: Callable[[Output, Sequence[Example]], torch.Tensor] | None = None,
    bfloat16: bool = False,
) -> None:
    """Train a network in place.

    Args:
        examples: abstracts with labels of moves.
        roles: abstracts with roles of sentences.
        after_step: called with the number of the step, the number of all steps, and the loss of
            the batch of `examples`.
        loss_of: returns the loss of a batch of `examples`; None for `moves_loss`.
        bfloat16: True to run the network in bfloat16; outputs and losses are float32.
    """
    loss_of = loss_of or moves_loss

    def output_for(batch: Sequence[Example]) -> Output:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return Output(*map(torch.Tensor.float, network(Batch.of([one.text for one in batch]))))

    shuffled = random.Random(settings.seed)  # noqa: S311 not used for secrets
    torch.manual_seed(settings.seed)
    network.train()
    optimizer = torch.optim.AdamW(_groups(network, settings), betas=(0.9, 0.98))
    steps = math.ceil(settings.epochs * len(examples) / settings.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    batches = _batches(examples, settings.batch, shuffled)
    auxiliary = _batches(roles, settings.batch, shuffled) if roles else None
    for step in range(1, steps + 1):
        batch = next(batches)
        loss = loss_of(output_for(batch), batch)
        shown = loss.item()
        if auxiliary and step % settings.every == 0:
            others = next(auxiliary)
            loss = loss + ROLES * roles_loss(output_for(others), others)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), NORM)
        optimizer.step()
        schedule.step()
        after_step(step, steps, shown)
    network.eval()


def scores_of(network: Network, examples: Sequence[Example]) -> Iterator[Scores]:
    """Yield the scores of each example, in the form of the scores of a loaded reader."""
    network.eval()
    for one in examples:
        with torch.no_grad():
            found = network(Batch.of([one.text]))
        own = (found.sentence, found.part, found.unstated, found.token)
        yield Scores(one.text, *(part[0].numpy() for part in own))


def moves_loss(found: Output, examples: Sequence[Example]) -> torch.Tensor:
    """Return the loss of the moves of a batch, as defined in the module docstring."""
    odds = torch.logsumexp(found.sentence, 1) - found.unstated
    moves, parts, tokens = [], [], []
    for row, one in enumerate(examples):
        count = len(one.text.sentences)
        for move, places in one.stated.items():
            if not places:
                moves.append(functional.softplus(odds[row, move]))
            else:
                shares = torch.log_softmax(found.sentence[row, :count, move], 0)
                right = torch.logsumexp(shares[list(places)], 0)
                moves.append(functional.softplus(-odds[row, move]) - right)
            if not places or move in one.passages:
                target = torch.zeros(count)
                target[list(places)] = 1.0
                own = found.part[row, :count, move]
                parts.append(functional.binary_cross_entropy_with_logits(own, target))
            for place, first, last in one.passages.get(move, ()):
                start, after = one.text.sentences[place]
                half = found.token.shape[2] // 2
                for column, target_at in ((move, first), (half + move, last)):
                    own = found.token[row, start:after, column]
                    tokens.append(torch.logsumexp(own, 0) - own[target_at - start])
    loss = torch.stack(moves).mean()
    if parts:
        loss = loss + PARTS * torch.stack(parts).mean()
    if tokens:
        loss = loss + TOKENS * torch.stack(tokens).sum() / len(moves)
    return loss


def roles_loss(found: Output, examples: Sequence[Example]) -> torch.Tensor:
    """Return the mean cross-entropy of the roles of all sentences in a batch."""
    scores = [found.role[row, : len(one.roles)] for row, one in enumerate(examples)]
    roles = [torch.tensor(one.roles) for one in examples]
    return functional.cross_entropy(torch.cat(scores), torch.cat(roles))


def _batches(
    examples: Sequence[Example], size: int, shuffled: random.Random
) -> Iterator[list[Example]]:
    """Yield batches of examples of similar length, without end; each pass has all examples."""
    while True:
        order = shuffled.sample(examples, len(examples))
        found = []
        for start in range(0, len(order), BUCKET * size):
            bucket = sorted(order[start : start + BUCKET * size], key=lambda one: len(one.text.ids))
            found += [bucket[first : first + size] for first in range(0, len(bucket), size)]
        yield from shuffled.sample(found, len(found))


def _rate(step: int, steps: int) -> float:
    """Return the factor of the learning rate at a step; the factor first rises, then falls to 0."""
    return min((step + 1) / (WARMUP * steps + 1), 1.0) * max(0.0, 1 - step / steps)


def _groups(network: Network, settings: Settings) -> list[dict[str, object]]:
    """Return a group with learning rate and weight decay for each parameter that is trained.

    For all other parameters, `requires_grad` is set to False.
    """
    groups: list[dict[str, object]] = []
    layers = len(network.layers)
    for name, parameter in network.named_parameters():
        below = _layers_above(name, layers)
        if name.startswith("words.") or (below is not None and layers - below <= settings.frozen):
            parameter.requires_grad = False
            continue
        rate = settings.head_rate if below is None else settings.rate * settings.decay**below
        decay = settings.weight_decay if parameter.dim() > 1 else 0.0
        groups.append({"params": [parameter], "lr": rate, "weight_decay": decay})
    return groups


def _layers_above(name: str, layers: int) -> int | None:
    """Return the number of encoder layers above a parameter; None outside the encoder.

    Args:
        name: the name of the parameter.
        layers: the number of layers of the encoder.
    """
    part, _, rest = name.partition(".")
    if part == "layers":
        return layers - 1 - int(rest.partition(".")[0])
    return layers if part in ("words", "positions", "embedded") else None
