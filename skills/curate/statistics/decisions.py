"""What the votes of a panel decide, and how firmly: counts over plain numbers.

A panel of k personas judges n annotations. `scores` are n rows of k numbers; None is an
invalid vote, neither a pass nor a fail. A vote passes from its persona's threshold on, and an
annotation is kept from `min_votes` passes on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from harness.errors import InputError

Scores = Sequence[Sequence[float | None]]
Votes = Sequence[bool | None]
"""Whether each persona passes an annotation; None for an invalid vote."""

MARGIN = 0.15
"""On a scale of 1 to 5: a cold prompt cache moved scores by 0.14 at most."""
INCOMPLETE = "with an invalid vote"
_NOISE = 1e-9  # rounding errors of sums that are zero on paper


def passes(scores: Sequence[float | None], thresholds: Sequence[float]) -> tuple[bool | None, ...]:
    """Return whether each vote of a row passes; None for an invalid vote."""
    return tuple(
        None if score is None else score >= threshold
        for score, threshold in zip(scores, thresholds, strict=True)
    )


def decide(votes: Votes, min_votes: int) -> bool | None:
    """Return the decision on a row: True (kept), False (rejected) or None (undecided).

    A row is undecided if it has too few passes and would have enough if its invalid votes passed.
    """
    if votes.count(True) >= min_votes:
        return True
    return None if votes.count(True) + votes.count(None) >= min_votes else False


def check_min_votes(personas: int, min_votes: int) -> None:
    """Raise InputError if a panel of `personas` cannot give `min_votes` votes."""
    if not 1 <= min_votes <= personas:
        raise InputError(
            f"a panel of {personas} cannot give {min_votes} votes",
            where="--min-votes",
            hint=f"Give a number from 1 to {personas}.",
        )


def splits(votes: Sequence[Votes]) -> dict[str, int]:
    """Count rows by passes and fails, from "5-0" to "0-5"; with an invalid vote: `INCOMPLETE`."""
    if not votes:
        return {}
    personas = len(votes[0])
    found = Counter(INCOMPLETE if None in row else row.count(True) for row in votes)
    counts = {f"{n}-{personas - n}": found[n] for n in range(personas, -1, -1)}
    return {**counts, INCOMPLETE: found[INCOMPLETE]}


def vote_against_mean(
    scores: Scores, thresholds: Sequence[float], min_votes: int
) -> dict[str, int]:
    """Count how often `min_votes` of k and the mean score disagree.

    The mean keeps a row whose valid votes have mean(score - threshold) >= 0. Rows that the vote
    leaves undecided, or without a valid vote, are not compared.

    Returns:
        vote_only and mean_only: rows kept by one of the two alone; count: their sum; of: rows
        compared.
    """
    compared: Counter[tuple[bool, bool]] = Counter()
    for row in scores:
        kept = decide(passes(row, thresholds), min_votes)
        gaps = [
            s - threshold for s, threshold in zip(row, thresholds, strict=True) if s is not None
        ]
        if kept is not None and gaps:
            compared[kept, math.fsum(gaps) >= -_NOISE] += 1
    vote_only, mean_only = compared[True, False], compared[False, True]
    return {
        "count": vote_only + mean_only,
        "vote_only": vote_only,
        "mean_only": mean_only,
        "of": compared.total(),
    }


def weights(votes: Sequence[Votes], min_votes: int) -> list[dict[str, int]]:
    """Return the influence of each persona on the decisions.

    Without a persona, the same share of the others must pass: ceil(min_votes * (k-1) / k). That is
    `min_votes` again unless all k had to pass, so removing a persona can usually only lose rows;
    `deciding` also counts the rows that its fail holds back. Undecided rows count as not kept.

    Returns:
        lost: annotations kept with it that would not be kept without it.
        gained: annotations not kept with it that would be kept without it.
        flips: lost and gained.
        deciding: annotations whose decision would change if its vote were reversed.
        of: annotations.
    """
    kept = [decide(row, min_votes) is True for row in votes]
    if not votes:
        return []
    needed = max(1, min(min_votes, len(votes[0]) - 1))
    return [_weight(votes, kept, place, min_votes, needed) for place in range(len(votes[0]))]


def borderline(
    scores: Scores, thresholds: Sequence[float], min_votes: int, margin: float = MARGIN
) -> list[tuple[float, int, int]]:
    """Return the rows for a person to look at, the closest first.

    These are the rows that one vote would turn, those that scores within `margin` of their
    thresholds could turn together, and those that invalid votes leave undecided.

    To turn a row with p passes and i invalid votes, p - min_votes + 1 passes must fail if it is
    kept, and min_votes - p - i fails must pass if it is rejected. Its distance is the largest among
    those nearest their thresholds.

    Returns:
        (distance, row, number of passes); the distance is 0 if invalid votes leave the row open.
    """
    found = []
    for index, row in enumerate(scores):
        vote = passes(row, thresholds)
        kept = decide(vote, min_votes)
        passed, needed, distance = vote.count(True), 0, 0.0
        if kept is not None:
            needed = passed - min_votes + 1 if kept else min_votes - passed - vote.count(None)
            distances = sorted(
                abs(score - threshold)
                for score, threshold, is_pass in zip(row, thresholds, vote, strict=True)
                if score is not None and is_pass is kept
            )
            distance = distances[needed - 1]
        if needed <= 1 or distance < margin:
            found.append((distance, index, passed))
    return sorted(found)


def _weight(
    votes: Sequence[Votes], decisions: Sequence[bool], persona: int, min_votes: int, needed: int
) -> dict[str, int]:
    lost = gained = deciding = 0
    for row, kept in zip(votes, decisions, strict=True):
        passed, vote = sum(map(bool, row)), row[persona]
        kept_without = passed - (vote is True) >= needed
        lost += kept and not kept_without
        gained += kept_without and not kept
        reversed_votes = passed + (0 if vote is None else -1 if vote else 1)
        deciding += (reversed_votes >= min_votes) is not kept
    return {
        "flips": lost + gained,
        "lost": lost,
        "gained": gained,
        "deciding": deciding,
        "of": len(votes),
    }
