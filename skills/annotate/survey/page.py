"""The survey of a topic: papers by claim, moves side by side, gaps, references.

It is made of annotations, without a model, and always the same for the same annotations. A paper is
cited as [n]; link definitions at the end of the page make [n] a link to arXiv.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from skills.annotate.render import render
from skills.annotate.survey.entries import arxiv_link, authors, authors_and_year, entry_of
from skills.annotate.survey.facts import facts
from skills.annotate.survey.groups import Group, Wording, grouped
from skills.corpus.records import Annotated, Failure
from skills.nanda.framework import Framework
from skills.nanda.paper import iso_date
from skills.nanda.text import flatten

CITED = 20
"""Papers cited in one cell of a table at most; the matrix shows them all."""

_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve"


def as_markdown(
    topic: str, items: Sequence[Annotated], failures: Sequence[Failure], framework: Framework
) -> str:
    """Return the survey.

    Args:
        topic: as the user wrote it.
        items: annotations with the moves of `framework`, in any order.
        failures: papers on the topic without an annotation.
    """
    items = sorted(
        items, key=lambda item: (iso_date(item.paper.published) or "9999", item.paper.title)
    )
    # A paper's claim summarizes it, or the first move of a framework without a claim.
    moves = framework.moves
    claim = next((move for move in moves if move.name == "claim"), moves[0])
    wordings = [
        Wording(item.paper.title, item.record[claim.name], item.paper.abstract) for item in items
    ]
    groups = grouped(topic, wordings) or [Group("", tuple(range(len(items))))]
    numbers = itertools.count(1)
    sections = [
        (group.term, [entry_of(next(numbers), items[at], framework) for at in group.members])
        for group in groups
    ]
    entries = [entry for _, members in sections for entry in members]
    missing = [
        (move, [entry for entry in entries if move.name not in entry.stated]) for move in moves
    ]
    missing.sort(key=lambda gap: -len(gap[1]))
    spelled = _NUMBERS.split()
    return render(
        "survey.md.j2",
        heading=_heading(topic),
        facts=facts(items, len(failures), framework, entries),
        claim=claim,
        sections=sections,
        entries=entries,
        framework=framework,
        labels={move.name: move.label for move in moves},
        count=spelled[len(moves)] if len(moves) < len(spelled) else len(moves),
        stated={move.name: len(entries) - len(without) for move, without in missing},
        missing=[(move, without) for move, without in missing if without],
        cited=CITED,
        doubtful=any(entry.doubts for entry in entries),
        failures=failures,
        authors=authors,
        short=authors_and_year,
        link=arxiv_link,
    )


def _heading(topic: str) -> str:
    title = flatten(topic)
    is_title = re.match(r"(?:an?\s|the\s)?\W*(?:survey|review|overview)\b", title, re.IGNORECASE)
    return title[:1].upper() + title[1:] if is_title else f"Survey: {title}"
