"""Two models of saved evaluations, paper by paper: differences, and who has the better answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from skills.evaluate.comparison import TIE
from skills.evaluate.metrics.metrics import OVERALL
from skills.evaluate.metrics.resampling import Resamples, difference, ratio, unpaired_difference
from skills.evaluate.stored_format import Answer
from skills.serve.compare.evaluation_files import Side

Outcome = Literal["won", "lost", "tied", "invalid", ""]


@dataclass(frozen=True, slots=True)
class Pair:
    """The answers of both sides to one paper.

    Attributes:
        abstract: its digest, as in the table of papers.
        scores: None where the file does not have them, or the gold differs.
        outcome: of the first side; "invalid" if one of them has no valid answer.
    """

    id: str
    abstract: str
    answers: tuple[Answer, Answer]
    scores: tuple[float, float] | None
    outcome: Outcome

    @property
    def margin(self) -> float:
        """How far the scores are apart."""
        return abs(self.scores[0] - self.scores[1]) if self.scores else 0.0


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison of the first side with the second.

    Attributes:
        score: the name of the score by which papers are won.
        paired: the difference of the scores, paired by paper, with its interval; None without.
        metrics: name, both figures, and their unpaired difference, over all moves.
        pairs: the papers of both files, in the order of the first.
    """

    score: str
    paired: Mapping[str, Any] | None
    metrics: Sequence[tuple[str, Any, Any, Any]]
    pairs: Sequence[Pair]

    def count(self, outcome: Outcome) -> int:
        return sum(one.outcome == outcome for one in self.pairs)


def compared(first: Side, other: Side) -> Compared:
    """Compare two models on the papers that both files have."""
    is_same_score = first.file.score == other.file.score != ""
    pairs = list(_pairs(first, other, with_scores=is_same_score))
    scored = [one.scores for one in pairs if one.scores is not None]
    return Compared(
        first.file.score if is_same_score else "",
        _paired_difference(scored) if scored else None,
        list(_metrics(first, other)),
        pairs,
    )


def _pairs(first: Side, other: Side, *, with_scores: bool) -> list[Pair]:
    sides = first, other
    if any(side.file.by_paper is None or side.model.by_paper is None for side in sides):
        return []
    there = {(one.id, one.abstract): n for n, one in enumerate(other.file.by_paper or ())}
    pairs = []
    for here, paper in enumerate(first.file.by_paper or ()):
        place = there.get((paper.id, paper.abstract))
        if place is None:
            continue
        answers = (first.model.by_paper or ())[here], (other.model.by_paper or ())[place]
        has_same_gold = (other.file.by_paper or ())[place].gold == paper.gold
        scores = None
        if with_scores and has_same_gold:
            scores = _score(first, here), _score(other, place)
        known = None if scores is None or None in scores else (scores[0] or 0.0, scores[1] or 0.0)
        pairs.append(Pair(paper.id, paper.abstract, answers, known, _outcome(answers, known)))
    return pairs


def _score(side: Side, place: int) -> float | None:
    scores = side.model.score_by_paper
    return scores[place] if scores and place < len(scores) else None


def _outcome(answers: tuple[Answer, Answer], scores: tuple[float, float] | None) -> Outcome:
    if any(answer.moves is None or not answer.valid for answer in answers):
        return "invalid"
    if scores is None:
        return ""
    difference_ = scores[0] - scores[1]
    return "tied" if abs(difference_) <= TIE else "won" if difference_ > 0 else "lost"


def _paired_difference(scores: Sequence[tuple[float, float]]) -> Mapping[str, Any]:
    import numpy as np

    values, ones = np.asarray(scores, np.float64), np.ones(len(scores))
    means = {side: ratio(values[:, side], ones) for side in (0, 1)}
    sampled = Resamples(len(scores)).of_all(means)
    return difference(sampled[0], sampled[1])


def _metrics(first: Side, other: Side) -> list[tuple[str, Any, Any, Any]]:
    rows = list[tuple[str, Any, Any, Any]]()
    for metric, of_moves in first.model.metrics.items():
        there = other.model.metrics.get(metric, {})
        if OVERALL in of_moves and OVERALL in there:
            here, other_ = (one[OVERALL].model_dump() for one in (of_moves, there))
            rows.append((metric, here, other_, unpaired_difference(here, other_)))
    return rows
