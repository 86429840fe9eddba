"""The verdict of a comparison: where the first model is better and worse than each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skills.evaluate.metrics.metrics import OVERALL
from skills.evaluate.report import text
from skills.nanda.text import counted

FEW = 20
"""Papers below which the verdict names what is ahead where no interval excludes 0."""
NAMED = 4
"""The number of metrics that a sentence names at most."""


def verdict(found: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each other model, or for each baseline without another model.

    A difference counts if its interval excludes 0. A stored evaluation comes first, with the
    regressions against it.
    """
    models = {one["name"] for one in found["annotators"] if one["kind"] != "baseline"}
    others = [one for one in found["differences"] if one["other"] in models]
    sentences = [_sentence(found, one) for one in others or found["differences"]]
    if "regressions" in found:
        sentences[0] = f"{sentences[0]} {_outcome(found, others[0])}"
    return sentences


def regressions(found: Mapping[str, Any]) -> list[list[str]]:
    """Return metric and move of what is worse than in the stored evaluation.

    A metric counts over all moves, or by move if it has no such figure, if its interval excludes 0
    on the worse side. Tokens are a cost and descriptive metrics are neither: they do not count.
    """
    pair = found["differences"][0]
    worse = []
    for metric, moves in pair["metrics"].items():
        if metric in text.NEITHER or metric in text.TOKENS:
            continue
        for move in (OVERALL,) if OVERALL in moves else moves:
            if text.excludes_zero(moves[move]) and not _gains(metric, moves[move]):
                worse.append([metric, move])
    return worse


def _outcome(found: Mapping[str, Any], pair: Mapping[str, Any]) -> str:
    """Return the papers won and lost against the stored evaluation, and the regressions."""
    outcome = text.outcome_of(pair)
    worse = [text.name_of(metric, move) for metric, move in found["regressions"]]
    ending = f"Worse than before: {'; '.join(worse)}" if worse else "No metric is worse than before"
    return f"{outcome[0].upper()}{outcome[1:]}. {ending}."


def _sentence(found: Mapping[str, Any], pair: Mapping[str, Any]) -> str:
    better: list[str] = []
    worse: list[str] = []
    unclear: dict[str, bool] = {}
    for metric, figure in _compared(found, pair):
        name, gains = text.name_of(metric), _gains(metric, figure)
        if not text.excludes_zero(figure):
            unclear[name] = gains and figure["value"] != 0
            continue
        shown = f"{name} ({text.figure(figure, metric, signed=True).split()[0]})"
        (better if gains else worse).append(shown)
    papers = counted(found["papers"], "paper")
    if not better and not worse:
        if found["papers"] < FEW:
            return _too_few(papers, pair, [name for name, ahead in unclear.items() if ahead])
        return (
            f"No difference between {pair['first']} and {pair['other']} is shown on {papers}: no "
            "interval excludes 0."
        )
    parts = [f"better at {_named(better)}"] * bool(better)
    parts += [f"worse at {_named(worse)}"] * bool(worse)
    shown = (
        f"Compared with {pair['other']} on {papers}, {pair['first']} is {', and '.join(parts)}: "
        "these intervals exclude 0."
    )
    return f"{shown} No difference is shown in {_named([*unclear])}." if unclear else shown


def _too_few(papers: str, pair: Mapping[str, Any], ahead: Sequence[str]) -> str:
    so_far = f"is ahead in {_named(ahead) if ahead else 'no metric'}"
    return (
        f"{papers} {'is' if papers == '1 paper' else 'are'} too few to decide between "
        f"{pair['first']} and {pair['other']} (no interval excludes 0). So far {pair['first']} "
        f"{so_far}."
    )


def _compared(
    found: Mapping[str, Any], pair: Mapping[str, Any]
) -> Iterator[tuple[str, text.Figure]]:
    """Yield the differences of metrics that have a better direction; the main ones first."""
    for metric in dict.fromkeys((*text.FIRST, *found["metrics"])):
        figure = pair["metrics"].get(metric, {}).get(OVERALL)
        if metric not in text.NEITHER and figure is not None and figure["value"] is not None:
            yield metric, figure


def _gains(metric: str, figure: text.Figure) -> bool:
    return bool((figure["value"] < 0) == (metric in text.LESS))


def _named(names: Sequence[str]) -> str:
    """Return the first names: "a, b, c and 2 more"."""
    shown, more = names[:NAMED], len(names) - NAMED
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
