"""Render a map as text, as an SVG or PNG picture, or as an HTML page."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from harness.errors import SkillFailed
from harness.terminal.rendering import table
from skills.corpus.map.clusters import NEAR, SMALLEST, Grouping
from skills.corpus.map.field_map import RARE, Cell, FieldMap, Matrix
from skills.nanda.text import counted
from skills.reporting.page import environment, write_page

FOLDER = Path(__file__).parent
SCRIPT = FOLDER / "page.js"
LISTED = 200
"""Maximum number of papers in each list of the page."""
SHADES = 6
"""Number of shades of cells. Shades are CSS classes, since the page forbids inline styles."""
WIDTH = 1200
ZOOM = 2
"""Pixels of the PNG for each unit of the SVG."""
SANS_SERIF = "DejaVu Sans"
_TEST = '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20">{}</svg>'
MOST_GAPS = 10


def summary(found: FieldMap) -> str:
    """Return a map as text: sentences, a table of clusters for each move, the matrix, the gaps."""
    sentences = [*verdict(found), *([gap_sentence(found.matrix)] if found.matrix else ())]
    parts = [" ".join(sentences)]
    parts += [_clusters(found, one) for one in found.groupings]
    if found.matrix:
        parts += [_matrix(found, found.matrix), _gaps(found, found.matrix)]
    return "\n\n".join(parts)


def verdict(found: FieldMap) -> Iterator[str]:
    """Yield sentences about the number of papers and clusters."""
    moves = " and ".join(one.name for one in found.groupings)
    yield f"{counted(len(found.papers), 'paper')} by {moves}."
    for one in found.groupings:
        loose, unstated = (len(one.papers(place)) for place in (one.unclustered, one.unstated))
        rest = [f"{loose:,} in no cluster"] * bool(loose)
        rest += [f"{unstated:,} without a {one.name}"] * bool(unstated)
        clusters = f"{counted(len(one.clusters), 'cluster')} of {one.name}"
        yield f"{clusters} ({', '.join(rest)})." if rest else f"{clusters}."
    if without := len(found.without_year):
        yield f"{counted(without, 'paper')} {'has' if without == 1 else 'have'} no year."


def gap_sentence(matrix: Matrix) -> str:
    """Return a sentence that compares the number of gaps with the number expected by chance."""
    number = len(matrix.gaps)
    cells = len(matrix.rows.clusters) * len(matrix.columns.clusters)
    are = "is a gap" if number == 1 else "are gaps"
    return (
        f"{number:,} of the {cells:,} pairs of clusters {are}: "
        "fewer papers than the sizes of both clusters would make likely; by chance alone, the "
        f"expected number is about {matrix.by_chance:.0f}."
    )


def cluster_key(place: int, *, column: bool = False) -> str:
    """Return the key of a cluster: 1, 2, ... in rows, and A, B, ..., Z, AA, ... in columns.

    Args:
        place: the index of the cluster.
    """
    if not column:
        return str(place + 1)
    letters = chr(ord("A") + place % 26)
    return letters if place < 26 else cluster_key(place // 26 - 1, column=True) + letters


def cluster_name(grouping: Grouping, place: int) -> str:
    """Return the label of a cluster, or a name for the papers without a cluster.

    Args:
        place: a value of `Grouping.places`.
    """
    if place < len(grouping.clusters):
        return grouping.clusters[place].label
    return "in no cluster" if place == grouping.unclustered else "not stated"


def _clusters(found: FieldMap, one: Grouping) -> str:
    column = found.matrix is not None and one is found.matrix.columns
    rows = []
    for place, cluster in enumerate(one.clusters):
        years = [y for paper in cluster.papers if (y := found.papers[paper].year) is not None]
        median = statistics.median_high(years) if years else None
        rows.append(
            (cluster_key(place, column=column), cluster.label, f"{len(cluster.papers):,}", median)
        )
    return table(("", found.labels[one.name], "papers", "median year"), rows)


def _matrix(found: FieldMap, matrix: Matrix) -> str:
    """Return the matrix as text, with the expected count after the count of each gap."""
    head = [cluster_key(place, column=True) for place in range(len(matrix.columns.clusters))]
    rows = [
        (cluster_key(place), *(_count(cell) for cell in line[: len(head)]))
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
            cluster_name(matrix.rows, cell.row),
            cluster_name(matrix.columns, cell.column),
            f"{len(cell.papers):,}",
            f"{cell.expected:.1f}",
        )
        for cell in matrix.gaps[:MOST_GAPS]
    ]
    labels = (found.labels[one.name] for one in (matrix.rows, matrix.columns))
    return table((*labels, "papers", "expected"), rows)


_SENTENCES = {
    "verdict": verdict,
    "gap_sentence": gap_sentence,
    "cluster_key": cluster_key,
    "cluster_name": cluster_name,
}
"""Functions that the templates of the picture and the page may call."""


def svg(found: FieldMap) -> str:
    """Return the clusters and the matrix as SVG; texts are <text> elements."""
    template = environment(FOLDER).get_template("figure.svg.j2")
    return template.render(
        found=found, counted=counted, width=WIDTH, cut=_cut, shade=shade, **_SENTENCES
    )


def png(found: FieldMap) -> bytes:
    """Return the map as a PNG picture: the rendered SVG, with the fonts of this computer."""
    return _rendered(svg(found), zoom=ZOOM, background="#ffffff")


def check_fonts() -> None:
    """Check that a font is installed. Without a font, a PNG would contain no texts.

    Raises:
        SkillFailed: no font is installed.
    """
    text = '<text x="2" y="16">M</text>'
    if _rendered(_TEST.format(text)) == _rendered(_TEST.format("")):
        raise SkillFailed(
            "a PNG needs a font, but no font is installed",
            hint="Install a font, such as DejaVu Sans, or save to an .svg or .html file.",
        )


def _rendered(picture: str, **options: Any) -> bytes:
    import resvg_py

    return resvg_py.svg_to_bytes(
        svg_string=picture, sans_serif_family=SANS_SERIF, font_family=SANS_SERIF, **options
    )


def _cut(text: str, cells: float) -> str:
    """Return a text, shortened with an ellipsis if the text is too wide.

    Args:
        cells: the maximum width, in widths of a Latin letter.
    """
    from rich.text import Text

    shown = Text(text)
    shown.truncate(int(cells), overflow="ellipsis")
    return shown.plain


def shade(count: int, most: int) -> float:
    """Return the darkness of a cell, 0 to 1: the square root of `count / most`."""
    return (count / most) ** 0.5 if most else 0.0


def write_html(file: IO[bytes], found: FieldMap) -> None:
    """Write a map as an HTML page; equal maps give equal bytes."""
    cells = [cell for line in found.matrix.cells for cell in line] if found.matrix else []
    most = max((len(cell.papers) for cell in cells if cell.expected is not None), default=0)
    write_page(
        file,
        FOLDER / "page.html",
        SCRIPT,
        title=found.title,
        found=found,
        listed=LISTED,
        shade=lambda count: round(SHADES * shade(count, most)),
        **_SENTENCES,
        about={"near": NEAR, "smallest": SMALLEST, "rare": RARE},
    )
