"""Compute a map of papers: clusters by move, counts by year, and a matrix of two moves.

A gap is a cell of the matrix with significantly fewer papers than expected by chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

from harness.errors import NothingFound
from skills.corpus.map.clusters import FEWEST_PAPERS, Grouping, grouped
from skills.corpus.outputs import MapCell, MapCluster, MapMatrix, MapOutput, MappedMove
from skills.corpus.records import Annotated
from skills.nanda.framework import Framework
from skills.nanda.text import counted, flatten

RARE = 0.05
"""The significance level of gaps.

A cell is a gap if its value of `Cell.chance` is below this level.
"""
MOST = 20
"""Maximum number of years in a timeline; the first column includes all earlier years."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The papers in one row and one column of a matrix.

    Attributes:
        row: the value of these papers in `Matrix.rows.places`.
        column: the value of these papers in `Matrix.columns.places`.
        papers: the indices of the papers.
        expected: the expected number of papers if both moves were independent; None in a row or
            column for papers without a cluster, and in all cells if `Matrix.papers` is 0.
        chance: the probability of at most `len(papers)` papers if both moves were independent; 1 if
            `expected` is None.
    """

    row: int
    column: int
    papers: tuple[int, ...]
    expected: float | None = None
    chance: float = 1.0

    @property
    def is_gap(self) -> bool:
        """True if the cell has significantly fewer papers than expected by chance."""
        return self.chance < RARE


@dataclass(frozen=True, slots=True)
class Matrix:
    """The matrix of two groupings of the same papers.

    Attributes:
        rows: the grouping whose clusters are the rows.
        columns: the grouping whose clusters are the columns.
        cells: the cells by row and column. The last two rows and the last two columns are for
            papers without a cluster.
        papers: number of papers that belong to a cluster in both groupings.
        by_chance: the expected number of gaps if both moves were independent.
    """

    rows: Grouping
    columns: Grouping
    cells: tuple[tuple[Cell, ...], ...]
    papers: int
    by_chance: float

    @property
    def gaps(self) -> list[Cell]:
        """The gaps, the least probable first."""
        found = [cell for line in self.cells for cell in line if cell.is_gap]
        return sorted(found, key=lambda cell: (cell.chance, cell.row, cell.column))


def crossed(rows: Grouping, columns: Grouping) -> Matrix:
    """Return the matrix of two groupings of the same papers.

    If both moves are independent, the number of papers in a cell, given the sums of its row and its
    column, has a hypergeometric distribution.
    """
    from scipy.stats import hypergeom

    members: list[list[list[int]]] = [
        [[] for _ in range(columns.unstated + 1)] for _ in range(rows.unstated + 1)
    ]
    for paper, (row, column) in enumerate(zip(rows.places, columns.places, strict=True)):
        members[row][column].append(paper)
    inner = [line[: len(columns.clusters)] for line in members[: len(rows.clusters)]]
    across = [sum(map(len, line)) for line in inner]
    down = [sum(map(len, line)) for line in zip(*inner, strict=True)]
    total, by_chance = sum(across), 0.0
    cells: list[tuple[Cell, ...]] = []
    for row, line in enumerate(members):
        found = []
        for column, papers in enumerate(line):
            cell = Cell(row, column, tuple(papers))
            if row < len(across) and column < len(down) and total:
                drawn = hypergeom(total, across[row], down[column])
                expected = across[row] * down[column] / total
                cell = replace(cell, expected=expected, chance=float(drawn.cdf(len(papers))))
                # The probability that the cell is a gap by chance.
                by_chance += float(drawn.cdf(drawn.ppf(RARE) - 1))
            found.append(cell)
        cells.append(tuple(found))
    return Matrix(rows, columns, tuple(cells), total, by_chance)


@dataclass(frozen=True, slots=True)
class TimelineYears:
    """The columns of a timeline: the years of a map.

    Attributes:
        columns: consecutive years, including years without papers; empty if no year is known.
        earlier: True if the first column includes the papers of earlier years.
    """

    columns: range
    earlier: bool = False

    @property
    def names(self) -> list[str]:
        """The headings of the columns: years, with "≤" before the first year if `earlier`."""
        before = "\N{LESS-THAN OR EQUAL TO}" * self.earlier
        return [f"{before * (year == self.columns.start)}{year}" for year in self.columns]


def years_of(known: Iterable[int | None]) -> TimelineYears:
    """Return the columns of a timeline for the given years of papers."""
    years = {year for year in known if year is not None}
    if not years:
        return TimelineYears(range(0))
    first, last = min(years), max(years)
    return TimelineYears(range(max(first, last - MOST + 1), last + 1), earlier=first <= last - MOST)


@dataclass(frozen=True, slots=True)
class MappedPaper:
    """A paper of a map.

    Attributes:
        id: the id of the paper at its source.
        title: the title on one line.
        year: the year of publication, or None if it is unknown.
        is_arxiv: True if `id` is an arXiv id.
        texts: the texts of the mapped moves by name; None for a move that is not stated.
    """

    id: str
    title: str
    year: int | None
    is_arxiv: bool
    texts: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class FieldMap:
    """A map of papers.

    Attributes:
        title: the heading of the map.
        labels: the labels of moves, by name.
        papers: the papers, sorted by id.
        groupings: the clusters of each mapped move.
        matrix: the matrix of the first two groupings; None if only single moves are mapped.
        years: the columns of the timelines.
    """

    title: str
    labels: Mapping[str, str]
    papers: Sequence[MappedPaper]
    groupings: Sequence[Grouping]
    matrix: Matrix | None
    years: TimelineYears

    @property
    def without_year(self) -> list[MappedPaper]:
        """The papers without a known year."""
        return [paper for paper in self.papers if paper.year is None]

    def years_in(self, papers: Iterable[int]) -> list[int]:
        """Return the number of papers in each column of `years`.

        Args:
            papers: indices of papers.
        """
        columns, years = self.years.columns, (self.papers[paper].year for paper in papers)
        found = Counter(max(year, columns.start) for year in years if year is not None)
        return [found[year] for year in columns]

    def most_in_a_year(self, grouping: Grouping) -> int:
        """Return the largest number of papers of one cluster in one column of `years`."""
        counts = (self.years_in(cluster.papers) for cluster in grouping.clusters)
        return max((number for of_one in counts for number in of_one), default=0)


def read_papers(
    items: Iterable[Annotated], framework: Framework, moves: Sequence[str]
) -> list[MappedPaper]:
    """Return the annotated papers, sorted by id, so that equal corpora give equal maps."""
    found = []
    for item in items:
        paper, stated = item.paper, framework.stated(item.record)
        texts = {move: flatten(stated[move]) if move in stated else None for move in moves}
        mapped = MappedPaper(paper.id, flatten(paper.title), paper.year, paper.is_arxiv, texts)
        found.append((paper.id, paper.sha256, mapped))
    return [mapped for *_, mapped in sorted(found, key=itemgetter(0, 1))]


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
        papers: the papers, in the order of the map.
        moves: the moves by which the papers are clustered.
        title: the heading of the map.
        crossing: True to make a matrix of the first two moves.
        number: maximum number of clusters of each move; None to choose the number by the
            silhouette.
        check: called between steps; may raise an error to stop.
        tick: called with the progress.

    Raises:
        NothingFound: too few papers state a move, or the texts of a move have too few common terms.
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
                f"the texts of the {move} have too few common terms to form clusters",
                hint="Map more papers, or another move (--move).",
            )
        groupings.append(grouping)
    check()
    matrix = crossed(groupings[0], groupings[1]) if crossing else None
    years = years_of([paper.year for paper in papers])
    return FieldMap(title, framework.labels, papers, groupings, matrix, years)


def as_output(found: FieldMap) -> MapOutput:
    """Return a map in the JSON form of /corpus map."""
    names = found.years.names

    def ids(papers: Iterable[int]) -> list[str]:
        return [found.papers[paper].id for paper in papers]

    moves = [
        MappedMove(
            move=one.name,
            stated=sum(place != one.unstated for place in one.places),
            clusters=[
                MapCluster(
                    number=number,
                    label=cluster.label,
                    terms=list(cluster.terms),
                    years=dict(zip(names, found.years_in(cluster.papers), strict=True)),
                    papers=ids(cluster.papers),
                )
                for number, cluster in enumerate(one.clusters, start=1)
            ],
            in_no_cluster=ids(one.papers(one.unclustered)),
            not_stated=ids(one.papers(one.unstated)),
        )
        for one in found.groupings
    ]
    matrix = found.matrix and MapMatrix(
        rows=found.matrix.rows.name,
        columns=found.matrix.columns.name,
        papers=found.matrix.papers,
        gaps_by_chance=round(found.matrix.by_chance, 1),
        cells=[
            MapCell(
                row=cell.row + 1,
                column=cell.column + 1,
                count=len(cell.papers),
                expected=round(cell.expected, 2),
                gap=cell.is_gap,
                papers=ids(cell.papers),
            )
            for line in found.matrix.cells
            for cell in line
            if cell.expected is not None
        ],
    )
    return MapOutput(
        title=found.title,
        papers=len(found.papers),
        moves=moves,
        without_year=[paper.id for paper in found.without_year],
        matrix=matrix,
    )
