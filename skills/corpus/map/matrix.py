"""Cross the clusters of two moves, and find the cells with fewer papers than chance would leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skills.corpus.map.clusters import Grouping

RARE = 0.05
"""A gap is a cell that would have so few papers by chance with less than this probability."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The papers in a cluster of each of two moves.

    Attributes:
        row, column: the places of the clusters; also those of papers without a cluster.
        papers: their indices.
        expected: how many there would be if the clusters had nothing to do with each other; None
            for papers without a cluster.
        chance: the probability of so few papers or fewer, then.
    """

    row: int
    column: int
    papers: tuple[int, ...]
    expected: float | None = None
    chance: float = 1.0

    @property
    def is_gap(self) -> bool:
        """Whether there are fewer papers than chance would leave."""
        return self.chance < RARE


@dataclass(frozen=True, slots=True)
class Matrix:
    """All cells of two groupings.

    Attributes:
        cells: by row and column, with the two places for papers without a cluster at the ends.
        papers: how many are in a cluster of both moves; to them the expected counts refer.
        by_chance: how many gaps there would be if the clusters had nothing to do with each other.
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
    """Cross two groupings of the same papers.

    With the sums of rows and columns given, the count of a cell has a hypergeometric distribution.
    """
    from scipy.stats import hypergeom

    members = _members(rows, columns)
    inner = [line[: len(columns.clusters)] for line in members[: len(rows.clusters)]]
    across = [sum(map(len, line)) for line in inner]
    down = [sum(map(len, line)) for line in zip(*inner, strict=True)]
    total, by_chance = sum(across), 0.0
    cells: list[tuple[Cell, ...]] = []
    for row, line in enumerate(members):
        found = []
        for column, papers in enumerate(line):
            if row >= len(across) or column >= len(down) or not total:
                found.append(Cell(row, column, tuple(papers)))
                continue
            drawn = hypergeom(total, across[row], down[column])
            found.append(
                Cell(
                    row,
                    column,
                    tuple(papers),
                    across[row] * down[column] / total,
                    float(drawn.cdf(len(papers))),
                )
            )
            by_chance += float(drawn.cdf(drawn.ppf(RARE) - 1))  # of the counts that are gaps
        cells.append(tuple(found))
    return Matrix(rows, columns, tuple(cells), total, by_chance)


def _members(rows: Grouping, columns: Grouping) -> Sequence[Sequence[list[int]]]:
    found: list[list[list[int]]] = [
        [[] for _ in range(columns.unstated + 1)] for _ in range(rows.unstated + 1)
    ]
    for paper, (row, column) in enumerate(zip(rows.places, columns.places, strict=True)):
        found[row][column].append(paper)
    return found
