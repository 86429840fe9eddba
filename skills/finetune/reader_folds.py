"""Store the predictions of a cross-validation of readers, and compute the gain in accuracy."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.runs import targets
from skills.reader.encoder import Scores
from skills.reader.examples import Example
from skills.reader.fitting import is_right
from skills.reporting.statistics import bootstrap_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS = 5
RESAMPLES = 2_000
LOW, LEAST, HIGH = 0.025, 0.05, 0.975
"""Quantiles of the resampled gains: LOW and HIGH are the ends of the two-sided 95% interval, and
LEAST is the lower end of the one-sided interval.
"""
ENDS = 3
"""`by_place` considers the first `ENDS` and the last `ENDS` sentences of an abstract as places."""
KEPT = ("sentence", "part", "unstated")
"""The fields of `Scores` that are stored. The gain does not depend on the scores of tokens."""


@dataclass(frozen=True, slots=True)
class Gain:
    """The gain in accuracy on held-out papers: the difference of the shares of right decisions.

    Attributes:
        papers, decisions: number of held-out papers, and number of all decisions in them.
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
        found = {name: round(value, 4) for name, value in asdict(self).items() if name != "kappa"}
        kappas = [value if value is None else round(value, 4) for value in self.kappa]
        return {**found, "kappa": kappas}


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
