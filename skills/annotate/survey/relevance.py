"""How much a paper is about a topic, by the words that its title and abstract contain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import NothingFound
from skills.nanda.paper import Paper
from skills.nanda.text import content_words, counted

LEAST = 0.6
"""Papers of a lower relevance are left out of a survey: those in which no word of a topic of one
or two words is a subject, but is mentioned in passing."""
SHORT = 50
"""An abstract with fewer words mentions nothing in passing."""


@dataclass(frozen=True, slots=True)
class Found:
    """The papers on a topic, and those that mention it in passing."""

    papers: list[Paper]
    left_out: list[Paper]


def relevant(found: Sequence[Paper], words: Sequence[str], least: float = LEAST) -> Found:
    """Leave out the papers of a relevance below `least`.

    Raises:
        NothingFound: none is left.
    """
    papers = [paper for paper in found if relevance(paper, words) >= least]
    if not papers:
        raise NothingFound(
            f"{counted(len(found), 'paper')} found, but none has a relevance of {least:g} or more",
            hint="Try fewer or other words, or `--relevance 0` to take them all.",
        )
    return Found(papers, [paper for paper in found if paper not in papers])


def relevance(paper: Paper, words: Sequence[str]) -> float:
    """Return the mean over the words of a topic: 1 for a subject, 0.5 for one mention, else 0.

    A word is a subject of a paper if its title contains it, or its abstract twice (once if it is
    shorter than `SHORT` or the title is missing); inflections count as the word.

    Args:
        words: the subject words of a topic.
    """
    stems = [stem for word in words for stem in content_words(word)]
    if not stems:
        return 1.0
    title, abstract = set(content_words(paper.title)), Counter(content_words(paper.abstract))
    enough = 1 if not paper.title or len(paper.abstract.split()) < SHORT else 2
    shares = (1.0 if stem in title else min(abstract[stem] / enough, 1.0) for stem in stems)
    return sum(shares) / len(stems)
