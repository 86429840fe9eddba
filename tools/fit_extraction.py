"""Fit the weights of the extractive wording on annotated abstracts.

    python tools/fit_extraction.py GOLD DRAFTS.jsonl [--also TABLE ... --db CORPUS] [--out FILE]

DRAFTS.jsonl is saved by `/annotate GOLD --wording extractive` with a model that was not trained on
the papers of GOLD. The selector is not fitted on a paper that it is applied to: for each of `FOLDS`
folds it is fitted on the others and on further tables (`fit_selector`). The target probability of a
candidate is proportional to exp(f / `TEMPERATURE`), where f is its ROUGE-L F1 with the gold; the
loss is the cross-entropy plus `DECAY` times the squared weights. The priors are the shares of
papers that state a move of `DECIDED`, and a move is stated from the lowest balance on with which
`smoothed` kappa to the gold is at most `TOLERANCE` below the highest. Prints the figures of each
fold with the weights that are fitted on the others, then writes those fitted on all.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


from skills.annotate.extractive.candidates import FEATURES, Candidates, Kind, candidates_of
from skills.annotate.extractive.extract import choose
from skills.annotate.extractive.ranking import WEIGHTS, Weights, balance, logit, similarity
from skills.annotate.extractive.stated import disagree, is_stated, limit_of, stated_probability
from skills.annotate.selector.selector import Selector, described
from skills.corpus.tables.reader import TableRow
from skills.nanda.anchors.lexical import lexical_anchors
from skills.nanda.framework import Framework, nanda
from skills.nanda.paper import ID_FIELDS
from skills.nanda.quoting.numbered import numbered
from skills.nanda.text import stems
from tools.fit_selector import fit, labelled, rows_of
from tools.log_linear import minimized

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEMPERATURE = 0.02
DECAY = 1.0
FOLDS = 5
DECIDED = ("evidence", "limitation", "comparison", "implication")
BALANCES = [place / 20 for place in range(2, 19)]
"""Balances from which a move may be stated."""
TOLERANCE = 0.02
"""Loss of kappa for which a lower balance is taken: it is within chance, and a move that is stated
uncertainly is marked, whereas nobody sees that one is missing."""


@dataclass(frozen=True, slots=True)
class Case:
    """A paper with its gold, its drafts, the probabilities of the selector, and its candidates."""

    abstract: str
    gold: Mapping[str, str]
    drafts: Mapping[str, str]
    stated: Mapping[str, float]
    likely: Mapping[str, Sequence[float]]
    candidates: Mapping[str, Candidates]
    features: Mapping[str, NDArray[Any]]

    def probabilities(self, move: str, weights: Weights) -> NDArray[Any]:
        return weights.probabilities(self.candidates[move].kind, self.features[move])

    def stated_probability(self, move: str, by_model: float | None, weights: Weights) -> float:
        selected, prior = 1 - self.likely[move][0], weights.priors.get(move)
        return stated_probability(move in self.drafts, by_model, selected, prior)

    def by_model(self, move: str, prior: float) -> float | None:
        """Return the model's probability that a move is stated, if it would be requested."""
        needed = disagree(move in self.drafts, 1 - self.likely[move][0], prior)
        return self.stated.get(move) if needed else None


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("gold", type=Path)
    parser.add_argument("drafts", type=Path)
    parser.add_argument("--also", nargs="*", type=Path, default=[], help="tables for the selector")
    parser.add_argument("--db", type=Path, help="the corpus with their missing abstracts")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args(argv)
    framework = nanda()
    tables = [rows_of(path, framework, options.db) for path in options.also]
    folds = folds_of(options.gold, options.drafts, [row for table in tables for row in table])
    held = [
        (fold, fitted([case for other in folds if other is not fold for case in other], framework))
        for fold in folds
    ]
    weights = fitted([case for fold in folds for case in fold], framework)
    pairs = [pair for fold, one in held for case in fold for pair in confidences(case, one)]
    slope, intercept = _logistic(np.array(pairs))
    weights = replace(weights, confidence=(slope, intercept))
    report(held, framework)
    options.out.write_text(_written(weights), encoding="utf-8")
    return 0


def folds_of(gold: Path, drafts: Path, also: Sequence[TableRow]) -> list[list[Case]]:
    """Return the papers that both files have, divided by their place in the table.

    Args:
        also: further papers to fit the selectors on.
    """
    framework = nanda()
    lines = map(json.loads, drafts.read_text(encoding="utf-8").splitlines())
    records = {next(record[key] for key in ID_FIELDS if key in record): record for record in lines}
    rows = [row for row in rows_of(gold, framework, None) if row.paper.id in records]
    known = [labelled(row, framework) for row in rows]
    further = [labelled(row, framework) for row in also]
    folds = []
    for fold in range(FOLDS):
        others = [one for place, one in enumerate(known) if place % FOLDS != fold]
        selector = fit(others + further, framework.names)
        cases = [
            _case(row, records[row.paper.id]["provenance"], selector, framework)
            for row in rows[fold::FOLDS]
        ]
        folds.append(cases)
    return folds


def _case(row: TableRow, made: Mapping[str, Any], selector: Selector, framework: Framework) -> Case:
    """Return a paper with the drafts and probabilities of its record."""
    sentences = numbered(row.paper.abstract, limit_of(framework))
    likely = selector.probabilities(described([one.text for one in sentences]))
    found = candidates_of(framework.names, sentences, limit_of(framework))
    drafts = {move: [made["drafts"][move]] if move in made["drafts"] else [] for move in found}
    features = {move: own.features(drafts[move], likely[move]) for move, own in found.items()}
    gold = framework.stated(row.valid_moves(framework))
    return Case(row.paper.abstract, gold, made["drafts"], made["stated"], likely, found, features)


def fitted(cases: Sequence[Case], framework: Framework) -> Weights:
    """Return the weights and decisions that fit the cases best, without calibration."""
    weights = {kind: _weights(cases, kind) for kind in get_args(Kind)}
    shares = {move: mean(move in case.gold for case in cases) for move in DECIDED}
    found = Weights(weights, shares, {}, (1.0, 0.0))
    return replace(found, least={move: _least(move, cases, found) for move in DECIDED})


def _least(move: str, cases: Sequence[Case], weights: Weights) -> float:
    """Return the lowest balance from which a move is stated with nearly the highest kappa."""
    gold = np.array([move in case.gold for case in cases])
    found = [balance_of(move, case, weights) for case in cases]
    balances = np.array([1.0 if one is None else one for one in found])
    return lowest(smoothed([cohen(balances >= one, gold) for one in BALANCES]))


def lowest(kappas: NDArray[Any]) -> float:
    """Return the lowest of `BALANCES` whose kappa is at most `TOLERANCE` below the best one."""
    return BALANCES[int(np.argmax(kappas >= kappas.max() - TOLERANCE))]


def balance_of(move: str, case: Case, weights: Weights) -> float | None:
    """Return the balance by which a move is decided; None if answer and selector both state it."""
    by_model = case.by_model(move, weights.priors[move])
    if by_model is None:
        return None
    stated = case.stated_probability(move, by_model, weights)
    right = case.candidates[move].of_best_sentence(case.probabilities(move, weights))
    return balance(stated, right)


def smoothed(values: Sequence[float]) -> NDArray[Any]:
    """Return the mean of each value and two on each side: a single peak is chance."""
    return np.convolve(np.pad(values, 2, "edge"), np.full(5, 1 / 5), "valid")


def _weights(cases: Sequence[Case], kind: Kind) -> tuple[float, ...]:
    features, targets, groups = [], [], []
    for case in cases:
        for move in case.gold.keys() & case.drafts.keys():
            if case.candidates[move].kind == kind:
                gold = stems(case.gold[move])
                scores = np.array([similarity(own, gold) for own in case.candidates[move].stems])
                powers = np.exp((scores - scores.max()) / TEMPERATURE)
                features.append(case.features[move])
                targets.append(powers / powers.sum())
                groups.append(len(scores))
    group = np.repeat(np.arange(len(groups)), groups)
    found = minimized(np.concatenate(features), group, np.concatenate(targets), DECAY)
    return tuple(float(one) for one in found)


def cohen(predicted: NDArray[Any], gold: NDArray[Any]) -> float:
    """Return Cohen's kappa of two arrays of booleans."""
    agreed = float((predicted == gold).mean())
    p, q = float(predicted.mean()), float(gold.mean())
    chance = p * q + (1 - p) * (1 - q)
    return (agreed - chance) / (1 - chance) if chance < 1 else 0.0


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
    print(f"{'':<14}{'ROUGE-L':>8}{'anchor':>8}{'kappa':>8}")
    means = "mean", *np.nanmean([row[1:] for row in rows], axis=0)
    for name, *values in (*rows, means):
        print(f"{name:<14}" + "".join(f"{value:>8.3f}" for value in values))


def _mean(values: Sequence[float]) -> float:
    return mean(values) if values else math.nan


def chosen_of(case: Case, weights: Weights) -> dict[str, tuple[int, float]]:
    """Return the candidate of each move that the weights state, and its confidence."""
    ranked = {}
    for move in case.likely:
        by_model = case.by_model(move, weights.priors[move]) if move in weights.priors else None
        stated = case.stated_probability(move, by_model, weights)
        found = case.probabilities(move, weights)
        right = case.candidates[move].of_best_sentence(found)
        if is_stated(move, move in case.drafts, by_model, stated, right, weights):
            ranked[move] = found
    return choose(case.candidates, ranked, weights)


def _written(weights: Weights) -> str:
    stored = {
        "weights": {
            kind: dict(zip(FEATURES, (round(one, 3) for one in found), strict=True))
            for kind, found in weights.weights.items()
        },
        "priors": {move: round(one, 3) for move, one in weights.priors.items()},
        "least": {move: round(one, 3) for move, one in weights.least.items()},
        "confidence": {
            name: round(v, 3)
            for name, v in zip(("slope", "intercept"), weights.confidence, strict=True)
        },
    }
    return json.dumps(stored, indent=2) + "\n"


if __name__ == "__main__":
    sys.exit(main())
