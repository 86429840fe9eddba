"""Write a comparison as text for a terminal: verdict, facts and tables."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from harness.terminal.rendering import table
from skills.evaluate.annotators import MODEL_ERRORS
from skills.evaluate.outputs import OVERALL, Difference, Evaluated, Evaluation, Figures, Reliability
from skills.evaluate.source_metrics import SURE
from skills.nanda.quotes import QuotesForm
from skills.nanda.text import counted, listed
from skills.reporting.outputs import MORE
from skills.reporting.statistics import Figure

WIDTH = 96
NAMES = {
    "valid": "first answer valid",
    "valid_freely": "... unconstrained",
    "rouge_l": "ROUGE-L (macro)",
    "anchor": "right anchor",
    "nearest": "nearest sentence",
    "sure": "right if sure",
    "ece": "calibration error",
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
"""Names of metrics in reports. A metric without a name is shown by its key."""
TOKENS = frozenset({"prompt_tokens", "completion_tokens"})
FIRST = ("rouge_l", "anchor", "nearest", "sure", "ece", "placed", "valid", "valid_freely")
"""Metrics that come first in the verdict and, with details, in the table for all moves."""
MAIN = (
    *("rouge_l", "anchor", "nearest", "placed", "valid", "kappa", "numbers", "names"),
    "completion_tokens",
)
"""Metrics in the table for all moves if the report has no details."""
BY_MOVE = (
    *("rouge_l", "anchor", "kappa", "label_precision", "label_prior", "label_lift", "background"),
    *("abstention", "false_fill"),
)
"""Metrics with a table by move."""
DIFFERENCES = ("anchor", "kappa", "label_precision", "background", "abstention", "false_fill")
"""Metrics whose differences the text report also shows by move."""
LESS = ("ece", "overlap", "background", "false_fill", "prompt_tokens", "completion_tokens")
"""Metrics for which a lower figure is better."""
NEITHER = ("stated", "copied", "floor")
"""Descriptive metrics: neither a high nor a low figure is better."""
OF_GOLD = ("stated", "support", "floor", "copied", "overlap")
"""Metrics that are also shown for the gold, as a reference."""
FEW = 20
"""Number of papers below which a verdict without differences calls the papers too few."""
NAMED = 4
"""Maximum number of metrics that a list in the verdict names."""
NO_REGRESSION = "No metric is worse than before"
RELIABILITY = ("confidence", "moves", "mean confidence", "share right")


def text(found: Evaluation, *, details: bool = True) -> str:
    """Return the report of a comparison for a terminal: verdict, facts and tables.

    Args:
        details: True for the figures of all metrics, of single moves and of differences; False for
            the main figures only.
    """
    verdict = "\n".join(textwrap.fill(sentence, WIDTH) for sentence in found.verdict)
    models = [one for one in found.annotators if one.kind != "baseline"]
    context = [f"{found.input}: {size_of(found)}"]
    context += [f"{one.name}: {model_facts(one)}" for one in models]
    if faults := faults_of(found):
        context.append(textwrap.fill(f"! {faults}", WIDTH, subsequent_indent="  "))
    if missing := unmeasured(found):
        context.append(textwrap.fill(missing, WIDTH))
    if not details:
        context[0] += "; in brackets: 95% intervals"
        tables = _reliability(models)
        return "\n\n".join((verdict, "\n".join(context), _overall(found, MAIN), *tables, MORE))
    context.append(
        textwrap.fill(
            "In brackets: 95% intervals, Wilson's for a share of papers, else from "
            f"{found.resamples:,} bootstrap samples of the papers; * marks a difference whose "
            f"interval excludes 0. {directions(found)}",
            WIDTH,
        )
    )
    blocks = [verdict, "\n".join(context), _overall(found, (*FIRST, *found.metrics))]
    if gold := found.gold:
        named = (f"{name_of(one)} {figure(gold[one][OVERALL])}" for one in OF_GOLD if one in gold)
        line = f"the gold itself: {'; '.join(named)}"
        blocks.append(textwrap.fill(line, WIDTH, subsequent_indent="  "))
    blocks += _reliability(found.annotators)
    blocks += [_by_move(found, metric) for metric in BY_MOVE if metric in found.metrics]
    for pair in found.differences:
        rows = [
            (label, figure(one, metric, signed=True), "*" if excludes_zero(one) else "")
            for label, metric, one in difference_rows(found, pair, DIFFERENCES)
        ]
        head = f"{pair.first} - {pair.other}: {outcome_of(pair)}"
        blocks.append(f"{head}\n{table(('difference', '95% interval', ''), rows)}")
    return "\n\n".join(blocks)


def name_of(metric: str, move: str = OVERALL, *, by_move: bool = False) -> str:
    """Return the name of a metric in reports, followed by `move` unless it is `OVERALL`.

    Args:
        by_move: True to leave out endings such as "(macro)", which do not apply to single moves.
    """
    name = NAMES.get(metric, metric)
    if by_move or move != OVERALL:
        name = name.removesuffix(" (macro)").removesuffix(", all moves")
    return name if move == OVERALL else f"{name}: {move}"


def columns_of(found: Evaluation) -> dict[str, Figures]:
    """Return the figures of each annotator, by the name of the annotator."""
    return {one.name: one.metrics for one in found.annotators}


def figures_of(
    columns: Mapping[str, Figures], metric: str, move: str = OVERALL
) -> list[Figure | None] | None:
    """Return one figure of each annotator in `columns`, or None if no annotator has the figure."""
    figures = [metrics.get(metric, {}).get(move) for metrics in columns.values()]
    return figures if any(figures) else None


def difference_rows(
    found: Evaluation, pair: Difference, by_move: Sequence[str]
) -> Iterator[tuple[str, str, Figure]]:
    """Yield label, metric and figure of each difference between two annotators.

    Args:
        pair: the differences.
        by_move: the metrics whose differences are yielded for each move, too.
    """
    for metric in found.metrics:
        moves = pair.metrics.get(metric, {})
        for move in (OVERALL, *(found.framework["moves"] if metric in by_move else ())):
            if move in moves and moves[move].value is not None:
                yield name_of(metric, move), metric, moves[move]


def outcome_of(pair: Difference) -> str:
    """Return a clause with the numbers of papers won, tied and lost, or why they are unknown."""
    if (papers := pair.papers) is None:
        return "not paired by paper, with wider intervals: the stored evaluation has no annotations"
    return (
        f"by paper ({papers.score}) {papers.win:,} won, {papers.tie:,} tied, {papers.loss:,} lost"
    )


def reliability_head(one: Evaluated) -> tuple[str, str]:
    """Return two clauses about an annotator: its calibration error, and its sure moves."""
    rated, metrics = one.reliability, one.metrics
    assert rated is not None
    return (
        f"{one.name}: expected calibration error {figure(metrics['ece'][OVERALL])} of its "
        f"confidence in {counted(rated.moves, 'move')} that the gold states too",
        f"{counted(rated.sure, 'move')} with a confidence of {SURE} or more: right anchor "
        f"{figure(metrics['sure'][OVERALL])}; {rated.sure_not_in_gold:,} more that the gold does "
        "not state",
    )


def reliability_rows(rated: Reliability) -> list[tuple[str, ...]]:
    """Return the rows of a reliability table, with the columns of `RELIABILITY`."""
    return [
        (f"{b.low:.1f} to {b.high:.1f}", f"{b.moves:,}", f"{b.confidence:.3f}", f"{b.right:.3f}")
        for b in rated.bins
    ]


def directions(found: Evaluation) -> str:
    """Return two sentences that name the metrics in `LESS` and the metrics in `NEITHER`."""
    less, neither = (
        "; ".join(name_of(metric) for metric in metrics if metric in found.metrics)
        for metrics in (LESS, NEITHER)
    )
    return f"Less is better for: {less}. Descriptive: {neither}."


def figure(one: Figure | None, metric: str = "", *, signed: bool = False) -> str:
    """Return a figure with its interval as text, such as "0.710 (0.600 to 0.800)".

    The result is "0.710" for a figure without an interval, "n/a" for a figure without a value, and
    "" for None.

    Args:
        metric: the metric, which determines the number of decimals.
        signed: True to write the sign of positive numbers, too.
    """
    if one is None:
        return ""
    if one.value is None:
        return "n/a"
    form = "+" * signed + (".0f" if metric in TOKENS else ".3f")
    if one.low is None:
        return f"{one.value:{form}}"
    return f"{one.value:{form}} ({one.low:{form}} to {one.high:{form}})"


def papers_of(one: Figure | None, found: Evaluation) -> str:
    """Return the number of papers of a figure, such as " n=10"; "" for None or all papers."""
    return "" if one is None or one.papers == found.papers else f" n={one.papers:,}"


def excludes_zero(one: Figure) -> bool:
    """Return True if a figure has an interval, and 0 lies outside the interval."""
    return one.low is not None and one.high is not None and (one.low > 0 or one.high < 0)


def faults_of(found: Evaluation) -> str:
    """Return a warning about the failures that no model caused; "" without such failures."""
    models = [one for one in found.annotators if one.kind == "model"]
    count = sum(n for one in models for kind, n in one.failed.items() if kind not in MODEL_ERRORS)
    if not count:
        return ""
    return (
        f"{counted(count, 'answer')} failed by a fault of the run, but count against the model: "
        "retry with --retry-failed"
    )


def unmeasured(found: Evaluation) -> str:
    """Return a hint if consistency was not measured but could be measured, or else ""."""
    writes = any(one.form not in ("", QuotesForm.name) for one in found.annotators)
    if "seeds" in found.metrics or not writes:
        return ""
    return (
        "Consistency was not measured: --consistency N repeats the first N papers with other seeds "
        "and prompts."
    )


def model_facts(one: Evaluated) -> str:
    """Return a line about a model: how it is served, its failures, speed and memory."""
    parts = [f"{one.served}, {one.form} form, {one.slots} at a time"]
    parts += [f"{n:,} failed ({MODEL_ERRORS.get(kind, kind)})" for kind, n in one.failed.items()]
    speed = one.speed
    if speed and speed.papers_per_minute is not None:
        parts.append(f"{speed.papers_per_minute:.1f} papers a minute over {speed.papers:,}")
    if speed and speed.memory is not None:
        parts.append(f"{speed.memory / 1e6:,.0f} MB of memory, including this program")
    return "; ".join(parts)


def size_of(found: Evaluation) -> str:
    """Return a clause such as "12 papers, 1 left out (refused), compared with gold"."""
    left_out = "".join(f", {n:,} left out ({why})" for why, n in found.filtered.items())
    return f"{counted(found.papers, 'paper')}{left_out}, compared with {found.against}"


def _overall(found: Evaluation, metrics: Sequence[str]) -> str:
    columns, rows = columns_of(found), []
    for metric in dict.fromkeys(metrics):
        if figures := figures_of(columns, metric):
            shown = (figure(one, metric) + papers_of(one, found) for one in figures)
            rows.append((name_of(metric), *shown))
    return table(("all moves", *columns), rows)


def _reliability(annotators: Sequence[Evaluated]) -> Iterator[str]:
    """Yield the reliability table of each annotator with confidences."""
    for one in annotators:
        if one.reliability:
            head = "\n".join(textwrap.fill(line, WIDTH) for line in reliability_head(one))
            yield f"{head}\n{table(RELIABILITY, reliability_rows(one.reliability))}"


def _by_move(found: Evaluation, metric: str) -> str:
    columns, rows = columns_of(found), []
    for move in found.framework["moves"]:
        if figures := figures_of(columns, metric, move):
            papers = " / ".join(str(one.papers) if one else "" for one in figures)
            rows.append((move, *map(figure, figures), papers))
    return table((name_of(metric, by_move=True), *columns, "papers"), rows)


def verdict(found: Evaluation) -> list[str]:
    """Return sentences about each comparison of the first model with another model.

    If there is only one model, the sentences compare it with the baselines. Only differences whose
    interval excludes 0 count. The comparison with an earlier evaluation is the first element of the
    result, and also names regressions.
    """
    models = {one.name for one in found.annotators if one.kind != "baseline"}
    others = [one for one in found.differences if one.other in models]
    sentences = [_sentence(found, one) for one in others or found.differences]
    if found.regressions is not None:
        outcome = outcome_of(others[0])
        worse = [name_of(metric, move) for metric, move in found.regressions]
        ending = f"Worse than before: {'; '.join(worse)}" if worse else NO_REGRESSION
        sentences[0] += f" {outcome[0].upper()}{outcome[1:]}. {ending}."
    return sentences


def regressions(found: Evaluation) -> list[tuple[str, str]]:
    """Return (metric, move) for each figure that is worse than in the earlier evaluation.

    Only differences whose interval excludes 0 count. If a metric has an overall figure, only this
    figure is compared, with `OVERALL` as the move; otherwise the figure of each move is compared.
    Numbers of tokens and descriptive metrics are ignored.
    """
    worse = []
    for metric, moves in found.differences[0].metrics.items():
        if metric in NEITHER or metric in TOKENS:
            continue
        for move in (OVERALL,) if OVERALL in moves else moves:
            if excludes_zero(moves[move]) and not _gains(metric, moves[move]):
                worse.append((metric, move))
    return worse


def _sentence(found: Evaluation, pair: Difference) -> str:
    better: list[str] = []
    worse: list[str] = []
    unclear: dict[str, bool] = {}
    for metric in dict.fromkeys((*FIRST, *found.metrics)):
        one = pair.metrics.get(metric, {}).get(OVERALL)
        if metric in NEITHER or one is None or one.value is None:
            continue
        name, gains = name_of(metric), _gains(metric, one)
        if not excludes_zero(one):
            unclear[name] = gains and one.value != 0
            continue
        shown = f"{name} ({figure(one, metric, signed=True).split()[0]})"
        (better if gains else worse).append(shown)
    papers = counted(found.papers, "paper")
    if not better and not worse:
        if found.papers >= FEW:
            return (
                f"No difference between {pair.first} and {pair.other} is shown on {papers}: no "
                "interval excludes 0."
            )
        ahead = [name for name, gains in unclear.items() if gains]
        return (
            f"{papers} {'is' if found.papers == 1 else 'are'} too few to decide between "
            f"{pair.first} and {pair.other} (no interval excludes 0). So far {pair.first} is ahead "
            f"in {listed(ahead, NAMED) if ahead else 'no metric'}."
        )
    parts = [f"better at {listed(better, NAMED)}"] * bool(better)
    parts += [f"worse at {listed(worse, NAMED)}"] * bool(worse)
    shown = (
        f"Compared with {pair.other} on {papers}, {pair.first} is {', and '.join(parts)}: "
        "these intervals exclude 0."
    )
    return f"{shown} No difference is shown in {listed(unclear, NAMED)}." if unclear else shown


def _gains(metric: str, one: Figure) -> bool:
    return one.value is not None and (one.value < 0) == (metric in LESS)
