"""A corpus as a page to look at: one HTML file that holds all it needs and asks no network.

The data goes into it paper by paper, as JSON in script elements that no browser runs; the programs
of `page_assets` show it. They are put together here, in this order, as one script of one scope.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template
from typing import IO, Any

from skills.corpus.annotated import Annotated, Failure
from skills.corpus.page_data import LOW_SUPPORT, Provenances, failure_row, paper_row, plain
from skills.nanda.framework import Framework

ASSETS = Path(__file__).with_name("page_assets")
STYLES = (
    "base.css",
    "page.css",
    "facets.css",
    "table.css",
    "cards.css",
    "panel.css",
    "statistics.css",
    "failures.css",
    "print.css",
)
SCRIPTS = (
    "dom.js",
    "data.js",
    "search.js",
    "facets.js",
    "state.js",
    "sidebar.js",
    "cells.js",
    "table.js",
    "keys.js",
    "detail.js",
    "numbers.js",
    "drawings.js",
    "statistics.js",
    "failures.js",
    "main.js",
)
_SPLIT = "<!-- data -->\n"
_SPECIAL = re.compile("[<>&\u2028\u2029]")


def write_html(
    file: IO[bytes],
    *,
    title: str,
    items: Iterable[Annotated],
    failures: Iterable[Failure],
    framework: Framework,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write the page, paper by paper as they come; equal input gives equal bytes.

    The statistics follow what a reader filters, so the page counts them itself; of all papers they
    are those of `skills.corpus.stats.of_items`.

    Args:
        file: open for writing bytes; UTF-8 is written.
        title: the heading.
        items: annotations under `framework`.
        failures: papers without one, shown in a list of their own.
        about: facts of the run that stand above it all, as JSON holds them.
    """
    script = "\n".join(("(() => {", '"use strict";', *map(_asset, SCRIPTS), "})();"))
    style = "\n".join(map(_asset, STYLES))
    head, tail = _asset("page.html").split(_SPLIT)
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    shown = html.escape(plain(title))
    file.write(Template(head).substitute(policy=policy, title=shown, style=style).encode())
    provenances = Provenances()
    _write_array(file, "papers", (paper_row(item, framework, provenances) for item in items))
    _write_array(file, "failures", map(failure_row, failures))
    facts = {
        "about": dict(about or {}),
        "framework": framework.model_dump(
            mode="json", include={"name", "version", "title", "not_stated", "moves"}
        ),
        "low_support": LOW_SUPPORT,
        "provenances": provenances.shared,
    }
    file.write(b'<script type="application/json" id="page">' + _json(facts) + b"</script>\n")
    file.write(Template(tail).substitute(script=script).encode())


def _write_array(file: IO[bytes], name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """One element that holds an array, one row on each line."""
    file.write(f'<script type="application/json" id="{name}">['.encode())
    before = b"\n"
    for row in rows:
        file.write(before + _json(row))
        before = b",\n"
    file.write(b"\n]</script>\n")


def _json(value: Any) -> bytes:
    """JSON that ends no element and begins no comment, whatever it holds.

    Half a surrogate pair, which no file can hold, is written as the escape that JSON has for it.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    safe = _SPECIAL.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
    return safe.encode("utf-8", "backslashreplace")


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What a Content-Security-Policy knows an inline script or style by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
