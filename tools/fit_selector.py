"""Fit the selector on annotated abstracts: the model that reads them, and weights of each move.

    python tools/fit_selector.py TABLE ... [--db CORPUS] [--held-out N] [--epochs N] [--out FOLDER]

The tables have the columns of a gold table; the abstracts of one without them are read from the
corpus. The first N papers of the first table are held out, and measured after each epoch.

The layers after `FROZEN` are tuned by LoRA (Hu et al. 2021), together with the weights of
`selector.Selector`. The target probability of a passage is proportional to exp(f / `TEMPERATURE`),
where f is its ROUGE-L F1 with the gold's move; the loss is the cross-entropy of the passages, and
that of "not stated" against all passages. Needs the extra `finetune`. Two cores take 25 minutes for
1,774 papers.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


from skills.annotate.extractive.ranking import similarity
from skills.annotate.selector.candidates import SHAPE, Candidates, candidates_of, limit_of
from skills.annotate.selector.selector import ADAPTER, FOLDER, WEIGHTS, Selector
from skills.corpus.tables.reader import TableRow
from skills.nanda.framework import Framework, nanda
from skills.nanda.quoting.numbered import numbered
from skills.nanda.text import stems
from tools.gold import cohen, rows_of
from tools.tuned_reader import Text, Tokens, TunedReader

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEMPERATURE = 0.05
RATE, WEIGHT_RATE = 5e-4, 1e-2
"""Learning rates of the adapter and of the weights: after `WARMUP` steps, along half a cosine."""
WARMUP = 20
BATCH = 8
BUCKET = 8 * BATCH
"""Papers that are sorted by length and divided into batches."""
NORM = 1.0
"""Maximum norm of the gradient of the adapter."""
EPOCHS = 2
SAMPLED = 6
"""The mean and the deviation of the activations are those of each `SAMPLED`-th abstract."""
SMALLEST = 1e-3
"""Added to the standard deviation of an activation, by which it is divided."""


@dataclass(frozen=True, slots=True)
class Example:
    """An annotated abstract.

    Attributes:
        sentences: their texts.
        candidates: by move.
        scores: by move, the F1 of each candidate with the gold; moves that are not stated are
            absent.
    """

    sentences: tuple[str, ...]
    candidates: Mapping[str, Candidates]
    scores: Mapping[str, NDArray[Any]]


def example(row: TableRow, framework: Framework) -> Example:
    """Return the candidates of an annotated abstract with their scores."""
    sentences = numbered(row.paper.abstract, limit_of(framework))
    candidates = candidates_of(framework.names, sentences, limit_of(framework))
    scores = {}
    for move, gold in framework.stated(row.valid_moves(framework)).items():
        words = stems(gold)
        found = [similarity(own, words) for own in candidates[move].stems]
        scores[move] = np.array(found, dtype=np.float32)
    return Example(tuple(one.text for one in sentences), candidates, scores)


class Weights:
    """The weights of `selector.Selector`, of activations that are standardized.

    Args:
        vectors: of passages, (passages, 2 width), whose mean and deviation are those of all.
    """

    def __init__(self, moves: Sequence[str], vectors: torch.Tensor) -> None:
        self.moves, width = tuple(moves), vectors.shape[1]
        self.middle = vectors.mean(0)
        self.scale = (vectors.std(0) + SMALLEST) * math.sqrt(width)
        self.passage, self.unstated = (torch.zeros(len(moves), width) for _ in range(2))
        self.shape, self.bias = torch.zeros(len(moves), len(SHAPE)), torch.zeros(len(moves))
        for one in self.parameters():
            one.requires_grad = True

    def parameters(self) -> list[torch.Tensor]:
        return [self.passage, self.shape, self.unstated, self.bias]

    def scores(
        self, tokens: Tokens, one: Example
    ) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
        """Yield each move with the scores of its candidates and of "not stated"."""
        whole = (tokens.whole() - self.middle) / self.scale
        vectors = {
            id(own): (tokens.vectors(own.bounds) - self.middle) / self.scale
            for own in one.candidates.values()
        }
        for number, move in enumerate(self.moves):
            own = one.candidates[move]
            shape = torch.tensor(own.shape, dtype=torch.float32)
            scores = vectors[id(own)] @ self.passage[number] + shape @ self.shape[number]
            yield move, scores, whole @ self.unstated[number] + self.bias[number]

    def selector(self) -> Selector:
        """Return the same weights of activations as they are."""
        passage, unstated = self.passage / self.scale, self.unstated / self.scale
        bias = self.bias + (passage - unstated) @ self.middle
        found = (passage, self.shape, unstated, bias)
        return Selector(self.moves, *(one.detach().numpy() for one in found))


def loss(weights: Weights, tokens: Tokens, one: Example) -> torch.Tensor:
    """Return the mean cross-entropy of the moves of an abstract."""
    losses = []
    for move, scores, unstated in weights.scores(tokens, one):
        odds = torch.logsumexp(scores, 0) - unstated
        if move not in one.scores:
            losses.append(functional.softplus(odds))
            continue
        target = torch.softmax(torch.tensor(one.scores[move]) / TEMPERATURE, 0)
        chosen = -(target * torch.log_softmax(scores, 0)).sum()
        losses.append(chosen + functional.softplus(-odds))
    return torch.stack(losses).mean()


def batches(examples: Sequence[int], texts: Sequence[Text]) -> list[list[int]]:
    """Return the examples in a random order, divided into batches of similar length."""
    order, found = random.sample(examples, len(examples)), []
    for start in range(0, len(order), BUCKET):
        bucket = sorted(order[start : start + BUCKET], key=lambda i: len(texts[i].hidden))
        found += [bucket[first : first + BATCH] for first in range(0, len(bucket), BATCH)]
    return random.sample(found, len(found))


def train(
    reader: TunedReader, examples: Sequence[Example], texts: Sequence[Text], held: int, epochs: int
) -> Weights:
    """Tune the reader and the weights on the examples after the first `held` ones."""
    adapter, kept = reader.tune(), range(held, len(examples))
    vectors = [
        tokens.vectors(examples[place].candidates[nanda().names[0]].bounds)
        for place in kept[::SAMPLED]
        for tokens in reader.read([texts[place]])
    ]
    weights = Weights(nanda().names, torch.cat(vectors))
    groups = [{"params": adapter}, {"params": weights.parameters(), "lr": WEIGHT_RATE}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, weight_decay=0.0)
    steps = epochs * len(batches(kept, texts))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    for epoch in range(1, epochs + 1):
        losses = []
        for batch in batches(kept, texts):
            read = reader.read([texts[place] for place in batch], training=True)
            pairs = zip(read, batch, strict=True)
            found = torch.stack([loss(weights, own, examples[i]) for own, i in pairs]).mean()
            optimizer.zero_grad()
            found.backward()
            torch.nn.utils.clip_grad_norm_(adapter, NORM)
            optimizer.step()
            schedule.step()
            losses.append(found.item())
        print(f"epoch {epoch}: loss {mean(losses):.3f}", flush=True)
        if held:
            report(weights, reader, examples[:held], texts[:held])
    return weights


def _rate(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step."""
    return min(1.0, (step + 1) / WARMUP) * (1 + math.cos(math.pi * step / steps)) / 2


def report(
    weights: Weights, reader: TunedReader, examples: Sequence[Example], texts: Sequence[Text]
) -> None:
    """Print the loss, and by move the F1 of the most probable passage and the kappa of "stated"."""
    losses: list[float] = []
    scores: dict[str, list[float]] = {move: [] for move in weights.moves}
    stated: dict[str, list[tuple[bool, bool]]] = {move: [] for move in weights.moves}
    for one, text in zip(examples, texts, strict=True):
        [tokens] = reader.read([text])
        with torch.no_grad():
            losses.append(loss(weights, tokens, one).item())
            found_by_move = [*weights.scores(tokens, one)]
        for move, found, unstated in found_by_move:
            stated[move].append((bool(torch.logsumexp(found, 0) > unstated), move in one.scores))
            if move in one.scores:
                scores[move].append(float(one.scores[move][int(found.argmax())]))
    print(f"{'held out':<14}{'F1':>8}{'kappa':>8}   loss {mean(losses):.3f}")
    for move in weights.moves:
        f1 = mean(scores[move]) if scores[move] else math.nan
        print(f"{move:<14}{f1:>8.3f}{cohen(*np.array(stated[move]).T):>8.3f}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--db", type=Path, help="the corpus with missing abstracts")
    parser.add_argument("--held-out", type=int, default=0, metavar="N")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args(argv)
    random.seed(0)
    torch.manual_seed(0)
    framework = nanda()
    rows = [row for path in options.tables for row in rows_of(path, framework, options.db)]
    examples = [example(row, framework) for row in rows]
    reader = TunedReader()
    texts = [reader.text(one.sentences) for one in examples]
    weights = train(reader, examples, texts, options.held_out, options.epochs)
    found = weights.selector()
    arrays = {name: getattr(found, name) for name in ("passage", "shape", "unstated", "bias")}
    np.savez_compressed(options.out / WEIGHTS, moves=np.array(found.moves), **arrays)
    reader.write(options.out / ADAPTER)
    return 0


if __name__ == "__main__":
    sys.exit(main())
