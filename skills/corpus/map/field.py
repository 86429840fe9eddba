"""The map of a field: papers by the clusters of moves, by year, and in a matrix of two moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import NothingFound
from skills.corpus.map.clusters import FEWEST_PAPERS, Grouping, grouped
from skills.corpus.map.matrix import Matrix, crossed
from skills.corpus.map.timeline import Years, years_of
from skills.corpus.records import Annotated
from skills.nanda.framework import Framework
from skills.nanda.text import counted, flatten


@dataclass(frozen=True, slots=True)
class MappedPaper:
    """A paper of a map; `texts` has the moves that are clustered, None for one not stated."""

    id: str
    title: str
    year: int | None
    is_arxiv: bool
    texts: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class FieldMap:
    """A map of papers.

    Attributes:
        title: the heading.
        labels: of moves, by name.
        papers: in an order that does not depend on that of the corpus.
        groupings: by move.
        matrix: of the first two groupings; None if a single move is mapped.
    """

    title: str
    labels: Mapping[str, str]
    papers: Sequence[MappedPaper]
    groupings: Sequence[Grouping]
    matrix: Matrix | None
    years: Years

    @property
    def without_year(self) -> list[MappedPaper]:
        """The papers whose year is unknown."""
        return [paper for paper in self.papers if paper.year is None]

    def years_in(self, papers: Iterable[int]) -> list[int]:
        """Return how many of these papers are in each column of `years`."""
        return self.years.counts(self.papers[paper].year for paper in papers)

    def most_in_a_year(self, grouping: Grouping) -> int:
        """Return the most papers that a cluster has in one column of `years`."""
        counts = (self.years_in(cluster.papers) for cluster in grouping.clusters)
        return max((number for of_one in counts for number in of_one), default=0)


def read_papers(
    items: Iterable[Annotated], framework: Framework, moves: Sequence[str]
) -> list[MappedPaper]:
    """Return the papers of annotations, in an order that does not depend on theirs."""
    found = []
    for item in items:
        paper, stated = item.paper, framework.stated(item.record)
        texts = {move: flatten(stated[move]) if move in stated else None for move in moves}
        mapped = MappedPaper(paper.id, flatten(paper.title), paper.year, paper.is_arxiv, texts)
        found.append(((paper.id, paper.sha256, mapped.title, mapped.year or 0), mapped))
    found.sort(key=lambda one: one[0])
    return [mapped for _, mapped in found]


def map_of(
    papers: Sequence[MappedPaper],
    framework: Framework,
    moves: Sequence[str],
    *,
    title: str,
    crossing: bool,
    number: int | None = None,
    check: Callable[[], None] = lambda: None,
    tick: Callable[[str], None] = lambda status: None,
) -> FieldMap:
    """Return the map of papers.

    Args:
        moves: to cluster by.
        crossing: whether the first two are the rows and columns of a matrix.
        number: of clusters of each move; None chooses it.
        check, tick: raise to stop; report progress.

    Raises:
        NothingFound: too few papers state a move, or their texts have too little in common.
    """
    groupings = []
    for move in moves:
        tick(f"clusters of {move}")
        texts = [paper.texts[move] for paper in papers]
        stating = sum(text is not None for text in texts)
        if stating < FEWEST_PAPERS:
            raise NothingFound(
                f"{counted(stating, 'paper')} of {len(papers):,} "
                f"state{'s' if stating == 1 else ''} a {move}: a map needs {FEWEST_PAPERS}",
                hint="`/corpus stats` shows how many papers state each move.",
            )
        grouping = grouped(move, texts, number, check)
        if grouping is None:
            raise NothingFound(
                f"the texts of the {move} have too little in common to form clusters",
                hint="Map more papers, or another move (--move).",
            )
        groupings.append(grouping)
    check()
    matrix = crossed(groupings[0], groupings[1]) if crossing else None
    years = years_of([paper.year for paper in papers])
    return FieldMap(title, framework.labels, papers, groupings, matrix, years)


def as_json(found: FieldMap) -> dict[str, Any]:
    """Return a map for programs; papers are their ids."""
    names = found.years.names

    def ids(papers: Iterable[int]) -> list[str]:
        return [found.papers[paper].id for paper in papers]

    moves = [
        {
            "move": one.name,
            "stated": sum(place != one.unstated for place in one.places),
            "clusters": [
                {
                    "number": number,
                    "label": cluster.label,
                    "terms": list(cluster.terms),
                    "years": dict(zip(names, found.years_in(cluster.papers), strict=True)),
                    "papers": ids(cluster.papers),
                }
                for number, cluster in enumerate(one.clusters, start=1)
            ],
            "in_no_cluster": ids(one.papers(one.unclustered)),
            "not_stated": ids(one.papers(one.unstated)),
        }
        for one in found.groupings
    ]
    return {
        "title": found.title,
        "papers": len(found.papers),
        "moves": moves,
        "without_year": [paper.id for paper in found.without_year],
        "matrix": _matrix_json(found.matrix, ids) if found.matrix else None,
    }


def _matrix_json(matrix: Matrix, ids: Callable[[Iterable[int]], list[str]]) -> dict[str, Any]:
    cells = [
        {
            "row": cell.row + 1,
            "column": cell.column + 1,
            "count": len(cell.papers),
            "expected": round(cell.expected, 2),
            "gap": cell.is_gap,
            "papers": ids(cell.papers),
        }
        for line in matrix.cells
        for cell in line
        if cell.expected is not None
    ]
    return {
        "rows": matrix.rows.name,
        "columns": matrix.columns.name,
        "papers": matrix.papers,
        "gaps_by_chance": round(matrix.by_chance, 1),
        "cells": cells,
    }
