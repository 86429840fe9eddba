"""Render the results of /corpus for a terminal, with rich."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from harness.terminal.rendering import FittedTable
from skills.corpus.outputs import Hit, Hits, PaperDetails, Passage, Stats
from skills.corpus.search.fulltext import MARK
from skills.corpus.views import anchors_of, other_sources, statistics_blocks
from skills.nanda.framework import Framework
from skills.nanda.remarks import numbers_of
from skills.reporting.annotation_view import (
    ANCHOR,
    DOUBT,
    annotation,
    heading,
    labelled,
    narrow,
    numbered_sentences,
    stacked,
)

MATCH = "bold red"  # the style in which grep shows matches


def hits(found: Hits, framework: Framework) -> RenderableType:
    """Return the matching moves grouped by paper, with highlighted matches.

    Each move is followed by the kind of search that found it.
    """
    return _by_paper(
        (
            hit,
            framework.labels[hit.move],
            Text.assemble(
                _highlighted(hit.snippet), (hit.mark, DOUBT), (f" by {hit.found_by}", "dim")
            ),
        )
        for hit in found.hits
    )


def passages(found: Sequence[Passage], framework: Framework) -> RenderableType:
    """Return the passages grouped by paper, with the searched wording highlighted."""
    labels = {"abstract": "Abstract", **framework.labels}

    def shown(one: Passage) -> Text:
        numbers = f" {numbers_of(one.sentences)}".rstrip()
        return Text.assemble(_highlighted(one.passage), (numbers, ANCHOR))

    return _by_paper((one, labels[one.where], shown(one)) for one in found)


def _by_paper(found: Iterable[tuple[Hit | Passage, str, Text]]) -> RenderableType:
    """Return labels and texts grouped by paper, below the title of each paper.

    Args:
        found: hits or passages, each with the label and the text to show.
    """
    by_paper: defaultdict[object, list[tuple[Hit | Passage, str, Text]]] = defaultdict(list)
    for row in found:
        by_paper[row[0].paper_id].append(row)
    papers = []
    for rows in by_paper.values():
        first = rows[0][0]
        year = "" if first.year is None else str(first.year)
        drawn = labelled([(name, text) for _, name, text in rows])
        papers.append(Group(heading(first.title, first.id, year), drawn))
    return stacked(papers, empty=1)


def statistics(stats: Stats) -> RenderableType:
    """Return the statistics as tables, of which only the table of moves may have intervals."""
    blocks = statistics_blocks(stats, brief=True)
    drawn = [_paragraph(b) if isinstance(b, str) else FittedTable.of(*b) for b in blocks]
    return stacked(drawn, empty=1)


def papers_details(found: Sequence[PaperDetails], framework: Framework) -> RenderableType:
    """Return a view of papers: metadata, abstract with marked passages, and annotations."""
    return stacked([_paper_details(one, framework) for one in found], empty=2)


def _paper_details(found: PaperDetails, framework: Framework) -> RenderableType:
    ids = f"{found.id_field} {found.id}", f"paper {found.row}"
    known = found.authors, found.published[:10], found.categories
    parts = [
        heading(found.title, *ids, *known),
        *(Text(line, "dim") for line in other_sources(found)),
        numbered_sentences(found.abstract, anchors_of(found)),
    ]
    parts += [annotation(record, framework, found.abstract) for record in found.annotations]
    if found.failure is not None:
        parts.append(narrow(Text(f"The annotation failed: {found.failure.reason}", DOUBT)))
    elif not found.annotations:
        parts.append(Text("There is no annotation.", "dim"))
    return stacked(parts, empty=1)


def _paragraph(text: str) -> RenderableType:
    first, _, rest = text.partition("\n")
    return narrow(Group(first, Text(" ".join(rest.split()), "dim")))


def _highlighted(snippet: str) -> Text:
    """Return a snippet with the text between marks highlighted."""
    styles = itertools.cycle(("", MATCH))
    return Text.assemble(*zip(snippet.split(MARK), styles, strict=False))
