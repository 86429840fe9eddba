"""The checks of reworded moves that ship, and their messages.

Each finds at least 70% of the corrupted moves of its kind and doubts at most 5% of the gold's;
`python bench/checks.py` measures both. They find few of the false moves that a small model writes
(docs/checks.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from skills.nanda.doubts.direction import turned_words
from skills.nanda.doubts.negation import lost_negations
from skills.nanda.doubts.numbers import changed_units, moved_numbers
from skills.nanda.doubts.repetition import repeated_words


@dataclass(frozen=True, slots=True)
class Doubt:
    """A check of one move.

    Attributes:
        find: returns words of a move that are doubtful, given the abstract and the move.
        kind: what is found, as the name of a group of findings.
        clause: what is found in a move, before these words.
    """

    find: Callable[[str, str], list[str]]
    kind: str
    clause: str


DOUBTS: Mapping[str, Doubt] = {
    "moved_numbers": Doubt(
        moved_numbers,
        "Numbers beside other words",
        "the abstract has another number beside these words",
    ),
    "changed_units": Doubt(
        changed_units, "Units changed", "numbers that have another unit in the abstract"
    ),
    "lost_negations": Doubt(
        lost_negations, "Negations lost", "it affirms what the abstract negates"
    ),
    "turned_words": Doubt(
        turned_words, "Directions turned", "the abstract has the opposite beside these words"
    ),
    "repeated_words": Doubt(repeated_words, "Words repeated", "words that it repeats"),
}
"""The checks, by their key in the stored checks of an annotation."""


def doubts(abstract: str, moves: Mapping[str, str]) -> dict[str, dict[str, list[str]]]:
    """Return what each check finds: {key: {move: [words, ...]}}, only moves with findings."""
    found = {
        key: {move: doubt.find(abstract, text) for move, text in moves.items()}
        for key, doubt in DOUBTS.items()
    }
    return {
        key: {move: texts for move, texts in by_move.items() if texts}
        for key, by_move in found.items()
    }


def doubts_about(move: str, checks: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the kind and the clause of each doubt about a move in stored checks.

    Annotations that were stored before these checks have none.
    """
    for key, doubt in DOUBTS.items():
        if texts := checks.get(key, {}).get(move):
            yield doubt.kind, f"{doubt.clause}: {', '.join(texts)}"
