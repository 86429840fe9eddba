"""The comparison as a page: one HTML file that holds all it needs, runs nothing, asks no network.

It is made of the same parts as the report of /curate, in the same dress.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any

from skills.corpus import page_parts
from skills.corpus.page_data import plain
from skills.curate.page.document import ASSETS as CURATE
from skills.curate.page.drawings import bar
from skills.curate.page.markup import Child, Element, add, facts, h, paragraph, section, table
from skills.curate.page.markup import html as written
from skills.evaluate.inputs import Subject
from skills.evaluate.metrics.metrics import OVERALL
from skills.evaluate.report.text import (
    BY_MOVE,
    TOKENS,
    directions,
    faults_of,
    figure,
    name_of,
    papers_of,
)
from skills.nanda.sentences import split_sentences

Figures = Mapping[str, Any]

ASSETS = Path(__file__).with_name("page_assets")
STYLES = (
    page_parts.ASSETS / "base.css",
    CURATE / "drawings.css",
    ASSETS / "page.css",
    CURATE / "report.css",  # its rules for paper come last
)
_SIDE, _TRACK = 5, 84
SIGNED = frozenset({"kappa", "abstention", "label_lift"})
"""Metrics that run from -1 to 1; the others, tokens apart, from 0."""
GOLD = "the gold itself"
OPEN = frozenset({"kappa", "rouge_l", "label_precision", "label_lift"})
"""Metrics whose table by move is open from the start."""


def as_html(found: Figures, subject: Subject) -> str:
    """The page; equal input gives equal text.

    Args:
        found: as `comparison.of_models` has it, of `subject`.
    """
    sections = [_outcome(found), _differences(found), _moves(found), _worst(found, subject)]
    links = (h("a", {"href": f"#{one.get('id')}"}, one[0].text) for one in sections)
    body = [h("nav", {"aria-label": "Sections"}, *links), *sections]
    style = page_parts.joined_style(STYLES)
    return Template(page_parts.text_of(ASSETS / "page.html")).substitute(
        policy=page_parts.policy("", style),
        title=html.escape(plain(f"Evaluation on {Path(found['input']).name}")),
        style=style,
        body=b"".join(map(written, body)).decode(),
    )


def _outcome(found: Figures) -> Element:
    """Who was compared on what, and every metric over all moves."""
    rows = []
    for metric in found["metrics"]:
        figures = [one.get(metric, {}).get(OVERALL) for one in _everyone(found).values()]
        if any(figures):
            cells = (_stacked(figure(one, metric), papers_of(one, found)) for one in figures)
            rows.append((name_of(metric), *cells))
    meanings = facts((name_of(metric), meaning) for metric, meaning in found["metrics"].items())
    return section(
        "outcome",
        "Outcome",
        facts(_facts(found)),
        h("p", {"class": "notes"}, f"{faults}.") if (faults := faults_of(found)) else None,
        paragraph(
            f"In brackets are 95% intervals: Wilson's of a share of papers, else those of "
            f"{found['resamples']:,} bootstrap samples of the papers."
        ),
        table("All moves together", ("Metric", *_everyone(found)), rows),
        h("details", {}, h("summary", {}, "What the metrics are"), meanings),
    )


def _stacked(figure: str, papers: str) -> tuple[Child, ...]:
    """A figure with its interval below it, so that many annotators fit beside each other."""
    value, _, interval = figure.partition(" ")
    below = f"{interval}{papers}".strip()
    return (value, h("span", {"class": "interval"}, below)) if below else (value,)


def _facts(found: Figures) -> Iterator[tuple[str, str]]:
    yield "Input", found["input"]
    left_out = "".join(f", {n:,} left out ({why})" for why, n in found["filtered"].items())
    yield "Papers", f"{found['papers']:,}{left_out}, held against {found['against']}"
    for one in found["annotators"]:
        if one["kind"] == "model":
            yield one["name"], _model(one)
            for role, digest in one["digests"].items():
                yield f"Its weights ({role})", f"sha256 `{digest}`"
    yield "Framework", f"{found['framework']['name']} {found['framework']['version']}"
    libraries = ", ".join(f"{name} {version}" for name, version in found["libraries"].items())
    yield "Computed with", f"nanda-harness {found['harness']}, {libraries}"


def _model(one: Figures) -> str:
    parts = [f"{one['served']}, {one['form']} form, {one['slots']} at a time"]
    parts += [f"{count:,} failed: {kind}" for kind, count in one["failed"].items()]
    speed = one["speed"]
    if speed["papers_per_minute"] is not None:
        parts.append(f"{speed['papers_per_minute']:.1f} papers a minute over {speed['papers']:,}")
    if speed["memory"] is not None:
        parts.append(f"{speed['memory'] / 1e6:,.0f} MB of memory, the program's own included")
    return "; ".join(parts)


def _differences(found: Figures) -> Element:
    """The first annotator less each other one, paired by paper."""
    made = section(
        "differences",
        "Differences",
        paragraph(
            "Each is paired by paper. Those whose interval excludes 0 are bold; the dashed line of "
            "a drawing, from -1 to 1, is 0. " + directions(found)
        ),
    )
    for one in found["differences"]:
        papers = one["papers"]
        parts = [("kept", papers["win"]), ("pending", papers["tie"]), ("voted", papers["loss"])]
        said = (
            f"By paper ({papers['score']}): {papers['win']:,} won, {papers['tie']:,} tied, "
            f"{papers['loss']:,} lost"
        )
        add(
            made,
            h("h3", {}, f"{one['first']} less {one['other']}"),
            paragraph(f"{said}."),
            bar(parts, said),
            table(
                f"{one['first']} less {one['other']}",
                ("Metric", "Difference", "Papers"),
                list(_difference_rows(found, one["metrics"])),
            ),
        )
    return made


def _difference_rows(found: Figures, differences: Figures) -> Iterator[tuple[Any, ...]]:
    for metric in found["metrics"]:
        moves = differences.get(metric, {})
        for move in (OVERALL, *found["framework"]["moves"]):
            if move in moves and moves[move]["value"] is not None:
                of_move = f"{name_of(metric, by_move=True)}: {move}"
                label = name_of(metric) if move == OVERALL else of_move
                if move == OVERALL or metric in BY_MOVE:
                    yield label, _apart(moves[move], metric), moves[move]["papers"]


def _apart(one: Figures, metric: str) -> tuple[Child, ...]:
    excludes = one["low"] is not None and (one["low"] > 0 or one["high"] < 0)
    shown = h("span", {"class": "marked" if excludes else ""}, figure(one, metric, signed=True))
    return shown, None if metric in TOKENS else _span(one, -1.0)


def _moves(found: Figures) -> Element:
    """Every metric by move."""
    made = section("moves", "By move")
    for metric, meaning in found["metrics"].items():
        rows = []
        for move in found["framework"]["moves"]:
            figures = [one.get(metric, {}).get(move) for one in _everyone(found).values()]
            if any(figures):
                rows.append((move, *(_cell(one, metric) for one in figures)))
        if rows:
            columns = ("Move", *_everyone(found))
            shown = h("details", {"open": ""} if metric in OPEN else {})
            summary = h("summary", {}, name_of(metric, by_move=True))
            add(shown, summary, table(meaning, columns, rows))
            add(made, shown)
    return made


def _cell(one: Figures | None, metric: str) -> tuple[Child, ...]:
    if one is None:
        return ("",)
    papers = h("span", {"class": "count"}, f" n={one['papers']}")
    return figure(one, metric), papers, _span(one, -1.0 if metric in SIGNED else 0.0)


def _worst(found: Figures, subject: Subject) -> Element:
    """The first model's worst papers beside their abstracts."""
    name = found["annotators"][0]["name"]
    score = found["differences"][0]["papers"]["score"]
    made = section(
        "worst",
        f"The worst of {name}",
        paragraph(
            f"The {len(found['worst'])} papers with the lowest score ({score}), lowest first."
        ),
    )
    for one in found["worst"]:
        add(made, _paper(one, subject, found["framework"]["moves"]))
    return made


def _paper(one: Figures, subject: Subject, labels: Mapping[str, str]) -> Element:
    paper = subject.papers[one["index"]]
    if subject.labelled is not None:
        given = subject.labelled[one["index"]]
        pairs = zip(given.labels, given.sentences, strict=True)
        sentences = [f"[{label}] {sentence}" for label, sentence in pairs]
    else:
        sentences = split_sentences(paper.abstract)
    moves: Mapping[str, str] = one["moves"] or {}
    gold = subject.gold[one["index"]] if subject.gold is not None else None
    rows = [
        (label, moves.get(move, "(no annotation)"), *([gold[move]] if gold else []))
        for move, label in labels.items()
    ]
    columns = ("Move", "Annotation", *(["Gold"] if gold else []))
    title = f", {paper.title}" if paper.title else ""
    return h(
        "article",
        {"class": "paper"},
        h("h3", {}, f"{one['id']} ({one['score']:.2f}){title}"),
        h("ol", {"class": "abstract"}, *(h("li", {}, sentence) for sentence in sentences)),
        table(f"Annotation of {one['id']}", columns, rows, words=range(1, len(columns))),
    )


def _span(one: Figures, least: float) -> Element:
    """A figure with its interval between `least` and 1, with a line at 0 where that lies between;
    it says what stands beside it in words. Without an interval it is as wide and empty."""
    size = {"width": _TRACK, "height": 14, "viewBox": f"0 0 {_TRACK} 14"}
    drawn = h("svg", {"aria-hidden": "true", "class": "track", **size})
    if one["low"] is None:
        return drawn
    rule = {"x1": _SIDE, "x2": _TRACK - _SIDE, "y1": 7, "y2": 7}
    add(drawn, h("line", {"class": "rule", **rule}))
    if least < 0:
        at = _along(0.0, least)
        add(drawn, h("line", {"class": "chance", "x1": at, "x2": at, "y1": 1, "y2": 13}))
    ends = {"x1": _along(one["low"], least), "x2": _along(one["high"], least), "y1": 7, "y2": 7}
    add(drawn, h("line", {"class": "interval", **ends}))
    add(drawn, h("circle", {"class": "dot", "cx": _along(one["value"], least), "cy": 7, "r": 3.5}))
    return drawn


def _along(value: float, least: float) -> str:
    share = (min(max(value, least), 1.0) - least) / (1.0 - least)
    return f"{_SIDE + share * (_TRACK - 2 * _SIDE):.1f}"


def _everyone(found: Figures) -> dict[str, Figures]:
    """The metrics of each annotator, and of the gold where there is one."""
    of_gold = {GOLD: found["gold"]} if found["gold"] else {}
    return {one["name"]: one["metrics"] for one in found["annotators"]} | of_gold
