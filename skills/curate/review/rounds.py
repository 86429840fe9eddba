"""Divide a review into rounds of 20 papers: order the papers, and count the right moves.

Order and counts depend only on the papers and the journal, so that they are the same for all
reviewers of a gold table, and after a restart.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from harness.runs.invocation import quoted
from skills.curate.review.decision_log import Decision
from skills.nanda.framework import Framework
from skills.nanda.text import content_words, counted
from skills.reporting.intervals import Share

ROUND = 20
"""Number of papers of a round, and minimum number of papers for /finetune --reader."""
WINDOW = 500
"""Number of the least certain papers that `teaching_order` orders; the other papers follow."""

Order = Literal["teach", "uncertain"]
"""The order of the papers in a review.

"teach" begins with the papers that would teach a model most, "uncertain" with the least certain
papers.
"""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RightSoFar:
    """The moves that the annotator got right in the reviewed papers of all complete rounds.

    Attributes:
        papers: number of reviewed papers in complete rounds.
        moves: share of the moves that reviewers left unchanged; all moves of a rejected annotation
            count as wrong.
        by_move: the same share for each single move, by the label of the move.
        retraining: the line that trains on the gold table; "" while the table has too few papers.
    """

    papers: int
    moves: Share
    by_move: Mapping[str, Share]
    retraining: str = ""

    def __str__(self) -> str:
        low, high = self.moves.interval
        share = f"{self.moves.value or 0:.0%}, {low:.0%} to {high:.0%}"
        return (
            f"Right so far: {self.moves.count:,} of {counted(self.moves.of, 'move')} ({share}) "
            f"of {counted(self.papers, 'paper')}"
        )


def complete_rounds(reviewed: Sequence[T]) -> Sequence[T]:
    """Return the items of `reviewed` that belong to complete rounds."""
    return reviewed[: len(reviewed) // ROUND * ROUND]


def right_so_far(
    decisions: Sequence[Decision], framework: Framework, retraining: str = ""
) -> RightSoFar | None:
    """Return the share of right moves in all complete rounds, or None if no round is complete.

    Args:
        decisions: the final decision on each paper, in the order of the journal.
        retraining: the value of `RightSoFar.retraining`.
    """
    given = complete_rounds(decisions)
    if not given:
        return None
    kept = Counter(
        name
        for one in given
        if one.what == "accept"
        for name in framework.names
        if name not in one.changed
    )
    by_move = {move.label: Share(kept[move.name], len(given)) for move in framework.moves}
    whole = Share(kept.total(), len(given) * len(framework.moves))
    return RightSoFar(len(given), whole, by_move, retraining)


def retraining_line(gold: Path, framework: Path | None = None) -> str:
    """Return the line that trains the reader on a gold table.

    Args:
        framework: the value of `--framework`; None for the built-in framework.
    """
    option = "" if framework is None else f" --framework {quoted(str(framework))}"
    return f"/finetune {quoted(str(gold))} --reader --as-name my-annotator{option}"


def teaching_order(
    candidates: Mapping[str, tuple[float, str]], reviewed: Iterable[str]
) -> list[str]:
    """Return the keys of papers, starting with the paper that would teach a model most.

    The next paper is always the paper with the highest product of uncertainty and novelty. If
    several papers have this product, the first of them is next. Uncertainty is 1 minus the
    certainty. Novelty is the share of new words among the content words of the abstract. A word is
    new if it occurs neither in a reviewed abstract nor in the abstract of an earlier paper of the
    order. Words that occur in the abstract of only one candidate are ignored, since they do not
    help with other papers.

    Args:
        candidates: certainty and abstract of each paper by key.
        reviewed: the abstracts of the reviewed papers.
    """
    found = {key: set(content_words(abstract)) for key, (_, abstract) in candidates.items()}
    having: defaultdict[str, list[str]] = defaultdict(list)
    for key, words in found.items():
        for word in words:
            having[word].append(key)
    shared = {word: keys for word, keys in having.items() if len(keys) > 1}
    of = {key: len(words & shared.keys()) for key, words in found.items()}
    new = dict(of)

    def see(words: Iterable[str]) -> None:
        for word in words:
            for key in shared.pop(word, ()):
                new[key] -= 1

    def gain(key: str) -> float:
        return (1 - candidates[key][0]) * new[key] / max(of[key], 1)

    for abstract in reviewed:
        see(content_words(abstract))
    left, ordered = dict.fromkeys(candidates), list[str]()
    while left:
        best = max(left, key=gain)
        del left[best]
        ordered.append(best)
        see(found[best])
    return ordered
