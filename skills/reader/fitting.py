"""Fit figures to the predictions for examples, and compute the gain in accuracy.

The predictions come from a cross-validation.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.runs import targets
from skills.reader.choice import MOST, assigned, further, log_shares, stated_shares
from skills.reader.encoder import Fitted, Scores
from skills.reader.examples import Example
from skills.reporting.statistics import bootstrap_weights, kappa_of, rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

REPEATED = 0.5
"""Reduction of the log probability of a sentence for a second move.

Values from 0 to 1 change the share of right sentences on the held-out papers of the shipped reader
by less than a percentage point; 0.5 is best.
"""
GRID = np.arange(0.04, 0.95, 0.02)
"""Thresholds for "stated" that are tried. A rare move needs a low threshold."""
NEAR = 0.05
"""Difference of two values of kappa that is not significant on a few hundred papers."""
PARTS = np.arange(0.2, 0.81, 0.02)
"""Thresholds that are tried for quoting a second or third sentence.

They begin below 0.5, since it is worse to omit a step or result than to quote too much.
"""
STEPS, RATE = 2_000, 0.05
"""Number of steps and learning rate of the logistic regression."""
SMALLEST = 1e-4
FOLDS = 5
RESAMPLES = 2_000
LOW, LEAST, HIGH = 0.025, 0.05, 0.975
"""Quantiles of the resampled gains: LOW and HIGH are the ends of the two-sided 95% interval, and
LEAST is the lower end of the one-sided 95% interval.
"""
ENDS = 3
"""`by_place` considers the first `ENDS` and the last `ENDS` sentences of an abstract as places."""
KEPT = ("sentence", "part", "unstated")
"""The fields of `Scores` that are stored. The gain does not depend on the scores of tokens."""


Read = Sequence[tuple[Example, Scores]]


def fit(read: Read, moves: Sequence[str]) -> Fitted:
    """Return the figures with which the choices agree best with the labels in `read`.

    The threshold of "stated" is the median of the thresholds whose kappa with the labels is at most
    `NEAR` below the highest kappa, and above 0 if possible. This threshold is 0.5 for a move that
    all papers or no papers state. The threshold for further sentences maximizes F1 with
    the labelled sentences. It is 1 if only the most probable sentences are labelled.

    The confidence comes from a logistic regression (Platt 1999) on whether at least one of the
    quoted sentences states the move. A sentence that is quoted for a move that is not stated counts
    as wrong. The sentences that `choice` adds to passages with a low confidence are not included.

    Args:
        read: examples with labels, and their scores.
        moves: names of all moves.
    """
    stated = {move: _stated(read, number) for number, move in enumerate(moves)}
    part = {move: _part(read, number, move) for number, move in enumerate(moves)}
    return Fitted(_confidence(read, stated, part, moves), stated, part, REPEATED)


def _stated(read: Read, move: int) -> float:
    labelled = [(example, scores) for example, scores in read if move in example.stated]
    shares = np.array([stated_shares(scores)[move] for _, scores in labelled])
    labels = np.array([bool(example.stated[move]) for example, _ in labelled])
    if len(set(labels.tolist())) < 2:
        return 0.5
    kappas = np.array([kappa_of(shares >= least, labels) for least in GRID])
    # At a threshold that gives all papers the same decision, kappa is 0. Such a threshold is chosen
    # only if kappa is not above 0 at any threshold.
    near = GRID[kappas >= max(kappas.max() - NEAR, min(kappas.max(), SMALLEST))]
    return round(float(near[len(near) // 2]), 2)


def _part(read: Read, number: int, move: str) -> float:
    shares: list[float] = []
    labels: list[bool] = []
    for example, scores in read:
        if number not in example.passages:
            continue
        best = int(scores.sentence[:, number].argmax())
        others = further(scores, number, move, best, least=0.0)[: MOST - 1]
        for place, odds in enumerate(scores.part[:, number].tolist()):
            if place != best:
                shares.append(1 / (1 + math.exp(-odds)) if place in others else 0.0)
                labels.append(place in example.stated[number])
    if not any(labels):
        return 1.0
    found, right = np.array(shares), np.array(labels)
    quoted = found >= PARTS[:, None]
    f1 = 2 * (right & quoted).sum(1) / (right.sum() + quoted.sum(1))
    # Of equally good thresholds, the threshold nearest to 0.5 is used.
    return round(float(PARTS[np.lexsort((-abs(PARTS - 0.5), f1))[-1]]), 2)


def _confidence(
    read: Read, stated: Mapping[str, float], part: Mapping[str, float], moves: Sequence[str]
) -> tuple[float, float]:
    """Return slope and intercept of a logistic regression on whether a quote is right.

    A quote is right if at least one of its sentences states the move.

    Args:
        stated, part: `Fitted.stated` and `Fitted.part`.
    """
    odds, right = [], []
    for example, scores in read:
        shares = stated_shares(scores) * np.exp(log_shares(scores))
        for number, best in choices(scores, stated, moves).items():
            if number in example.stated:
                move = moves[number]
                places = [best, *further(scores, number, move, best, part[move])][:MOST]
                share = min(max(float(shares[places, number].sum()), SMALLEST), 1 - SMALLEST)
                odds.append(math.log(share / (1 - share)))
                right.append(any(place in example.stated[number] for place in places))
    x, y = np.array(odds), np.array(right, float)
    slope, intercept = 1.0, 0.0
    for _ in range(STEPS):
        gap = 1 / (1 + np.exp(-(slope * x + intercept))) - y
        slope -= RATE * float((gap * x).mean())
        intercept -= RATE * float(gap.mean())
    return round(slope, 4), round(intercept, 4)


def choices(scores: Scores, stated: Mapping[str, float], moves: Sequence[str]) -> dict[int, int]:
    """Return the index of the sentence that each stated move gets, by the index of the move."""
    shares = stated_shares(scores)
    wanted = [number for number, move in enumerate(moves) if shares[number] >= stated[move]]
    return assigned(log_shares(scores), wanted, moves, REPEATED)


def right_decisions(
    read: Read, stated: Sequence[Mapping[str, float]], moves: Sequence[str]
) -> NDArray[Any]:
    """Return the number of right and the number of all decisions per paper, of shape (papers, 2).

    The decision about a move is its sentence (`choices`), or "not stated"; `is_right` compares it
    with the label. Moves without a label do not count.

    Args:
        stated: `Fitted.stated` for each paper.
    """
    found = []
    for (example, scores), least in zip(read, stated, strict=True):
        chosen = choices(scores, least, moves)
        right = [is_right(places, chosen.get(move)) for move, places in example.stated.items()]
        found.append((sum(right), len(right)))
    return np.array(found)


def is_right(places: Sequence[int], chosen: int | None) -> bool:
    """Return True if a chosen sentence, or None for "not stated", agrees with the label.

    Args:
        places: the sentences that state the move; () if it is not stated.
    """
    return chosen in places if places else chosen is None


def stated_kappa(
    read: Read, stated: Sequence[Mapping[str, float]], moves: Sequence[str]
) -> float | None:
    """Return the kappa between predicted and labelled "stated", averaged over the moves.

    A move is left out if all papers state it, or if no paper states it. The result is None if all
    moves are left out.

    Args:
        stated: `Fitted.stated` for each paper.
    """
    found = []
    for number, move in enumerate(moves):
        pairs = [
            (bool(stated_shares(scores)[number] >= least[move]), bool(example.stated[number]))
            for (example, scores), least in zip(read, stated, strict=True)
            if number in example.stated
        ]
        if len({label for _, label in pairs}) == 2:
            predicted, labels = (np.array(one) for one in zip(*pairs, strict=True))
            found.append(kappa_of(predicted, labels))
    return float(np.mean(found)) if found else None


@dataclass(frozen=True, slots=True)
class Gain:
    """The gain in accuracy on held-out papers: the difference of the shares of right decisions.

    Attributes:
        papers, decisions: number of held-out papers, and of all decisions about these papers.
        before, after: share of right decisions of the old reader (or baseline) and the new reader.
        value: the gain, `after` - `before`.
        low, high: 95% interval of the gain, by a bootstrap over papers.
        least: lower end of the one-sided 95% interval of the gain.
        kappa: for the old and the new reader, the mean over moves of the kappa between predicted
            and labelled "stated". None for the baseline, or if no move has a kappa.
    """

    papers: int
    decisions: int
    before: float
    after: float
    value: float
    low: float
    high: float
    least: float
    kappa: tuple[float | None, float | None]

    def as_dict(self) -> dict[str, Any]:
        """Return all fields, rounded to four decimals."""
        found = {name: rounded(value) for name, value in asdict(self).items() if name != "kappa"}
        return {**found, "kappa": [*map(rounded, self.kappa)]}


def gain_of(
    before: NDArray[Any],
    after: NDArray[Any],
    kappas: tuple[float | None, float | None],
    seed: int = 0,
) -> Gain:
    """Return the gain in accuracy with its intervals.

    Args:
        before, after: an array (papers, 2): for each paper, the number of right decisions and the
            number of all decisions.
        kappas: the value of `Gain.kappa`.
        seed: the seed of the bootstrap.
    """
    weights = bootstrap_weights(len(after), RESAMPLES, seed).astype(float)
    drawn = (weights @ (after[:, 0] - before[:, 0])) / (weights @ after[:, 1])
    low, least, high = (float(one) for one in np.quantile(drawn, [LOW, LEAST, HIGH]))
    total = int(after[:, 1].sum())
    old, new = (float(one[:, 0].sum()) / total for one in (before, after))
    return Gain(len(after), total, old, new, new - old, low, high, least, kappas)


def by_place(examples: Sequence[Example]) -> NDArray[Any]:
    """Count the right decisions of a baseline that always predicts a move at the same place.

    A place is the number of a sentence, counted from the beginning or from the end, or "not
    stated". In each fold, the baseline predicts for each move the place that is most often right in
    the other folds.

    Returns: an array (papers, 2) for `gain_of`: for each paper, the number of right decisions and
        the number of all decisions.
    """
    places: list[int | None] = [None, *range(ENDS), *range(-ENDS, 0)]

    def right(one: Example, move: int, place: int | None) -> bool:
        count = len(one.text.sentences)
        at = place if place is None or place >= 0 else max(count + place, 0)
        return is_right(one.stated[move], at)

    def best(move: int, fold: int) -> int | None:
        others = [one for at, one in enumerate(examples) if at % FOLDS != fold]
        known = [one for one in others if move in one.stated]
        return max(places, key=lambda place: sum(right(one, move, place) for one in known))

    moves = {move for one in examples for move in one.stated}
    chosen = [{move: best(move, fold) for move in moves} for fold in range(FOLDS)]
    return np.array(
        [
            (
                sum(right(one, move, chosen[at % FOLDS][move]) for move in one.stated),
                len(one.stated),
            )
            for at, one in enumerate(examples)
        ]
    )


def store(path: Path, found: Sequence[Scores]) -> None:
    """Write predictions to a file, without the scores of tokens.

    Raises:
        OutputError: the file cannot be written.
    """
    arrays = {
        f"{number}.{name}": getattr(one, name) for number, one in enumerate(found) for name in KEPT
    }
    targets.write(path, lambda file: np.savez(file, **arrays))


def stored(path: Path, examples: Sequence[Example]) -> list[Scores] | None:
    """Return the stored predictions in the order of `examples`; None if the file is unusable."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = []
            for number, one in enumerate(examples):
                sentence, part, unstated = (arrays[f"{number}.{name}"] for name in KEPT)
                found.append(Scores(one.text, sentence, part, unstated, np.zeros((0, 0))))
            return found
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
