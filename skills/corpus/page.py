"""A corpus as a page to look at: one HTML file that holds all it needs and asks no network.

The data goes into it paper by paper, as JSON in script elements that no browser runs; the programs
of `page_assets` show it. They are put together here, in this order, as one script of one scope.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from string import Template
from typing import IO, Any

from skills.corpus import page_parts
from skills.corpus.page_data import LOW_SUPPORT, Provenances, failure_row, paper_row, plain
from skills.corpus.page_parts import ASSETS
from skills.corpus.records import Annotated, Failure
from skills.nanda.framework import Framework

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
    script = page_parts.joined_script(ASSETS / name for name in SCRIPTS)
    style = page_parts.joined_style(ASSETS / name for name in STYLES)
    head, tail = page_parts.text_of(ASSETS / "page.html").split(_SPLIT)
    policy = page_parts.policy(script, style)
    shown = html.escape(plain(title))
    file.write(Template(head).substitute(policy=policy, title=shown, style=style).encode())
    provenances = Provenances()
    page_parts.write_array(
        file, "papers", (paper_row(item, framework, provenances) for item in items)
    )
    page_parts.write_array(file, "failures", map(failure_row, failures))
    facts = {
        "about": dict(about or {}),
        "framework": framework.model_dump(
            mode="json", include={"name", "version", "title", "not_stated", "moves"}
        ),
        "low_support": LOW_SUPPORT,
        "provenances": provenances.shared,
    }
    page_parts.write_value(file, "page", facts)
    file.write(Template(tail).substitute(script=script).encode())
