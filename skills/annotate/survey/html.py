"""The survey as one HTML page, made from its Markdown."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from markupsafe import Markup

from skills.annotate.survey.page import Survey, as_markdown
from skills.reporting.page import write_page

if TYPE_CHECKING:
    from markdown_it.token import Token

PAGE = Path(__file__).parents[1] / "templates" / "survey.html"


def write_html(file: IO[bytes], survey: Survey) -> None:
    """Write the survey into a binary file; its sections are those of the Markdown."""
    lead, *parts = _rendered(as_markdown(survey))
    sections = {f"part-{i}": heading for i, (heading, _) in enumerate(parts, start=1)}
    bodies = {f"part-{i}": body for i, (_, body) in enumerate(parts, start=1)}
    write_page(file, PAGE, title=survey.heading, lead=lead[1], sections=sections, bodies=bodies)


def _rendered(markdown: str) -> Iterator[tuple[str, Markup]]:
    """Yield heading and content of each section; the first is what follows the title."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    environment: dict[str, object] = {}
    tokens = parser.parse(markdown, environment)
    for token in tokens:
        token.attrs.pop("style", None)  # the page's policy refuses it
    opens = (i for i, token in enumerate(tokens) if token.type == "heading_open")
    marks = [i for i in opens if tokens[i].tag in ("h1", "h2")]
    for start, end in itertools.pairwise([*marks, len(tokens)]):
        body = parser.renderer.render(tokens[start + 3 : end], parser.options, environment)
        # The renderer escapes all text, and raw HTML is switched off.
        yield _text_of(tokens[start + 1]), Markup(body)  # noqa: S704


def _text_of(inline: Token) -> str:
    return "".join(child.content for child in inline.children or ())
