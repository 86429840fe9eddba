"""Known-bad annotations, made from given ones, to show whether a run of /curate finds them.

    for probe in make(items, framework, per_kind=60):
        assert find(probe.paper, probe.moves, framework)

The gates know nothing of what is done here: the filler is a list of its own, and no stock phrase of
theirs stands in it. One thing is shared: what number an abstract lacks,
`skills.nanda.checks.unsupported_numbers` says in both.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import random
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skills.curate.inputs.subtle_probes import MAKERS, NUMBER, SUBTLE, Spoiled
from skills.nanda.checks import unsupported_numbers
from skills.nanda.framework import Framework
from skills.nanda.named_entities import without_names
from skills.nanda.paper import Paper
from skills.nanda.sentences import split_sentences
from skills.nanda.text import flatten

KINDS = ("other-paper", "number-changed", "move-emptied", "copied", "padded")

Item = tuple[Paper, Mapping[str, str]]
TRIES = 100
"""Numbers that are tried in the place of one before the next is taken."""

FILLER = (
    "a matter that anyone with an interest in such questions will appreciate",
    "and this is, of course, no small thing at a moment like the present one",
    "something many practitioners had been hoping to see for quite a while",
    "with consequences that reach well beyond what might be expected at first glance",
    "which speaks to concerns shared by people from very different backgrounds",
    "offering food for thought to newcomers and veterans alike",
    "and readers are warmly invited to draw their own conclusions from it",
    "in keeping with the high standards that one would hope for nowadays",
    "thereby touching upon one of the great themes of our age",
    "a point whose significance can hardly be overstated",
    "as befits a topic that has attracted so much attention lately",
    "and there is every reason to be optimistic about what comes next",
    "reflecting a careful, thoughtful and thoroughly professional attitude",
    "making it a truly remarkable achievement by any measure",
    "so that everybody concerned can benefit in the long term",
    "which is both interesting and relevant for a number of reasons",
    "an aspect that deserves far more discussion than it usually gets",
    "in ways that are as elegant as they are surprising",
    "bringing fresh energy to a conversation that had grown rather stale",
    "and, all things considered, it leaves a favourable impression",
    "with an eye to the many opportunities that lie ahead",
    "helping to shape a brighter and more sustainable tomorrow",
    "which sets an inspiring example for colleagues around the globe",
    "a fact that will not be lost on attentive observers",
    "and the importance of getting this right is plain for all to see",
    "striking a happy balance between ambition and realism",
    "a welcome addition to a lively and rapidly growing area",
    "as countless experts have pointed out on numerous occasions",
    "so it is fair to say that the effort has been well worth it",
    "giving stakeholders of every kind much to think about",
    "in line with the spirit of curiosity that drives all good science",
    "and it goes without question that such progress is highly desirable",
    "a development whose time, most people would agree, has come",
    "opening doors that had previously seemed firmly closed",
    "which adds yet another piece to a fascinating puzzle",
    "and that alone makes it well worth a closer look",
    "laying a solid foundation on which others may one day build",
    "demonstrating once again how much can be gained from persistence",
    "in a manner that is at once rigorous and refreshingly accessible",
    "with clear advantages for society and the economy as a whole",
    "highlighting its potential for a broad range of applications",
    "underscoring the value of the approach in practical settings",
    "paving the way for more capable and reliable systems",
    "thus providing useful insights for future research",
    "demonstrating its effectiveness and versatility in diverse scenarios",
    "which makes it suitable for many real-world use cases",
    "contributing to a deeper understanding of the problem",
    "ensuring that the results are robust and meaningful",
)
"""Clauses that fit behind any sentence and say nothing of any paper."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One known-bad annotation.

    Attributes:
        kind: one of `KINDS` or `SUBTLE`.
        paper: the paper it claims to annotate.
        moves: a text for each move of the framework.
        changed: what was done, for people.
    """

    kind: str
    paper: Paper
    moves: Mapping[str, str]
    changed: str


def make(
    items: Sequence[Item],
    framework: Framework,
    per_kind: int,
    seed: int = 0,
    kinds: Sequence[str] = (*KINDS, *SUBTLE),
) -> list[Probe]:
    """Up to `per_kind` probes of each kind, kind by kind; fewer where the items do not give them.

    Which items are taken and what happens to them depends on seed, kind and abstract alone, so that
    further items push probes out but change none, except that "other-paper" may find a nearer other
    paper among them. An abstract that comes twice counts once, with its first annotation. A probe
    that says what a given annotation of its paper says is left out.
    """
    good: dict[str, list[dict[str, str]]] = {}
    papers: dict[str, Paper] = {}
    for paper, moves in items:
        papers.setdefault(paper.sha256, paper)
        good.setdefault(paper.sha256, []).append(_canonical(moves, framework))
    makers = _Makers(framework, seed, {digest: known[0] for digest, known in good.items()})
    probes: list[Probe] = []
    for kind in kinds:
        made = (
            Probe(kind, papers[digest], *spoiled)
            for digest in sorted(papers, key=functools.partial(_rank, seed, kind))
            if (spoiled := makers.spoil(kind, papers[digest])) and spoiled[0] not in good[digest]
        )
        probes.extend(itertools.islice(made, per_kind))
    return probes


@dataclass(frozen=True, slots=True)
class _Makers:
    """One method for each kind; `given` is the annotation of each abstract, by its digest."""

    framework: Framework
    seed: int
    given: Mapping[str, dict[str, str]]

    def spoil(self, kind: str, paper: Paper) -> Spoiled:
        chance = random.Random(_rank(self.seed, kind, paper.sha256))  # noqa: S311 - no secret
        moves = dict(self.given[paper.sha256])
        if kind in MAKERS:
            return MAKERS[kind](paper, moves, self.framework, chance)
        make_one = {
            "other-paper": self._other_paper,
            "number-changed": self._number_changed,
            "move-emptied": self._move_emptied,
            "copied": self._copied,
            "padded": self._padded,
        }[kind]
        return make_one(paper, moves, chance)

    def _other_paper(self, paper: Paper, moves: dict[str, str], chance: random.Random) -> Spoiled:
        others = (digest for digest in self.given if digest != paper.sha256)
        drawn = min(others, key=functools.partial(_rank, self.seed, paper.sha256), default=None)
        return (dict(self.given[drawn]), "the moves of another paper") if drawn else None

    def _number_changed(
        self, paper: Paper, moves: dict[str, str], chance: random.Random
    ) -> Spoiled:
        stated = self._stated(moves)
        places = [
            (move, found)
            for move in stated
            for found in NUMBER.finditer(without_names(moves[move]))
        ]
        chance.shuffle(places)
        for move, found in places:
            new = _number_near(found.group(), paper.abstract, chance)
            if new:
                text = moves[move]
                moves[move] = text[: found.start()] + new + text[found.end() :]
                return moves, f"{move}: {found.group()} became {new}"
        return None

    def _move_emptied(self, paper: Paper, moves: dict[str, str], chance: random.Random) -> Spoiled:
        stated = self._stated(moves)
        if not stated:
            return None
        move = chance.choice(stated)
        moves[move] = ""
        return moves, f"{move} was emptied"

    def _copied(self, paper: Paper, moves: dict[str, str], chance: random.Random) -> Spoiled:
        stated = self._stated(moves)
        pieces = split_sentences(flatten(paper.abstract))
        longest = max(pieces, key=len, default="")
        while len(pieces) < len(stated) or len(longest) > self.framework.max_chars:
            halves = textwrap.wrap(longest, len(longest) // 2 + 1, break_on_hyphens=False)
            if len(halves) < 2:
                return None
            place = pieces.index(longest)
            pieces[place : place + 1] = halves
            longest = max(pieces, key=len)
        if not stated:
            return None
        taken = sorted(chance.sample(range(len(pieces)), len(stated)))
        moves |= dict(zip(stated, (pieces[place] for place in taken), strict=True))
        return moves, f"{len(stated)} moves are pieces of the abstract"

    def _padded(self, paper: Paper, moves: dict[str, str], chance: random.Random) -> Spoiled:
        clauses = chance.sample(FILLER, len(FILLER))
        padded = 0
        for move in self._stated(moves):
            text = moves[move].rstrip(" .")
            room = self.framework.max_chars - len(text) - len(", .")
            clause = next((clause for clause in clauses if len(clause) <= room), None)
            if clause:
                clauses.remove(clause)
                moves[move] = f"{text}, {clause}."
                padded += 1
        return (moves, f"{padded} moves end in filler") if padded else None

    def _stated(self, moves: Mapping[str, str]) -> list[str]:
        stated = self.framework.stated(dict(moves))
        return [move for move, text in stated.items() if text]


def _canonical(moves: Mapping[str, str], framework: Framework) -> dict[str, str]:
    return {name: framework.canonical(moves.get(name, "")) for name in framework.names}


def _rank(*parts: object) -> str:
    """Where something stands in a draw: a digest, in which nothing but its parts plays a role."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def _number_near(shown: str, abstract: str, chance: random.Random) -> str:
    """A number within a third of `shown`, written like it, that the abstract lacks; "" if none."""
    places = len(shown.partition(".")[2])
    value = int(re.sub(r"\D", "", shown))  # in units of the last place
    top = 10**places if places and value <= 10**places else 100 * 10**places
    steps = max(3, value // 3)  # a third of 4 is 1, and the abstract may well hold 3 and 5
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
