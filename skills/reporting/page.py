"""Write the pages of reports, single HTML files that load no other file.

A page is a Jinja2 template that extends `templates/base.html`. Text is escaped, and stripped of
characters that could reorder or hide parts of the page. The Content-Security-Policy allows only the
script and the style of the page, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from markupsafe import Markup, escape

from skills.nanda.text import flatten

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
STYLE = TEMPLATES / "style.css"
ANNOTATIONS = TEMPLATES / "annotations.js"
"""The script that marks the anchors of moves and pages through lists of annotations."""


def write_page(file: IO[bytes], template: Path, *scripts: Path, **context: Any) -> None:
    """Render a page into a binary file as UTF-8, piece by piece; equal input gives equal bytes.

    Args:
        template: the template of the page.
        scripts: JavaScript files, joined into one script.
        context: the variables of the template; iterables are consumed while the page is rendered.
    """
    style, script = STYLE.read_text("utf-8"), ""
    if scripts:
        programs = "\n".join(path.read_text("utf-8") for path in scripts)
        script = f'(() => {{\n"use strict";\n{programs}\n}})();'
    policy = (
        f"default-src 'none'; script-src '{_sha256(script)}'; style-src '{_sha256(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    page = environment(template.parent).get_template(template.name)
    rendered = page.stream(policy=policy, style=style, script=script, **context)
    rendered.dump(file, "utf-8", "backslashreplace")  # half a surrogate pair is kept as an escape


def environment(folder: Path = TEMPLATES) -> Environment:
    """Return the Jinja2 environment of the pages, which also finds the templates of `folder`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    made.filters.update(n=_coordinate, percent=percent, prose=_prose)
    return made


def _shown(value: Any) -> Any:
    """Return the text that a template prints for a value: markup, grouped integers, safe text.

    Blanks at both ends of a text are kept, since an element may adjoin it.
    """
    if value is None or isinstance(value, Markup):
        return "" if value is None else value
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return flatten(f".{text}.")[1:-1]


def _coordinate(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def percent(value: float | None, digits: int = 0) -> str:
    """Return a share in percent, or a dash for None."""
    return "\N{EN DASH}" if value is None else f"{value:.{digits}%}"


def _prose(text: str) -> Markup:
    """Return `text` with the words between grave accents marked as code."""
    pieces = [escape(piece) for piece in flatten(text).split("`")]
    if len(pieces) % 2 == 0:
        return Markup("`").join(pieces)
    marked = (f"<code>{piece}</code>" if i % 2 else piece for i, piece in enumerate(pieces))
    return Markup("".join(marked))  # noqa: S704 - every piece is escaped


def _sha256(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
