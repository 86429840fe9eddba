"""Turn true moves of the gold into false moves, for bench/checks.py.

Two kinds of corruption are also used by /curate, as probes.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from skills.curate.probes import SUBTLE_MAKERS, Draft, Maker, rank
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper
from skills.nanda.sentences import split_sentences
from skills.nanda.text import content_words, flatten

LEAST_JOINED = 3
"""Minimum number of content words that a corruption adds to a move.

The end of a move is replaced only after more than this number of words.
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A gold move and its corruption.

    Attributes:
        text: the gold move; `false` is the corrupted move.
        changed: the description of the change.
    """

    paper: Paper
    move: str
    text: str
    false: str
    changed: str


def make(
    kind: str,
    annotations: Sequence[tuple[Paper, Mapping[str, str]]],
    framework: Framework,
    most: int,
    seed: int = 0,
) -> list[Case]:
    """Return up to `most` corrupted moves of a kind, reproducible by the seed."""
    places = sorted(
        ((paper, move, text) for paper, moves in annotations for move, text in moves.items()),
        key=lambda place: rank(seed, kind, place[0].sha256, place[1]),
    )

    empty = dict.fromkeys(framework.names, framework.not_stated)

    def made() -> Iterator[Case]:
        for paper, move, text in places:
            draft = Draft(paper, {**empty, move: text}, framework, kind, seed, {})
            changed = MAKERS[kind](draft)
            if changed and draft.moves[move] != text:
                yield Case(paper, move, text, draft.moves[move], changed)

    return list(itertools.islice(made(), most))


def _replaced(table: str, draft: Draft) -> str:
    """Replace a passage that matches a pattern; `table` is a key of corruptions.yaml."""
    places = [
        (move, found, new)
        for pattern, new in _patterns(table)
        for move, found in draft.matches(pattern, names=table != "units")
    ]
    if not places:
        return ""
    move, found, new = draft.chance.choice(places)
    written = found.expand(new)
    if found.group()[0].isupper():
        written = written[:1].upper() + written[1:]
    draft.replace(move, found, written)
    return f"{found.group()!r} became {written!r}"


def _sides_swapped(draft: Draft) -> str:
    """Exchange the words on the two sides of a verb or of "than"."""
    [move] = draft.stated
    text = draft.moves[move]
    places = [found for pattern, _ in _patterns("sides") for found in pattern.finditer(text)]
    if not places:
        return ""
    found = draft.chance.choice(places)
    before, between, after = found.groups()
    swapped = f"{after}{between}{before}"
    draft.moves[move] = f"{text[: found.start()]}{swapped}{text[found.end() :]}"
    return f"{before!r} and {after!r} were exchanged"


def _joined_wrongly(draft: Draft) -> str:
    """Replace the end of a move, after a word such as "of", with the end of another sentence."""
    [move] = draft.stated
    text = draft.moves[move]
    known = set(content_words(text))
    places = []
    for sentence in split_sentences(flatten(draft.paper.abstract)):
        for here, there in itertools.product(_joints(text), _joints(sentence)):
            if here.group().lower() != there.group().lower():
                continue
            tail = re.split(r"[,;:.](?:\s|$)", sentence[there.end() :])[0].strip()
            fresh = [word for word in content_words(tail) if word not in known]
            if len(text[: here.end()].split()) > LEAST_JOINED and len(fresh) >= LEAST_JOINED:
                places.append((here.end(), tail))
    if not places:
        return ""
    end, tail = draft.chance.choice(places)
    draft.moves[move] = f"{text[:end]} {tail}."
    return f"ends in {tail!r}"


def _clause_repeated(draft: Draft) -> str:
    """Append the last words of a move once more, like a model that does not stop."""
    [move] = draft.stated
    text = draft.moves[move].rstrip(" .")
    known = re.split(r"[,;]\s|\band\b|\bthat\b", text)[-1].split()
    if len(content_words(" ".join(known))) < LEAST_JOINED:
        return ""
    draft.moves[move] = f"{text}, and {' '.join(known)}."
    return f"repeats {' '.join(known)!r}"


def _joints(text: str) -> Iterator[re.Match[str]]:
    return re.finditer(r"\b(?:of|in|with|for|by|on|to|from|that)\b", text)


@functools.cache
def _patterns(table: str) -> list[tuple[re.Pattern[str], str]]:
    given = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return [(re.compile(pattern, re.IGNORECASE), new) for pattern, new in given[table]]


MAKERS: Mapping[str, Maker] = {
    "meaning turned": SUBTLE_MAKERS["meaning-turned"],
    "number moved": SUBTLE_MAKERS["number-misplaced"],
    "negation lost": functools.partial(_replaced, "negation"),
    "subjects swapped": _sides_swapped,
    "sentences joined": _joined_wrongly,
    "unit changed": functools.partial(_replaced, "units"),
    "comparison turned": functools.partial(_replaced, "comparisons"),
    "clause repeated": _clause_repeated,
}
