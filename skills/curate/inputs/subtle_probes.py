"""Known-bad annotations that no gate can see: every word and number of them is the abstract's.

They show what a panel adds to the gates, which `probes.KINDS` cannot, since the gates find nearly
all of those.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

from skills.nanda.framework import Framework
from skills.nanda.named_entities import without_names
from skills.nanda.paper import Paper

Spoiled = tuple[dict[str, str], str] | None
"""The moves of a probe and what was done to them; None where an annotation does not give one."""

NUMBER = re.compile(r"(?<![\w.,-])\d{1,30}(?:,\d{3}){0,9}(?:\.\d{1,30})?(?!\w|-\w|[.,]\d)")
_OPPOSITES = (
    ("increases", "decreases"),
    ("increase", "decrease"),
    ("improves", "worsens"),
    ("improve", "worsen"),
    ("improvement", "decline"),
    ("outperforms", "falls behind"),
    ("outperform", "fall behind"),
    ("higher", "lower"),
    ("high", "low"),
    ("more", "less"),
    ("better", "worse"),
    ("best", "worst"),
    ("larger", "smaller"),
    ("faster", "slower"),
    ("stronger", "weaker"),
    ("enables", "prevents"),
    ("enable", "prevent"),
    ("supports", "hinders"),
    ("reduces", "raises"),
    ("reduce", "raise"),
    ("effective", "ineffective"),
    ("reliable", "unreliable"),
    ("can", "cannot"),
    ("achieves", "misses"),
    ("with", "without"),
)
_TURNED = {**dict(_OPPOSITES), **{after: before for before, after in _OPPOSITES}}
_WORD = re.compile(rf"\b({'|'.join(sorted(_TURNED, key=len, reverse=True))})\b")


def moves_swapped(
    paper: Paper, moves: dict[str, str], framework: Framework, chance: random.Random
) -> Spoiled:
    """Two moves say what the other one should."""
    stated = sorted(framework.stated(moves))
    if len(stated) < 2:
        return None
    one, other = chance.sample(stated, 2)
    moves[one], moves[other] = moves[other], moves[one]
    return moves, f"{one} and {other} were exchanged"


def number_misplaced(
    paper: Paper, moves: dict[str, str], framework: Framework, chance: random.Random
) -> Spoiled:
    """A number became another number of the same abstract."""
    known = list(dict.fromkeys(NUMBER.findall(without_names(paper.abstract))))
    places = [
        (move, found, other)
        for move, text in framework.stated(moves).items()
        for found in NUMBER.finditer(without_names(text))
        for other in known
        if other != found.group()
    ]
    if not places:
        return None
    move, found, other = chance.choice(places)
    text = moves[move]
    moves[move] = text[: found.start()] + other + text[found.end() :]
    return moves, f"{move}: {found.group()} became {other}"


def meaning_turned(
    paper: Paper, moves: dict[str, str], framework: Framework, chance: random.Random
) -> Spoiled:
    """A word of a move became its opposite."""
    places = [
        (move, found)
        for move, text in framework.stated(moves).items()
        for found in _WORD.finditer(text)
    ]
    if not places:
        return None
    move, found = chance.choice(places)
    text, opposite = moves[move], _TURNED[found.group()]
    moves[move] = text[: found.start()] + opposite + text[found.end() :]
    return moves, f"{move}: {found.group()!r} became {opposite!r}"


MAKERS: Mapping[str, Callable[[Paper, dict[str, str], Framework, random.Random], Spoiled]] = {
    "moves-swapped": moves_swapped,
    "number-misplaced": number_misplaced,
    "meaning-turned": meaning_turned,
}
SUBTLE = tuple(MAKERS)
