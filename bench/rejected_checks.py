"""Checks that are not shipped, because they find too few corruptions in bench/checks.py.

The checks use the order of words and runs of copied words. However, correct moves also reorder the
words of a sentence or join several sentences.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from skills.nanda import doubts
from skills.nanda.doubts import Token

SIDE = 3
"""Number of content words that `swapped_sides` compares on each side of a word."""
_JOINING = "and which that while whereas but or as so than when where if because"
_FORMS_OF_BE = "is are was were be been being"
_BREAKS, _BE = frozenset(_JOINING.split()), frozenset(_FORMS_OF_BE.split())


def swapped_sides(abstract: str, text: str, least: int = 2) -> list[str]:
    """Return each verb or "than" of a move whose two sides are exchanged in the abstract.

    Args:
        text: the move, which is compared with the abstract.
        least: minimum number of words by which the exchanged order must fit better.
    """
    given, move = doubts.tokens(abstract), doubts.tokens_of_move(text)
    places = doubts.places(abstract)
    found: list[str] = []
    for index, token in enumerate(move):
        if not (token.counts or token.text == "than") or token.number:
            continue
        left, right = _sides(move, index)
        turned = straight = 0
        for place in places.get(token.key, ()):
            before, after = _sides(given, place)
            straight = max(straight, len(left & before) + len(right & after))
            same_voice = _is_passive(given, place) == _is_passive(move, index)
            if same_voice and left & after and right & before:
                turned = max(turned, len(left & after) + len(right & before))
        if turned - straight >= least:
            found.append(token.text)
    return found


def joined_runs(abstract: str, text: str, least: int = 4) -> list[str]:
    """Return the words of a move at which a run of words from another sentence begins.

    Args:
        text: the move, which is compared with the abstract.
        least: minimum number of words of each run.
    """
    given = [token.key for token in doubts.tokens(abstract)]
    ends = [0]
    for token in doubts.tokens(abstract):
        ends.append(ends[-1] + (token.text in ".!?"))
    starts: dict[tuple[str, str], list[int]] = {}
    for place, pair in enumerate(itertools.pairwise(given)):
        starts.setdefault(pair, []).append(place)
    move = doubts.tokens_of_move(text)
    keys = [token.key for token in move]
    found: list[str] = []
    before = (0, 0, -1)
    index = 0
    while index < len(keys) - 1:
        known = starts.get((keys[index], keys[index + 1]), [])[: doubts.MOST_PLACES]
        length, sentence = max(
            ((_run(keys, index, given, place), ends[place]) for place in known), default=(1, -1)
        )
        if length > 1:
            near = index - before[0] - before[1] <= 1 and sentence != before[2] >= 0
            between = move[before[0] + before[1] - 1 : index + 1]
            plain = all(t.text not in _BREAKS and t.text not in doubts.ENDS for t in between)
            if near and plain and min(length, before[1]) >= least:
                found.append(move[index].text)
            before = (index, length, sentence)
        index += length
    return found


def _run(keys: Sequence[str], index: int, given: Sequence[str], place: int) -> int:
    length = 0
    for one, other in zip(keys[index:], given[place : place + len(keys)], strict=False):
        if one != other:
            break
        length += 1
    return length


def _sides(given: Sequence[Token], index: int) -> tuple[set[str], set[str]]:
    sides: list[set[str]] = []
    for near in (
        reversed(given[max(0, index - doubts.REACH) : index]),
        iter(given[index + 1 : index + 1 + doubts.REACH]),
    ):
        found: set[str] = set()
        for token in near:
            if token.text in doubts.ENDS or len(found) == SIDE:
                break
            if token.counts:
                found.add(token.key)
        sides.append(found)
    return sides[0], sides[1]


def _is_passive(given: Sequence[Token], index: int) -> bool:
    following = (token.text for token in given[index + 1 : index + 3])
    return "by" in following or (index > 0 and given[index - 1].text in _BE)
