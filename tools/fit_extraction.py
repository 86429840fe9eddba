"""Fit what decides about the quotes of the selector on annotated abstracts.

    python tools/fit_extraction.py GOLD [--papers 250] [--out FOLDER]

The selector was not fitted on the first papers of GOLD (`fit_selector --held-out`). A move of
`DECIDED` is stated from the lowest balance on with which `smoothed` kappa to the gold is at most
`TOLERANCE` below the highest; the others are always stated. Prints the figures of each of `FOLDS`
folds with what is fitted on the others, then writes what is fitted on all papers.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


from skills.annotate.extractive.extract import choose
from skills.annotate.extractive.ranking import ALONE, Weights, logit, similarity
from skills.annotate.extractive.reading import Reading, balance
from skills.annotate.selector.candidates import Candidates
from skills.nanda.anchors.lexical import lexical_anchors
from skills.nanda.framework import Framework, nanda
from skills.nanda.text import stems
from tools.gold import cohen, rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS = 5
DECIDED = ("evidence", "limitation", "comparison", "implication")
BALANCES = [place / 20 for place in range(2, 19)]
"""Balances from which a move may be stated."""
TOLERANCE = 0.02
"""Loss of kappa for which a lower balance is taken: it is within chance, and a move that is stated
uncertainly is marked, whereas nobody sees that one is missing."""


@dataclass(frozen=True, slots=True)
class Case:
    """A paper.

    Attributes:
        gold: the moves that it states.
    """

    abstract: str
    gold: Mapping[str, str]
    reading: Reading

    @property
    def candidates(self) -> dict[str, Candidates]:
        return {move: one.candidates for move, one in self.reading.by_move.items()}

    def probabilities(self, move: str) -> NDArray[Any]:
        return np.exp(self.reading.by_move[move].passages)

    def right(self, move: str) -> float:
        """Return the probability of the most probable sentence of a move."""
        return self.candidates[move].of_best_sentence(self.probabilities(move))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("gold", type=Path)
    parser.add_argument("--papers", type=int, default=250, help="the first ones of the table")
    parser.add_argument("--out", type=Path, default=ALONE.parent)
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    framework = nanda()
    cases = [
        Case(
            row.paper.abstract,
            framework.stated(row.valid_moves(framework)),
            Reading.of(row.paper.abstract),
        )
        for row in rows_of(options.gold, framework)[: options.papers]
    ]
    held = [(fold, fitted(rest)) for fold, rest in folds_of(cases)]
    report(held, framework)
    pairs = [pair for fold, one in held for case in fold for pair in confidences(case, one)]
    slope, intercept = _logistic(np.array(pairs))
    weights = replace(fitted(cases), confidence=(slope, intercept))
    (options.out / ALONE.name).write_text(_written(weights), encoding="utf-8")
    return 0


def folds_of(cases: Sequence[Case]) -> Iterator[tuple[Sequence[Case], Sequence[Case]]]:
    """Yield each fold of the papers with all the others."""
    for fold in range(FOLDS):
        others = [case for place, case in enumerate(cases) if place % FOLDS != fold]
        yield cases[fold::FOLDS], others


def fitted(cases: Sequence[Case]) -> Weights:
    """Return the decisions that fit the cases best, without calibration."""
    return Weights({move: _least(move, cases) for move in DECIDED}, (1.0, 0.0))


def _least(move: str, cases: Sequence[Case]) -> float:
    """Return the lowest balance from which a move is stated with nearly the highest kappa."""
    gold = np.array([move in case.gold for case in cases])
    balances = np.array([balance_of(move, case) for case in cases])
    return lowest(smoothed([cohen(balances >= one, gold) for one in BALANCES]))


def lowest(kappas: NDArray[Any]) -> float:
    """Return the lowest of `BALANCES` whose kappa is at most `TOLERANCE` below the best one."""
    return BALANCES[int(np.argmax(kappas >= kappas.max() - TOLERANCE))]


def balance_of(move: str, case: Case) -> float:
    """Return the balance by which a move is decided."""
    return balance(1 - case.reading.by_move[move].unstated, case.right(move))


def smoothed(values: Sequence[float]) -> NDArray[Any]:
    """Return the mean of each value and two on each side: a single peak is chance."""
    return np.convolve(np.pad(values, 2, "edge"), np.full(5, 1 / 5), "valid")


def _logistic(rows: NDArray[Any]) -> tuple[float, ...]:
    """Return the weights and the bias of a logistic regression; the last column is the target."""
    from scipy.optimize import minimize

    inputs = np.column_stack([rows[:, :-1], np.ones(len(rows))])
    signs = 2 * rows[:, -1] - 1

    def loss(weights: NDArray[Any]) -> float:
        return float(np.logaddexp(0, -signs * (inputs @ weights)).sum() + 0.01 * weights @ weights)

    return tuple(float(one) for one in minimize(loss, np.zeros(inputs.shape[1])).x)


def confidences(case: Case, weights: Weights) -> list[tuple[float, float]]:
    """Return for each move that is stated the log odds of its sentence, and whether it is right."""
    ranked = {move: case.probabilities(move) for move in case.gold}
    anchors = lexical_anchors(case.abstract, case.gold)
    found = []
    for move, (number, probability) in choose(case.candidates, ranked, weights).items():
        sentence = case.candidates[move].passages[number].sentence
        found.append((logit(probability), float(sentence in anchors[move]["sentences"])))
    return found


def report(held: Sequence[tuple[Sequence[Case], Weights]], framework: Framework) -> None:
    """Print the figures of held-out papers by move, of the moves that both state, and their means.

    A right anchor is one of the sentences that share most words with the gold's move.
    """
    rows = []
    for move in framework.names:
        scores, right, stated = [], [], []
        for case, chosen in ((case, chosen_of(case, one)) for fold, one in held for case in fold):
            stated.append((move in chosen, move in case.gold))
            if all(stated[-1]):
                number, gold = chosen[move][0], case.gold[move]
                scores.append(similarity(case.candidates[move].stems[number], stems(gold)))
                sentence = case.candidates[move].passages[number].sentence
                expected = lexical_anchors(case.abstract, {move: gold})[move]["sentences"]
                right.append(sentence in expected)
        rows.append((move, _mean(scores), _mean(right), cohen(*np.array(stated).T)))
    print(f"{'':<20}{'ROUGE-L':>8}{'anchor':>8}{'kappa':>8}")
    means = "mean", *np.nanmean([row[1:] for row in rows], axis=0)
    for name, *values in (*rows, means):
        print(f"{name:<20}" + "".join(f"{value:>8.3f}" for value in values))


def _mean(values: Sequence[float]) -> float:
    return mean(values) if values else math.nan


def chosen_of(case: Case, weights: Weights) -> dict[str, tuple[int, float]]:
    """Return the candidate of each move that the weights state, and its confidence."""
    ranked = {
        move: case.probabilities(move)
        for move in case.reading.by_move
        if case.reading.states(move, case.right(move), weights)
    }
    return choose(case.candidates, ranked, weights)


def _written(weights: Weights) -> str:
    stored = {
        "least": {move: round(one, 3) for move, one in weights.least.items()},
        "confidence": {
            name: round(v, 3)
            for name, v in zip(("slope", "intercept"), weights.confidence, strict=True)
        },
    }
    return json.dumps(stored, indent=2) + "\n"


if __name__ == "__main__":
    sys.exit(main())
