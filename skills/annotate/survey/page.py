"""The survey of a topic: papers by claim, moves side by side, gaps, references.

It is made of annotations, without a model, and always the same for the same annotations. A paper is
cited as [n]; link definitions at the end of the page make [n] a link to arXiv. TeX in titles, names
and moves becomes plain text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from skills.annotate.render import render
from skills.annotate.survey.entries import arxiv_link, authors, authors_and_year, entry_of
from skills.annotate.survey.facts import facts
from skills.annotate.survey.groups import Group, Wording, grouped
from skills.annotate.survey.relevance import LEAST
from skills.corpus.records import Annotated, Failure
from skills.corpus.tables.references import tex
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper, iso_date
from skills.nanda.text import flatten

CITED = 20
"""Papers cited in one cell of a table at most; the matrix shows them all."""

_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve"


@dataclass(frozen=True, slots=True)
class Survey:
    """What a survey is made of.

    Attributes:
        topic: as the user wrote it.
        items: annotations with the moves of `framework`, in any order.
        failures: papers on the topic without an annotation.
        left_out: papers that were found, but have a relevance below `least`.
    """

    topic: str
    items: Sequence[Annotated]
    framework: Framework
    failures: Sequence[Failure] = ()
    left_out: Sequence[Paper] = ()
    least: float = LEAST

    @property
    def heading(self) -> str:
        """The title of the survey."""
        title = flatten(self.topic)
        is_title = re.match(
            r"(?:an?\s|the\s)?\W*(?:survey|review|overview)\b", title, re.IGNORECASE
        )
        return title[:1].upper() + title[1:] if is_title else f"Survey: {title}"


def as_markdown(survey: Survey) -> str:
    """Return the survey as Markdown."""
    framework = survey.framework
    items = sorted(
        map(_without_tex, survey.items),
        key=lambda item: (iso_date(item.paper.published) or "9999", item.paper.title),
    )
    # A paper's claim summarizes it, or the first move of a framework without a claim.
    moves = framework.moves
    claim = next((move for move in moves if move.name == "claim"), moves[0])
    wordings = [
        Wording(item.paper.title, item.record[claim.name], item.paper.abstract) for item in items
    ]
    groups = grouped(survey.topic, wordings) or [Group("", tuple(range(len(items))))]
    numbers = itertools.count(1)
    sections = [
        (group.name, [entry_of(next(numbers), items[at], framework) for at in group.members])
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
        heading=survey.heading,
        facts=facts(items, len(survey.failures), framework, entries),
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
        failures=[replace(f, paper=_paper_without_tex(f.paper)) for f in survey.failures],
        left_out=[_paper_without_tex(paper) for paper in survey.left_out],
        least=survey.least,
        authors=authors,
        short=authors_and_year,
        link=arxiv_link,
    )


def _without_tex(item: Annotated) -> Annotated:
    record = {k: tex.plain(v) if isinstance(v, str) else v for k, v in item.record.items()}
    return Annotated(_paper_without_tex(item.paper), record)


def _paper_without_tex(paper: Paper) -> Paper:
    return replace(paper, title=tex.plain(paper.title), authors=tex.plain(paper.authors))
