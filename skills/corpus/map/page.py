"""A map as a page: the matrix, the clusters with their years, and below each its papers."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from skills.corpus.map import views
from skills.corpus.map.clusters import FEWEST_PAPERS, NEAR, SMALLEST
from skills.corpus.map.drawing import shade
from skills.corpus.map.field import FieldMap
from skills.corpus.map.matrix import RARE
from skills.reporting.page import write_page

FOLDER = Path(__file__).parent
SCRIPT = FOLDER / "page.js"
LISTED = 200
"""Papers that are listed of a cell, or of a cluster without a matrix."""
SHADES = 6
"""Classes of cells by their count: a policy allows no style of an element."""


def write_html(file: IO[bytes], found: FieldMap) -> None:
    """Write the page; equal maps give equal bytes."""
    cells = [cell for line in found.matrix.cells for cell in line] if found.matrix else []
    most = max((len(cell.papers) for cell in cells if cell.expected is not None), default=0)
    write_page(
        file,
        FOLDER / "page.html",
        SCRIPT,
        title=found.title,
        found=found,
        views=views,
        listed=LISTED,
        shade=lambda count: round(SHADES * shade(count, most)),
        about={"fewest": FEWEST_PAPERS, "near": NEAR, "smallest": SMALLEST, "rare": RARE},
    )
