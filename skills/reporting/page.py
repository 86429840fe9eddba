"""Write reports as single HTML files that load no other file.

A page is a Jinja2 template that extends `templates/base.html`. Texts are escaped, and characters
that could reorder or hide parts of the page are removed. The Content-Security-Policy allows only
the script and the style of the page, by their hashes.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from markupsafe import Markup, escape

from skills.nanda.text import flatten

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
STYLE = TEMPLATES / "style.css"
ANNOTATIONS = TEMPLATES / "annotations.js"
"""The script that highlights the passages of moves, and formats numbers."""


def write_page(file: IO[bytes], template: Path, *scripts: Path, **context: Any) -> None:
    """Write a page to a binary file in UTF-8; equal input gives equal bytes.

    Args:
        template: the path of the template.
        scripts: JavaScript files, which are combined into one script.
        context: the variables of the template. Iterators are consumed while the page is written, so
            that the papers need not all be in memory.
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
    rendered.dump(file, "utf-8", "backslashreplace")  # an unpaired surrogate becomes an escape


@functools.cache
def environment(folder: Path = TEMPLATES) -> Environment:
    """Return the Jinja2 environment with the shared templates and the templates in `folder`."""
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
    """Return the text that a template prints for a value.

    Integers get thousands separators, and None becomes "". Markup is not changed. Texts are
    flattened (see `flatten`), but keep a blank at the beginning or end.
    """
    if value is None or isinstance(value, Markup):
        return "" if value is None else value
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return flatten(f".{text}.")[1:-1]


def _coordinate(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def percent(value: float | None, digits: int = 0) -> str:
    """Return a share as a percentage with `digits` decimals, or a dash for None."""
    return "\N{EN DASH}" if value is None else f"{value:.{digits}%}"


def _prose(text: str) -> Markup:
    """Return a text as HTML; passages between grave accents become code elements."""
    marked = re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(flatten(text))))
    return Markup(marked)  # noqa: S704 - the text is escaped


def _sha256(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
