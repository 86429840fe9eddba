"""The report of a run as a page: one HTML file that holds all it needs and asks no network.

All figures are plain HTML, made here; a program shows the annotations in full, a few at a time.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import IO, Any

from skills.corpus import page_parts
from skills.corpus.page_data import plain
from skills.curate.page import markup, outcome, rows
from skills.curate.page.markup import Element, h
from skills.curate.page.panel import panel_section
from skills.curate.page.probes import probes_section
from skills.curate.panel.panel import Panel
from skills.curate.store.verdicts import Verdict
from skills.nanda.framework import Framework

ASSETS = Path(__file__).with_name("assets")
STYLES = (
    page_parts.ASSETS / "base.css",
    ASSETS / "drawings.css",
    ASSETS / "rows.css",
    ASSETS / "report.css",  # its rules for paper come last
)
SCRIPTS = (page_parts.ASSETS / "dom.js", ASSETS / "row.js", ASSETS / "rows.js")
_BODY, _DATA = "<!-- body -->\n", "<!-- data -->\n"


def write_html(
    file: IO[bytes],
    summary: Mapping[str, Any],
    verdicts: Sequence[Verdict],
    framework: Framework,
    panel: Panel,
) -> None:
    """Write the report; equal input gives equal bytes.

    Args:
        file: open for writing bytes; UTF-8 is written.
        summary: as `report.summary.of_run` has it, with notes, tokens, seconds, database and
            run.
        verdicts: of the input and of the probes. The probes are in figures alone.
    """
    own = [one for one in verdicts if not one.item.probe]
    probes = [one for one in verdicts if one.item.probe]
    script, style = page_parts.joined_script(SCRIPTS), page_parts.joined_style(STYLES)
    head, middle, tail = _split(page_parts.text_of(ASSETS / "report.html"))
    file.write(
        Template(head)
        .substitute(
            policy=page_parts.policy(script, style),
            title=html.escape(plain(outcome.title(summary))),
            style=style,
        )
        .encode()
    )
    sections = (
        outcome.outcome(summary, panel),
        outcome.gates(summary),
        panel_section(
            summary,
            [one for one in own if one.ballot],
            [one for one in probes if one.ballot],
            panel,
        ),
        probes_section(summary, probes),
        rows.rows_section(summary),
    )
    for element in (_contents(sections), *sections):
        file.write(markup.html(element))
    file.write(middle.encode())
    borderline = summary["panel"]["borderline"]["closest"] if summary["panel"] else []
    thresholds = tuple(summary["judge"]["thresholds"].values())
    page_parts.write_value(file, "about", rows.about(framework, panel, thresholds))
    page_parts.write_array(file, "shown", rows.rows(own, borderline, framework))
    file.write(Template(tail).substitute(script=script).encode())


def _contents(sections: Sequence[Element]) -> Element:
    """Links to the sections."""
    links = (h("a", {"href": f"#{one.get('id')}"}, one[0].text) for one in sections)
    return h("nav", {"aria-label": "Sections"}, *links)


def _split(page: str) -> tuple[str, str, str]:
    head, rest = page.split(_BODY)
    middle, tail = rest.split(_DATA)
    return head, middle, tail
