"""The comparison in words and tables, for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.terminal.tables import table
from skills.evaluate.annotators import FINDINGS
from skills.evaluate.metrics import consistency, labels, metrics
from skills.evaluate.metrics.metrics import OVERALL

WIDTH = 96
NAMES = {
    "valid": "first answer valid",
    "valid_freely": "... unconstrained",
    "rouge_l": "ROUGE-L (macro)",
    "chrf": "chrF (macro)",
    "kappa": "kappa, all moves",
    "stated": "moves stated",
    "numbers": "numbers supported",
    "names": "names supported",
    "floor": "support by chance",
    "overlap": "moves alike, at most",
    "seeds": "alike by seeds",
    "seeds_stated": "... stated alike",
    "prompts": "alike by prompts",
    "prompts_stated": "... stated alike",
    "prompt_tokens": "tokens: prompt",
    "completion_tokens": "tokens: answer",
    "label_precision": "label precision",
    "label_prior": "label prior",
    "label_lift": "precision less prior",
    "false_fill": "false fill",
}
"""What a metric is called where there is room for more than its key."""
TOKENS = frozenset({"prompt_tokens", "completion_tokens"})
FIRST = ("rouge_l", "placed", "valid", "valid_freely")
"""Metrics that come first in the table of all moves."""
BY_MOVE = (
    *("rouge_l", "kappa", "label_precision", "label_prior", "label_lift", "background"),
    *("abstention", "false_fill"),
)
"""Metrics with a table by move."""
DIFFERENCES = ("kappa", "label_precision", "background", "abstention", "false_fill")
"""Metrics whose differences are told by move as well."""
LESS = {
    "overlap": "moves alike",
    "background": "background",
    "false_fill": "false fill",
    "prompt_tokens": "tokens",
}
NEITHER = {"stated": "moves stated", "copied": "copied", "floor": "support by chance"}
"""Metrics of which more is not better, in words."""
OF_GOLD = ("stated", "support", "floor", "copied", "overlap")
"""Metrics of the gold that those of a model are read beside."""


def text(found: Mapping[str, Any]) -> str:
    """All of `comparison.of_models` that fits a screen; --json has every figure."""
    blocks = ["\n".join(_head(found)), _overall(found)]
    blocks += [_gold(found["gold"])] if found["gold"] else []
    blocks += [_by_move(found, metric) for metric in BY_MOVE if metric in found["metrics"]]
    blocks += [_difference(found, one) for one in found["differences"]]
    return "\n\n".join(blocks)


def name_of(metric: str, *, by_move: bool = False) -> str:
    """What a metric is called: over all moves, or of single ones."""
    name = NAMES.get(metric, metric)
    return name.removesuffix(" (macro)").removesuffix(", all moves") if by_move else name


def directions(found: Mapping[str, Any]) -> str:
    """Of which of its metrics more is not better."""
    less, neither = (
        [name for metric, name in names.items() if metric in found["metrics"]]
        for names in (LESS, NEITHER)
    )
    return (
        f"Less is better for {', '.join(less)}; {', '.join(neither)} are no merit and no fault, "
        "but help to read the rest."
    )


def figure(one: Mapping[str, Any] | None, metric: str = "", *, signed: bool = False) -> str:
    """ "0.71 (0.60 to 0.80)"; without interval where there is none; "" where there is no value."""
    if one is None:
        return ""
    if one["value"] is None:
        return "n/a"
    form = "+" * signed + (".0f" if metric in TOKENS else ".3f")
    if one["low"] is None:
        return f"{one['value']:{form}}"
    return f"{one['value']:{form}} ({one['low']:{form}} to {one['high']:{form}})"


def papers_of(one: Mapping[str, Any] | None, found: Mapping[str, Any]) -> str:
    """ " n=10": of how many papers a figure is, where it is not of all."""
    return "" if one is None or one["papers"] == found["papers"] else f" n={one['papers']:,}"


def faults_of(found: Mapping[str, Any]) -> str:
    """What is to be said of papers that no model could do anything about; "" where there are none.

    A finding about a model, such as an invalid answer, is told beside it.
    """
    models = [one for one in found["annotators"] if one["kind"] == "model"]
    count = sum(n for one in models for kind, n in one["failed"].items() if kind not in FINDINGS)
    if not count:
        return ""
    return (
        f"{count:,} {'answer' if count == 1 else 'answers'} failed by a fault of the run and no "
        "fault of the model, and count against it: --retry-failed asks again"
    )


def _head(found: Mapping[str, Any]) -> Iterator[str]:
    left_out = "".join(f", {n:,} left out ({why})" for why, n in found["filtered"].items())
    yield f"{found['input']}: {found['papers']:,} papers{left_out}, held against {found['against']}"
    for one in found["annotators"]:
        if one["kind"] == "model":
            yield _model(one)
    if faults := faults_of(found):
        yield textwrap.fill(f"! {faults}", WIDTH, subsequent_indent="  ")
    yield textwrap.fill(
        "In brackets: 95% intervals, Wilson's of a share of papers, else those of "
        f"{found['resamples']:,} bootstrap samples of the papers; * marks a difference whose "
        f"interval excludes 0. {directions(found)}",
        WIDTH,
    )


def _model(one: Mapping[str, Any]) -> str:
    parts = [f"{one['name']} ({one['served']}, {one['form']})"]
    parts += [f"{count:,} failed: {kind}" for kind, count in one["failed"].items()]
    speed = one["speed"]
    if speed["papers_per_minute"] is not None:
        parts.append(
            f"{speed['papers_per_minute']:.1f} papers/min over {speed['papers']:,}, "
            f"{one['slots']} at a time"
        )
    if speed["memory"] is not None:
        parts.append(f"{speed['memory'] / 1e6:,.0f} MB")
    return "; ".join(parts)


def _overall(found: Mapping[str, Any]) -> str:
    every = [*metrics.METRICS, *consistency.METRICS, *labels.METRICS]
    order = [*FIRST, *(metric for metric in every if metric not in FIRST)]
    rows = []
    for metric in order:
        figures = [one["metrics"].get(metric, {}).get(OVERALL) for one in found["annotators"]]
        if any(figures):
            shown = (figure(one, metric) + papers_of(one, found) for one in figures)
            rows.append((name_of(metric), *shown))
    return table(("all moves", *_names(found)), rows)


def _gold(gold: Mapping[str, Any]) -> str:
    told = [(name_of(metric), gold[metric][OVERALL]) for metric in OF_GOLD if metric in gold]
    figures = "; ".join(f"{name} {figure(one)}" for name, one in told)
    return textwrap.fill(f"the gold itself: {figures}", WIDTH, subsequent_indent="  ")


def _by_move(found: Mapping[str, Any], metric: str) -> str:
    rows = []
    for move in found["framework"]["moves"]:
        figures = [one["metrics"].get(metric, {}).get(move) for one in found["annotators"]]
        if any(figures):
            papers = " / ".join(str(one["papers"]) if one else "" for one in figures)
            rows.append((move, *(figure(one) for one in figures), papers))
    return table((name_of(metric, by_move=True), *_names(found), "papers"), rows)


def _names(found: Mapping[str, Any]) -> Sequence[str]:
    return [one["name"] for one in found["annotators"]]


def _difference(found: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    papers = one["papers"]
    head = (
        f"{one['first']} - {one['other']}: by paper ({papers['score']}) {papers['win']:,} won, "
        f"{papers['tie']:,} tied, {papers['loss']:,} lost"
    )
    rows = []
    for metric in found["metrics"]:
        moves = one["metrics"].get(metric, {})
        wanted = [OVERALL, *(found["framework"]["moves"] if metric in DIFFERENCES else ())]
        for move in wanted:
            if move in moves and moves[move]["value"] is not None:
                of_move = f"{name_of(metric, by_move=True)}: {move}"
                label = name_of(metric) if move == OVERALL else of_move
                rows.append((label, figure(moves[move], metric, signed=True), _mark(moves[move])))
    return f"{head}\n{table(('difference', '95% interval', ''), rows)}"


def _mark(one: Mapping[str, Any]) -> str:
    """Whether the interval excludes 0."""
    return "*" if one["low"] is not None and (one["low"] > 0 or one["high"] < 0) else ""
