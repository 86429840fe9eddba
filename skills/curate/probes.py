"""Make probes: known-bad annotations that measure the gates and the panel.

    for probe in make(annotations, framework, per_kind=60):
        print(probe.probe, probe.changed, probe.findings)

The gates find nearly all probes of the kinds in `KINDS`. Probes of the kinds in `SUBTLE` have
changes that no gate can find; they measure the contribution of the panel. Probes and gates use the
same rule for numbers, `skills.nanda.unsupported.unsupported_numbers`.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
import random
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from skills.curate import gates
from skills.curate.gates import phrases
from skills.curate.items import Item
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper
from skills.nanda.sentences import split_sentences
from skills.nanda.text import counted, flatten
from skills.nanda.unsupported import unsupported_numbers, without_names

T = TypeVar("T")
Annotation = tuple[Paper, Mapping[str, str]]
NUMBER = re.compile(r"(?<![\w.,-])\d{1,30}(?:,\d{3}){0,9}(?:\.\d{1,30})?(?!\w|-\w|[.,]\d)")
TRIES = 100
"""Maximum number of random replacements that are tried for a number."""
_Match = re.Match[str]


def make(
    annotations: Sequence[Annotation],
    framework: Framework,
    per_kind: int,
    seed: int = 0,
    most: int | None = None,
) -> list[Item]:
    """Return up to `per_kind` probes of each kind, with the findings of the gates.

    The probes are in the order of `KINDS` and `SUBTLE`. The choice of annotations and changes
    depends only on seed, kind and abstract. If annotations are added, their probes may replace
    existing probes, and the other probes stay the same, except that an "other-paper" probe may get
    the moves of an added annotation. Of several annotations of an abstract, only the first is used.
    A probe that equals its original annotation is left out.

    Args:
        per_kind: maximum number of probes of each kind.
        most: maximum number of probes of all kinds together, which are taken from the kinds in
            turn; None for no limit.
    """
    papers: dict[str, Paper] = {}
    given: dict[str, dict[str, str]] = {}
    for paper, moves in annotations:
        if papers.setdefault(paper.sha256, paper) is paper:
            given[paper.sha256] = framework.written(moves)

    def of_kind(kind: str) -> Iterator[Item]:
        made = (
            _probe(Draft(papers[digest], dict(given[digest]), framework, kind, seed, given))
            for digest in sorted(papers, key=functools.partial(rank, seed, kind))
        )
        return itertools.islice(filter(None, made), per_kind)

    probes = itertools.islice(_in_turn(*map(of_kind, IN_TURN)), most)
    return sorted(probes, key=lambda probe: (*KINDS, *SUBTLE).index(probe.probe))


def _in_turn(*groups: Iterable[T]) -> Iterator[T]:
    """Yield the first element of each group, then the second elements, and so on."""
    return filter(None, itertools.chain.from_iterable(itertools.zip_longest(*groups)))


@dataclass
class Draft:
    """An annotation that a `Maker` turns into a probe by changing `moves`.

    Attributes:
        given: the annotations of all papers, by the digest of the abstract.
    """

    paper: Paper
    moves: dict[str, str]
    framework: Framework
    kind: str
    seed: int
    given: Mapping[str, dict[str, str]]

    @functools.cached_property
    def chance(self) -> random.Random:
        """The random number generator for the change, seeded by seed, kind and abstract."""
        return random.Random(rank(self.seed, self.kind, self.paper.sha256))  # noqa: S311  no secret

    @property
    def stated(self) -> list[str]:
        """The names of the stated moves."""
        return [name for name, text in self.framework.stated(self.moves).items() if text]

    def matches(self, pattern: re.Pattern[str], *, names: bool) -> list[tuple[str, _Match]]:
        """Return (name of the move, match) for each match of a pattern in the stated moves.

        Args:
            names: True to search names such as "GPT-4", too; False to skip them.
        """
        texts = {move: self.moves[move] for move in self.stated}
        return [
            (move, found)
            for move, text in texts.items()
            for found in pattern.finditer(text if names else without_names(text))
        ]

    def replace(self, move: str, found: _Match, new: str) -> None:
        """Replace the text of a match in a move by `new`."""
        text = self.moves[move]
        self.moves[move] = text[: found.start()] + new + text[found.end() :]


Maker = Callable[[Draft], str]
"""A function that changes the moves of a draft and returns a description of the change.

The description is "" if the draft cannot be changed.
"""


def _other_paper(draft: Draft) -> str:
    sha256 = draft.paper.sha256
    others = (digest for digest in draft.given if digest != sha256)
    drawn = min(others, key=functools.partial(rank, draft.seed, sha256), default=None)
    if drawn is None:
        return ""
    draft.moves = dict(draft.given[drawn])
    return "the moves of another paper"


def _number_changed(draft: Draft) -> str:
    places = draft.matches(NUMBER, names=False)
    draft.chance.shuffle(places)
    for move, found in places:
        if new := _number_near(found.group(), draft.paper.abstract, draft.chance):
            draft.replace(move, found, new)
            return f"{move}: {found.group()} became {new}"
    return ""


def _move_emptied(draft: Draft) -> str:
    if not draft.stated:
        return ""
    move = draft.chance.choice(draft.stated)
    draft.moves[move] = ""
    return f"{move} was emptied"


def _copied(draft: Draft) -> str:
    stated, limit = draft.stated, draft.framework.max_chars
    sentences = split_sentences(flatten(draft.paper.abstract))
    pieces = [piece for sentence in sentences for piece in _within(sentence, limit)]
    while len(pieces) < len(stated):
        longest = max(pieces, key=len, default="")
        halves = _wrapped(longest, len(longest) // 2 + 1)
        if len(halves) < 2:
            return ""
        place = pieces.index(longest)
        pieces[place : place + 1] = halves
    if not stated:
        return ""
    taken = sorted(draft.chance.sample(range(len(pieces)), len(stated)))
    draft.moves |= dict(zip(stated, (pieces[place] for place in taken), strict=True))
    return f"pieces of the abstract in {counted(len(stated), 'move')}"


def _within(text: str, limit: int) -> list[str]:
    """Split a text into pieces of about equal length, of at most `limit` characters each."""
    parts = math.ceil(len(text) / limit)
    return _wrapped(text, min(len(text) // parts + 1, limit)) if parts > 1 else [text]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False)


def _padded(draft: Draft) -> str:
    filler = phrases()["filler"]
    clauses = draft.chance.sample(filler, len(filler))
    padded = 0
    for move in draft.stated:
        text = draft.moves[move].rstrip(" .")
        room = draft.framework.max_chars - len(text) - len(", .")
        clause = next((clause for clause in clauses if len(clause) <= room), None)
        if clause:
            clauses.remove(clause)
            draft.moves[move] = f"{text}, {clause}."
            padded += 1
    return f"filler at the end of {counted(padded, 'move')}" if padded else ""


def _moves_swapped(draft: Draft) -> str:
    stated = sorted(draft.stated)
    if len(stated) < 2:
        return ""
    one, other = draft.chance.sample(stated, 2)
    draft.moves[one], draft.moves[other] = draft.moves[other], draft.moves[one]
    return f"{one} and {other} were exchanged"


def _number_misplaced(draft: Draft) -> str:
    known = list(dict.fromkeys(NUMBER.findall(without_names(draft.paper.abstract))))
    places = [
        (move, found, other)
        for move, found in draft.matches(NUMBER, names=False)
        for other in known
        if other != found.group()
    ]
    if not places:
        return ""
    move, found, other = draft.chance.choice(places)
    draft.replace(move, found, other)
    return f"{move}: {found.group()} became {other}"


def _meaning_turned(draft: Draft) -> str:
    opposites, pattern = _opposites()
    places = draft.matches(pattern, names=True)
    if not places:
        return ""
    move, found = draft.chance.choice(places)
    opposite = opposites[found.group()]
    draft.replace(move, found, opposite)
    return f"{move}: {found.group()!r} became {opposite!r}"


PLAIN_MAKERS: Mapping[str, Maker] = {
    "other-paper": _other_paper,
    "number-changed": _number_changed,
    "move-emptied": _move_emptied,
    "copied": _copied,
    "padded": _padded,
}


SUBTLE_MAKERS: Mapping[str, Maker] = {
    "moves-swapped": _moves_swapped,
    "number-misplaced": _number_misplaced,
    "meaning-turned": _meaning_turned,
}


MAKERS = {**PLAIN_MAKERS, **SUBTLE_MAKERS}
KINDS, SUBTLE = tuple(PLAIN_MAKERS), tuple(SUBTLE_MAKERS)
IN_TURN = tuple(_in_turn(SUBTLE, KINDS))
"""All kinds, in the order in which `make` takes probes from the kinds."""


def _probe(draft: Draft) -> Item | None:
    changed = MAKERS[draft.kind](draft)
    if not changed or draft.moves == draft.given[draft.paper.sha256]:
        return None
    where = f"probe {draft.kind} of {draft.paper.id}"
    findings = gates.find(draft.paper, draft.moves, draft.framework)
    return Item(draft.paper, draft.moves, where, findings, probe=draft.kind, changed=changed)


@functools.cache
def _opposites() -> tuple[dict[str, str], re.Pattern[str]]:
    pairs = phrases()["opposites"]
    words = {**dict(pairs), **{after: before for before, after in pairs}}
    alternatives = "|".join(sorted(words, key=len, reverse=True))
    return words, re.compile(rf"\b({alternatives})\b")


def rank(*parts: object) -> str:
    """Return the SHA-256 of the joined texts of `parts`, in hexadecimal.

    Items that are sorted by this digest are in a random order, which is the same in every run.
    """
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def _number_near(shown: str, abstract: str, chance: random.Random) -> str:
    """Return a number near `shown` that the abstract lacks, or "" if none is found.

    The number has the format of `shown`. The two numbers differ by at most a third of `shown` or
    3 units of the last decimal place, whichever is more.
    """
    places = len(shown.partition(".")[2])
    value = int(re.sub(r"\D", "", shown))  # in units of the last decimal place
    # A number up to 1 with decimals may be a share, and a number up to 100 a percentage: neither
    # may exceed its maximum.
    top = 10**places if places and value <= 10**places else 100 * 10**places
    steps = max(3, value // 3)  # for 4, a third is only 1, and the abstract may have both 3 and 5
    for _ in range(TRIES):
        step = chance.randint(1, steps)
        new = value + chance.choice((-1, 1)) * step
        if value <= top < new:
            new = value - step
        if new <= 0:
            new = value + step
        whole, part = divmod(new, 10**places)
        written = f"{whole:,}" if "," in shown else f"{whole}"
        written += f".{part:0{places}}" if places else ""
        if unsupported_numbers(abstract, written):
            return written
    return ""
