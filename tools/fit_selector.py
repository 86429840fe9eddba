"""Fit the selector on annotated abstracts.

    python tools/fit_selector.py TABLE ... [--db CORPUS] [--out FILE] [--folds N]

The tables have the columns of a gold table; the abstracts of one without them are read from the
corpus. A move that is stated is a soft target: each sentence has the weight
exp(s / `TEMPERATURE`), where s is the score of its passage most similar to the move
(`skills.nanda.quoting.alignment`). The features are standardized and divided by the square root of
their number. The loss is the cross-entropy plus `DECAY` times the squared weights, minimized by
L-BFGS. With --folds, the share of right sentences is measured by cross-validation on the first
table, and nothing is written.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


from skills.annotate.selector.selector import WEIGHTS, Selector, described
from skills.corpus.db.connection import open_corpus
from skills.corpus.tables.abstract_lookup import complete_rows
from skills.corpus.tables.reader import TableRow, open_table
from skills.nanda.framework import Framework, nanda
from skills.nanda.quoting.alignment import scores_by_sentence
from skills.nanda.quoting.numbered import numbered
from tools.log_linear import minimized

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEMPERATURE = 0.08
DECAY = 0.25
SMALLEST = 1e-3
"""Added to the standard deviation of a feature, by which it is divided."""
CONSTANT = 10.0
"""The feature by which "not stated" has a bias, which `DECAY` hardly limits."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """An abstract with the score of each sentence for each move, or None if it is not stated.

    Attributes:
        described: its sentences, (sentences, features).
    """

    described: NDArray[Any]
    scores: Mapping[str, Sequence[float] | None]


def rows_of(path: Path, framework: Framework, corpus: Path | None) -> list[TableRow]:
    """Return the rows of a table, with abstracts from the corpus if the table has none."""
    table = open_table(path, moves=framework.names, abstract_by="provenance")
    if table.has_abstracts or corpus is None:
        return list(table.rows())
    with open_corpus(corpus, must_exist=True) as db:
        return [row for row in complete_rows(db, table) if isinstance(row, TableRow)]


def labelled(row: TableRow, framework: Framework) -> Labelled:
    """Return the sentences of an annotated abstract with their scores."""
    sentences = numbered(row.paper.abstract)
    phrases, moves = [one.phrases for one in sentences], row.valid_moves(framework)
    stated = framework.stated(moves)
    scores = {
        name: scores_by_sentence(stated[name], phrases, framework.max_chars)
        if name in stated
        else None
        for name in framework.names
    }
    return Labelled(described([one.text for one in sentences]), scores)


def fit(rows: Sequence[Labelled], names: Sequence[str]) -> Selector:
    """Return the selector that fits the rows best."""
    every = np.concatenate([row.described for row in rows])
    middle, count = every.mean(axis=0), every.shape[1]
    scale = (every.std(axis=0) + SMALLEST) * math.sqrt(count)
    blocks = [_candidates((row.described - middle) / scale) for row in rows]
    abstract = np.repeat(np.arange(len(rows)), [len(block) for block in blocks])
    features = np.concatenate(blocks)
    found = [minimized(features, abstract, _targets(rows, name), DECAY) for name in names]
    weights, bias = np.array([one[:-1] for one in found]), np.array([one[-1] for one in found])
    # With the scale and the middle in the weights, a description is used as it is.
    sentence, unstated = weights[:, :count] / scale, weights[:, count:] / scale
    bias = CONSTANT * bias + (sentence - unstated) @ middle
    arrays = (one.astype(np.float32) for one in (sentence, unstated, bias))
    return Selector(tuple(names), *arrays)


def _candidates(described: NDArray[Any]) -> NDArray[Any]:
    """Return the features of the candidates: the sentences, then "not stated"."""
    count, width = described.shape
    found = np.zeros((count + 1, 2 * width + 1))
    found[:count, :width] = described
    found[count, width:-1] = described.mean(axis=0)
    found[count, -1] = CONSTANT
    return found


def _targets(rows: Sequence[Labelled], name: str) -> NDArray[Any]:
    """Return the target probability of each candidate, the abstracts one after the other."""
    targets: list[float] = []
    for row in rows:
        scores = row.scores[name]
        if scores is None:
            targets += [*[0.0] * len(row.described), 1.0]
        else:
            powers = np.exp((np.array(scores) - max(scores)) / TEMPERATURE)
            targets += [*(powers / powers.sum()), 0.0]
    return np.array(targets)


def share_right(selector: Selector, rows: Sequence[Labelled]) -> dict[str, tuple[int, int]]:
    """Return for each move how many of the stated ones have the right sentence, and their number.

    A sentence is right if its passage is the most similar one.
    """
    right = {name: [0, 0] for name in selector.moves}
    for row in rows:
        chosen = selector.probabilities(row.described)
        for name, scores in row.scores.items():
            if scores is not None:
                best = max(range(len(scores)), key=lambda place: chosen[name][place + 1])
                right[name][0] += scores[best] >= max(scores)
                right[name][1] += 1
    return {name: (found, count) for name, (found, count) in right.items()}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--db", type=Path, help="the corpus with missing abstracts")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--folds", type=int, default=0)
    options = parser.parse_args(argv)
    framework = nanda()
    tables = [
        [labelled(row, framework) for row in rows_of(path, framework, options.db)]
        for path in options.tables
    ]
    if not options.folds:
        fitted = fit([row for table in tables for row in table], framework.names)
        moves = np.array(fitted.moves)
        arrays = {name: getattr(fitted, name) for name in ("sentence", "unstated", "bias")}
        np.savez_compressed(options.out, moves=moves, **arrays)
        return 0
    first, others = tables[0], [row for table in tables[1:] for row in table]
    random.Random(0).shuffle(first)  # noqa: S311  no secret
    total = dict.fromkeys(framework.names, (0, 0))
    for fold in range(options.folds):
        kept = [row for place, row in enumerate(first) if place % options.folds != fold]
        found = share_right(fit(kept + others, framework.names), first[fold :: options.folds])
        total = {n: (a + found[n][0], b + found[n][1]) for n, (a, b) in total.items()}
    for name, (right, count) in total.items():
        print(f"{name:<12}{right:>5} of {count:>4}{right / max(count, 1):>7.2f}")
    right, count = (sum(values) for values in zip(*total.values(), strict=True))
    print(f"{'all':<12}{right:>5} of {count:>4}{right / max(count, 1):>7.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
