"""Write a comparison as an HTML page with all figures, and as a picture of the figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from skills.evaluate import report_text
from skills.evaluate.annotators import Subject
from skills.evaluate.outputs import OVERALL, Evaluation, WorstPaper
from skills.evaluate.report_text import TOKENS, columns_of, figures_of, name_of
from skills.evaluate.source_metrics import split_labels
from skills.nanda.anchors import read_anchors
from skills.nanda.marked_sentences import Marked, Segment, marked
from skills.reporting.page import write_page
from skills.reporting.statistics import Figure

MODULES = ("matplotlib",)
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Paul Tol's colour scheme "bright"; colour-blind readers can distinguish its colours."""
MARKERS = "osD^vP*X"


def write_html(file: IO[bytes], found: Evaluation, subject: Subject) -> None:
    """Write the HTML page of a comparison; equal input gives equal bytes.

    Args:
        found: the result of `comparison.of_models` for `subject`.
    """
    columns = report_text.columns_of(found)
    if found.gold:
        columns["the gold itself"] = found.gold
    write_page(
        file,
        Path(__file__).with_name("report_page.html"),
        title=f"Evaluation on {Path(found.input).name}",
        found=found,
        columns=columns,
        facts=list(_facts(found)),
        text=report_text,
        figures_of=lambda *key: report_text.figures_of(columns, *key),
        difference_rows=lambda one: report_text.difference_rows(found, one, report_text.BY_MOVE),
        subject=subject,
        sentences=lambda one: _sentences(one, found, subject),
    )


def _facts(found: Evaluation) -> Iterator[tuple[str, str]]:
    yield "Input", found.input
    yield "Papers", report_text.size_of(found)
    for one in found.annotators:
        if one.kind != "baseline":
            yield one.name, report_text.model_facts(one)
            for role, digest in one.digests.items():
                yield f"Weights ({role})", f"sha256 `{digest}`"
    yield "Framework", f"{found.framework['name']} {found.framework['version']}"
    libraries = ", ".join(f"{name} {version}" for name, version in found.libraries.items())
    yield "Computed with", f"nanda-harness {found.harness}, {libraries}"


def _sentences(worst: WorstPaper, found: Evaluation, subject: Subject) -> list[Marked]:
    """Return the sentences of an abstract, marked with the moves of the first model.

    If the sentences have labels, each label is a segment at the beginning of its sentence.

    Args:
        worst: the paper, with the moves of the first model.
    """
    index, moves = worst.index, worst.moves
    abstract = subject.papers[index].abstract
    stated = subject.framework.stated(moves) if moves else {}
    answers = found.annotators[0].by_paper or ()
    sentences = marked(abstract, read_anchors(abstract, stated, answers[index].anchors))
    if subject.labelled is None:
        return sentences
    labels = split_labels(subject.labelled[index])
    return [
        replace(one, segments=(Segment(f"[{label}] "), *one.segments))
        for label, one in zip(labels, sentences, strict=True)
    ]


ROW, HEAD = 0.34, 1.4
"""Height of a row with up to three annotators, and of the picture without rows, in inches."""


def draw(found: Evaluation, file: IO[bytes]) -> None:
    """Write a PNG picture with a row for each metric.

    A row has a mark and a 95% interval for each annotator. Numbers of tokens are left out, since
    they need another scale. A metric without an overall figure has a row for each move.
    """
    from matplotlib import figure as figures
    from matplotlib import rc_context, rcParamsDefault

    # Use the default settings, since a matplotlibrc in the current folder could make matplotlib run
    # TeX. Without "text.parse_math", a "$" in a name does not begin a formula.
    with rc_context({**rcParamsDefault, "text.parse_math": False}):
        rows = list(_rows(found))
        names = list(columns_of(found))
        figure = figures.Figure(figsize=(9, HEAD + ROW * len(rows) * max(1, len(names) / 3)))
        figure.set_layout_engine("constrained")
        axes = figure.subplots()
        for place, name in enumerate(names):
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            offset = (place - (len(names) - 1) / 2) * 0.8 / len(names)
            for row, (_, values) in enumerate(rows):
                if (one := values[place]) is None or one.value is None:
                    continue
                if one.low is not None:
                    ends = [one.low, one.high]
                    axes.plot(ends, [row + offset] * 2, color=colour, linewidth=1.5)
                axes.plot(one.value, row + offset, color=colour, marker=marker, markersize=5)
            axes.plot([], [], color=colour, marker=marker, label=name)
        axes.set_yticks(range(len(rows)), [label for label, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("value and 95% interval")
        axes.axvline(0, color="#999999", linewidth=0.8)
        axes.grid(axis="x", alpha=0.3)
        axes.set_title(f"{Path(found.input).name}: {found.papers:,} papers", loc="left")
        figure.legend(loc="outside lower center", ncols=min(3, len(names)), frameon=False)
        figure.savefig(file, format="png", dpi=120)


def _rows(found: Evaluation) -> Iterator[tuple[str, Sequence[Figure | None]]]:
    """Yield the label of each row of the picture, and the figure of each annotator for the row."""
    for metric in found.metrics:
        if metric in TOKENS:
            continue
        overall = figures_of(columns_of(found), metric)
        for move in (OVERALL,) if overall else found.framework["moves"]:
            if values := figures_of(columns_of(found), metric, move):
                yield name_of(metric, move), values
