"""A map as a picture: an SVG, and a PNG of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import SkillFailed
from skills.corpus.map import views
from skills.corpus.map.field import FieldMap
from skills.nanda.text import counted
from skills.reporting.page import environment

FOLDER = Path(__file__).parent
WIDTH = 1200
ZOOM = 2
"""Pixels of the PNG for each unit of the SVG."""
SANS_SERIF = "DejaVu Sans"
_TEST = '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20">{}</svg>'


def svg(found: FieldMap) -> str:
    """Return the map as SVG: clusters with their years, and the matrix; text stays text."""
    template = environment(FOLDER).get_template("figure.svg.j2")
    return template.render(
        found=found, views=views, counted=counted, width=WIDTH, cut=_cut, shade=shade
    )


def png(found: FieldMap) -> bytes:
    """Return the map as PNG, rendered of the SVG with the fonts of this machine."""
    return _rendered(svg(found), zoom=ZOOM, background="#ffffff")


def check_fonts() -> None:
    """Check that text can be drawn.

    Raises:
        SkillFailed: this machine has no font.
    """
    text = '<text x="2" y="16">M</text>'
    if _rendered(_TEST.format(text)) == _rendered(_TEST.format("")):
        raise SkillFailed(
            "there is no font on this machine to draw a PNG with",
            hint="Install one, such as DejaVu Sans, or save to an .svg or .html file.",
        )


def _rendered(picture: str, **options: Any) -> bytes:
    import resvg_py

    return resvg_py.svg_to_bytes(
        svg_string=picture, sans_serif_family=SANS_SERIF, font_family=SANS_SERIF, **options
    )


def _cut(text: str, cells: float) -> str:
    """Return text that is as wide as so many Latin letters, at most."""
    from rich.text import Text

    shown = Text(text)
    shown.truncate(int(cells), overflow="ellipsis")
    return shown.plain


def shade(count: int, most: int) -> float:
    """Return how dark the cell of a count is, 0 to 1; as areas, by the square root."""
    return (count / most) ** 0.5 if most else 0.0
