"""Fit the weights of the extractive wording on annotated abstracts.

    python tools/fit_extraction.py GOLD DRAFTS.jsonl [--out FOLDER]

DRAFTS.jsonl is saved by `/annotate GOLD --wording extractive` with a model that was not trained on
the papers of GOLD; neither was the selector (`fit_selector --held-out`). The target probability of
a candidate is proportional to exp(f / `TEMPERATURE`), where f is its ROUGE-L F1 with the gold; the
loss is the cross-entropy plus `DECAY` times the squared weights. A move of `DECIDED` is stated from
the lowest balance on with which `smoothed` kappa to the gold is at most `TOLERANCE` below the
highest. Prints the figures of each of `FOLDS` folds with the weights that are fitted on the others,
and those of the selector alone, then writes what is fitted on all papers for both.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


from skills.annotate.extractive.extract import choose
from skills.annotate.extractive.features import FEATURES, features
from skills.annotate.extractive.ranking import ALONE, WEIGHTS, Weights, logit, similarity
from skills.annotate.extractive.reading import Reading, balance
from skills.annotate.selector.candidates import Candidates, Kind
from skills.corpus.tables.reader import TableRow
from skills.nanda.anchors.lexical import lexical_anchors
from skills.nanda.framework import Framework, nanda
from skills.nanda.paper import ID_FIELDS
from skills.nanda.text import stems
from tools.gold import cohen, rows_of
from tools.log_linear import minimized

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEMPERATURE = 0.02
DECAY = 1.0
FOLDS = 5
DECIDED = ("evidence", "limitation", "comparison", "implication")
BALANCES = [place / 20 for place in range(2, 19)]
"""Balances from which a move may be stated."""
OF_SELECTOR: Mapping[Kind, tuple[float, ...]] = {
    kind: (1.0, *[0.0] * (len(FEATURES) - 1)) for kind in get_args(Kind)
}
"""Weights by which the probabilities are those of the selector."""
TOLERANCE = 0.02
"""Loss of kappa for which a lower balance is taken: it is within chance, and a move that is stated
uncertainly is marked, whereas nobody sees that one is missing."""


@dataclass(frozen=True, slots=True)
class Case:
    """A paper.

    Attributes:
        gold: the moves that it states.
        drafts: the moves that the model wrote.
        features: of the candidates of each move.
    """

    abstract: str
    gold: Mapping[str, str]
    drafts: Mapping[str, str]
    reading: Reading
    features: Mapping[str, NDArray[Any]]

    @property
    def candidates(self) -> dict[str, Candidates]:
        return {move: one.candidates for move, one in self.reading.by_move.items()}

    def without_drafts(self) -> Case:
        """Return the paper as the selector alone decides: the moves left to a draft are stated."""
        return replace(self, drafts=dict.fromkeys(self.reading.by_move, ""))

    def probabilities(self, move: str, weights: Weights) -> NDArray[Any]:
        return weights.probabilities(self.candidates[move].kind, self.features[move])

    def right(self, move: str, weights: Weights) -> float:
        """Return the probability of the most probable sentence of a move."""
        return self.candidates[move].of_best_sentence(self.probabilities(move, weights))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("gold", type=Path)
    parser.add_argument("drafts", type=Path)
    parser.add_argument("--out", type=Path, default=WEIGHTS.parent)
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    framework = nanda()
    cases = cases_of(options.gold, options.drafts, framework)
    alone = [case.without_drafts() for case in cases]
    for title, path, fit, papers in (
        ("selector and drafts", WEIGHTS, fitted, cases),
        ("selector alone", ALONE, partial(decided, OF_SELECTOR), alone),
    ):
        held = [(fold, fit(rest)) for fold, rest in folds_of(papers)]
        report(title, held, framework)
        pairs = [pair for fold, one in held for case in fold for pair in confidences(case, one)]
        slope, intercept = _logistic(np.array(pairs))
        weights = replace(fit(papers), confidence=(slope, intercept))
        (options.out / path.name).write_text(_written(weights), encoding="utf-8")
    return 0


def folds_of(cases: Sequence[Case]) -> Iterator[tuple[Sequence[Case], Sequence[Case]]]:
    """Yield each fold of the papers with all the others."""
    for fold in range(FOLDS):
        others = [case for place, case in enumerate(cases) if place % FOLDS != fold]
        yield cases[fold::FOLDS], others


def cases_of(gold: Path, drafts: Path, framework: Framework) -> list[Case]:
    """Return the papers that both files have, in the order of the table."""
    lines = map(json.loads, drafts.read_text(encoding="utf-8").splitlines())
    records = {next(record[key] for key in ID_FIELDS if key in record): record for record in lines}
    return [
        _case(row, records[row.paper.id]["provenance"], framework)
        for row in rows_of(gold, framework)
        if row.paper.id in records
    ]


def _case(row: TableRow, made: Mapping[str, Any], framework: Framework) -> Case:
    """Return a paper with the drafts and probabilities of its record."""
    reading, drafts = Reading.of(row.paper.abstract, framework), made["drafts"]
    described = {
        move: features(one, [drafts[move]] if move in drafts else [])
        for move, one in reading.by_move.items()
    }
    gold = framework.stated(row.valid_moves(framework))
    return Case(row.paper.abstract, gold, drafts, reading, described)


def fitted(cases: Sequence[Case]) -> Weights:
    """Return the weights and decisions that fit the cases best, without calibration."""
    return decided({kind: _weights(cases, kind) for kind in get_args(Kind)}, cases)


def decided(weights: Mapping[Kind, tuple[float, ...]], cases: Sequence[Case]) -> Weights:
    """Return the weights with the decisions that fit the cases best."""
    found = Weights(weights, {}, (1.0, 0.0))
    return replace(found, least={move: _least(move, cases, found) for move in DECIDED})


def _least(move: str, cases: Sequence[Case], weights: Weights) -> float:
    """Return the lowest balance from which a move is stated with nearly the highest kappa."""
    gold = np.array([move in case.gold for case in cases])
    balances = np.array([balance_of(move, case, weights) for case in cases])
    return lowest(smoothed([cohen(balances >= one, gold) for one in BALANCES]))


def lowest(kappas: NDArray[Any]) -> float:
    """Return the lowest of `BALANCES` whose kappa is at most `TOLERANCE` below the best one."""
    return BALANCES[int(np.argmax(kappas >= kappas.max() - TOLERANCE))]


def balance_of(move: str, case: Case, weights: Weights) -> float:
    """Return the balance by which a move is decided."""
    return balance(1 - case.reading.by_move[move].unstated, case.right(move, weights))


def smoothed(values: Sequence[float]) -> NDArray[Any]:
    """Return the mean of each value and two on each side: a single peak is chance."""
    return np.convolve(np.pad(values, 2, "edge"), np.full(5, 1 / 5), "valid")


def _weights(cases: Sequence[Case], kind: Kind) -> tuple[float, ...]:
    rows, targets, groups = [], [], []
    for case in cases:
        for move in case.gold.keys() & case.drafts.keys():
            if case.candidates[move].kind == kind:
                gold = stems(case.gold[move])
                scores = np.array([similarity(own, gold) for own in case.candidates[move].stems])
                powers = np.exp((scores - scores.max()) / TEMPERATURE)
                rows.append(case.features[move])
                targets.append(powers / powers.sum())
                groups.append(len(scores))
    group = np.repeat(np.arange(len(groups)), groups)
    found = minimized(np.concatenate(rows), group, np.concatenate(targets), DECAY)
    return tuple(float(one) for one in found)


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
    ranked = {move: case.probabilities(move, weights) for move in case.gold}
    anchors = lexical_anchors(case.abstract, case.gold)
    found = []
    for move, (number, probability) in choose(case.candidates, ranked, weights).items():
        sentence = case.candidates[move].passages[number].sentence
        found.append((logit(probability), float(sentence in anchors[move]["sentences"])))
    return found


def report(
    title: str, held: Sequence[tuple[Sequence[Case], Weights]], framework: Framework
) -> None:
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
    print(f"{title:<20}{'ROUGE-L':>8}{'anchor':>8}{'kappa':>8}")
    means = "mean", *np.nanmean([row[1:] for row in rows], axis=0)
    for name, *values in (*rows, means):
        print(f"{name:<20}" + "".join(f"{value:>8.3f}" for value in values))


def _mean(values: Sequence[float]) -> float:
    return mean(values) if values else math.nan


def chosen_of(case: Case, weights: Weights) -> dict[str, tuple[int, float]]:
    """Return the candidate of each move that the weights state, and its confidence."""
    ranked = {
        move: case.probabilities(move, weights)
        for move in case.reading.by_move
        if case.reading.states(move, move in case.drafts, case.right(move, weights), weights)
    }
    return choose(case.candidates, ranked, weights)


def _written(weights: Weights) -> str:
    stored = {
        "weights": {
            kind: dict(zip(FEATURES, (round(one, 3) for one in found), strict=True))
            for kind, found in weights.weights.items()
        },
        "least": {move: round(one, 3) for move, one in weights.least.items()},
        "confidence": {
            name: round(v, 3)
            for name, v in zip(("slope", "intercept"), weights.confidence, strict=True)
        },
    }
    return json.dumps(stored, indent=2) + "\n"


if __name__ == "__main__":
    sys.exit(main())
