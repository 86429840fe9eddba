"""Fit the figures of `encoder.Fitted` on papers on which the network was not trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skills.reader.choice import MOST, assigned, further, log_shares, stated_shares
from skills.reader.encoder import Fitted, Scores
from skills.reader.examples import Example
from skills.reporting.statistics import kappa_of

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

Read = Sequence[tuple[Example, Scores]]


def fit(read: Read, moves: Sequence[str]) -> Fitted:
    """Return the figures with which the choices agree best with the labels of these papers.

    The threshold of "stated" is the median of the thresholds whose kappa with the labels is at most
    `NEAR` below the highest kappa, and above 0 if possible. This threshold is 0.5 for a move that
    all papers or no papers state. The threshold for a second sentence maximizes F1 with the
    labelled sentences. It is 1 if only the most probable sentences are labelled.

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
