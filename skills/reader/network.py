"""The network of a reader, for training with torch.

BERT (Devlin et al. 2019) reads the title and the abstract together. The vector of a sentence is the
normalized mean of its token vectors, plus learned vectors of the positions of the sentence from the
beginning and from the end. A transformer layer over the sentences follows. Linear layers compute
the scores (`encoder.Scores`). Another linear layer predicts the role of each sentence. The role is
an auxiliary task that only training uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from skills.reader.encoder import FAR, MOST, Text, inputs_of

LAYERS, WIDTH, HEADS, WORDS = 6, 384, 12, 30522
"""The shape of all-MiniLM-L6-v2: layers, width, attention heads, size of the vocabulary."""
ROLES = ("background", "objective", "method", "result", "other")
EPSILON = 1e-12
"""Epsilon of the layer norms in BERT. Other layer norms have the default of torch, 1e-5."""


class Output(NamedTuple):
    """The scores of a batch: `encoder.Scores` and roles, with the abstracts as first dimension."""

    sentence: torch.Tensor
    part: torch.Tensor
    unstated: torch.Tensor
    token: torch.Tensor
    role: torch.Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of abstracts, padded with zeros.

    Attributes:
        ids: ids of tokens, (abstracts, tokens).
        is_token: False for padding, (abstracts, tokens).
        means: the weights that give the mean of each sentence, (abstracts, sentences, tokens).
        places: positions of the sentences from the beginning and from the end, (2, abstracts,
            sentences).
        is_sentence: False for padding, (abstracts, sentences).
    """

    ids: torch.Tensor
    is_token: torch.Tensor
    means: torch.Tensor
    places: torch.Tensor
    is_sentence: torch.Tensor

    @classmethod
    def of(cls, texts: Sequence[Text]) -> Batch:
        shape = len(texts), max(len(one.sentences) for one in texts)
        length = max(len(one.ids) for one in texts)
        ids = torch.zeros(len(texts), length, dtype=torch.long)
        means, places = torch.zeros(*shape, length), torch.zeros(2, *shape, dtype=torch.long)
        is_token, is_sentence = ids.bool(), means.any(2)
        for row, text in enumerate(texts):
            size, count = len(text.ids), len(text.sentences)
            own = map(torch.from_numpy, inputs_of(text))
            ids[row, :size], means[row, :count, :size], places[:, row, :count] = own
            is_token[row, :size], is_sentence[row, :count] = True, True
        return cls(ids, is_token, means, places, is_sentence)


class Block(nn.Module):  # type: ignore[misc]  # mypy skips torch
    """A transformer layer that normalizes after each addition, as in BERT and torch."""

    def __init__(self, inner: int, dropout: float, epsilon: float, width: int = WIDTH) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.attended = nn.LayerNorm(width, epsilon)
        self.grow, self.shrink = nn.Linear(width, inner), nn.Linear(inner, width)
        self.done = nn.LayerNorm(width, epsilon)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the vectors after the layer.

        Args:
            mask: (batch, 1, 1, vectors), True for the vectors that attention may use.
        """

        def heads(of: nn.Linear) -> torch.Tensor:
            return of(x).unflatten(2, (HEADS, -1)).transpose(1, 2)

        found = functional.scaled_dot_product_attention(
            heads(self.query), heads(self.key), heads(self.value), mask
        )
        x = self.attended(x + self.drop(self.output(found.transpose(1, 2).flatten(2))))
        return self.done(x + self.drop(self.shrink(functional.gelu(self.grow(x)))))


def output_of(network: Any, tokens: torch.Tensor, batch: Batch) -> Output:
    """Return the output of a network, given the vectors of the tokens.

    Args:
        network: a `Network`, or another encoder with the same layers above it.
        tokens: the vectors that the encoder computes, (abstracts, tokens, width).
    """
    vectors = network.mean(batch.means @ tokens)
    vectors = vectors + network.begin(batch.places[0]) + network.end(batch.places[1])
    vectors = network.over(network.drop(vectors), batch.is_sentence[:, None, None])
    kept = batch.is_sentence[..., None]
    whole = (vectors * kept).sum(1) / kept.sum(1)
    vectors = network.drop(vectors)
    return Output(
        network.sentence(vectors).masked_fill(~kept, -1e4),
        network.part(vectors),
        network.unstated(network.drop(whole)),
        network.token(network.drop(tokens)),
        network.role(vectors),
    )


class Network(nn.Module):  # type: ignore[misc]  # mypy skips torch
    """The network of a reader.

    Args:
        moves: number of moves.
        dropout: share of the values after the encoder that training sets to zero.
    """

    def __init__(self, moves: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(WORDS, WIDTH), nn.Embedding(MOST, WIDTH)
        self.words.weight.requires_grad = False
        self.embedded = nn.LayerNorm(WIDTH, EPSILON)
        self.layers = nn.ModuleList(Block(4 * WIDTH, 0.0, EPSILON) for _ in range(LAYERS))
        self.mean = nn.LayerNorm(WIDTH)
        self.begin, self.end = (nn.Embedding(FAR + 1, WIDTH) for _ in range(2))
        for one in (self.begin, self.end):
            nn.init.normal_(one.weight, std=0.02)
        self.over = Block(2 * WIDTH, dropout, 1e-5)
        self.sentence, self.part, self.unstated = (nn.Linear(WIDTH, moves) for _ in range(3))
        self.token, self.role = nn.Linear(WIDTH, 2 * moves), nn.Linear(WIDTH, len(ROLES))
        self.drop = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Output:
        tokens = self.words(batch.ids) + self.positions.weight[: batch.ids.shape[1]]
        tokens, mask = self.embedded(tokens), batch.is_token[:, None, None]
        for layer in self.layers:
            tokens = layer(tokens, mask)
        return output_of(self, tokens, batch)

    def for_moves(self, before: Sequence[str], after: Sequence[str]) -> Network:
        """Return a copy of this network for other moves, with the weights of the common moves.

        Args:
            before: names of the moves of this network.
            after: names of the moves of the copy.
        """
        made = Network(len(after), self.drop.p)
        state, own = self.state_dict(), made.state_dict()
        kept = [(before.index(move), row) for row, move in enumerate(after) if move in before]
        for name, value in state.items():
            head = name.partition(".")[0]
            if head not in ("sentence", "part", "unstated", "token"):
                own[name] = value
                continue
            for old, new in kept:
                own[name][new] = value[old]
                if head == "token":  # the second half of this layer scores last tokens of passages
                    own[name][len(after) + new] = value[len(before) + old]
        made.load_state_dict(own)
        return made
