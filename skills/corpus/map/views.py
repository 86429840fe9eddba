"""A map as text: its clusters, its gaps, and what it leaves out."""

from __future__ import annotations

from collections.abc import Iterator

from harness.terminal.rendering import table
from skills.corpus.map.clusters import Grouping
from skills.corpus.map.field import FieldMap
from skills.corpus.map.matrix import Cell, Matrix
from skills.nanda.text import counted

MOST_GAPS = 10


def summary(found: FieldMap) -> str:
    """Return a map as text: a table of clusters for each move, the matrix, and the gaps."""
    sentences = [*verdict(found), *([gaps(found.matrix)] if found.matrix else ())]
    parts = [" ".join(sentences)]
    parts += [_clusters(found, one) for one in found.groupings]
    if found.matrix:
        parts += [_matrix(found, found.matrix), _gaps(found, found.matrix)]
    return "\n\n".join(parts)


def verdict(found: FieldMap) -> Iterator[str]:
    """Yield what a map shows besides its gaps, in sentences."""
    moves = " and ".join(one.name for one in found.groupings)
    yield f"{counted(len(found.papers), 'paper')} by {moves}."
    for one in found.groupings:
        yield _counts(one)
    if without := len(found.without_year):
        yield f"{counted(without, 'paper')} {'has' if without == 1 else 'have'} no year."


def gaps(matrix: Matrix) -> str:
    """Return how many gaps there are, and how many there would be by chance."""
    number = len(matrix.gaps)
    cells = len(matrix.rows.clusters) * len(matrix.columns.clusters)
    are = "is a gap" if number == 1 else "are gaps"
    return (
        f"{number:,} of the {cells:,} pairs of clusters {are}: "
        "fewer papers than the sizes of both clusters would make likely; chance alone would make "
        f"about {matrix.by_chance:.0f}."
    )


def key(place: int, *, column: bool = False) -> str:
    """Return the key of a cluster: 1, 2, ... of rows; A, B, ..., Z, AA, ... of columns."""
    if not column:
        return str(place + 1)
    letters = chr(ord("A") + place % 26)
    return letters if place < 26 else key(place // 26 - 1, column=True) + letters


def name(grouping: Grouping, place: int) -> str:
    """Return the label of a cluster, or what the other papers have in common."""
    if place < len(grouping.clusters):
        return grouping.clusters[place].label
    return "in no cluster" if place == grouping.unclustered else "not stated"


def _counts(one: Grouping) -> str:
    loose, unstated = (len(one.papers(place)) for place in (one.unclustered, one.unstated))
    rest = [f"{loose:,} in no cluster"] * bool(loose)
    rest += [f"{unstated:,} without a {one.name}"] * bool(unstated)
    return f"{counted(len(one.clusters), 'cluster')} of {one.name}" + (
        f" ({', '.join(rest)})." if rest else "."
    )


def _clusters(found: FieldMap, one: Grouping) -> str:
    column = found.matrix is not None and one is found.matrix.columns
    rows = []
    for place, cluster in enumerate(one.clusters):
        years = [y for paper in cluster.papers if (y := found.papers[paper].year) is not None]
        median = sorted(years)[len(years) // 2] if years else None
        rows.append((key(place, column=column), cluster.label, f"{len(cluster.papers):,}", median))
    return table(("", found.labels[one.name], "papers", "median year"), rows)


def _matrix(found: FieldMap, matrix: Matrix) -> str:
    """Return the counts of all cells; a gap has its expected count beside it."""
    head = [key(place, column=True) for place in range(len(matrix.columns.clusters))]
    rows = [
        (key(place), *(_count(cell) for cell in line[: len(head)]))
        for place, line in enumerate(matrix.cells[: len(matrix.rows.clusters)])
    ]
    return table((f"{found.labels[matrix.rows.name]}, {matrix.columns.name}", *head), rows)


def _count(cell: Cell) -> str:
    return f"{len(cell.papers)} ({cell.expected:.0f})" if cell.is_gap else str(len(cell.papers))


def _gaps(found: FieldMap, matrix: Matrix) -> str:
    if not matrix.gaps:
        return "No gap."
    rows = [
        (
            name(matrix.rows, cell.row),
            name(matrix.columns, cell.column),
            f"{len(cell.papers):,}",
            f"{cell.expected:.1f}",
        )
        for cell in matrix.gaps[:MOST_GAPS]
    ]
    labels = (found.labels[one.name] for one in (matrix.rows, matrix.columns))
    return table((*labels, "papers", "expected"), rows)
