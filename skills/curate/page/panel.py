"""The report's section on the panel: each persona, how far they agree, and what they look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skills.curate.page import drawings
from skills.curate.page.markup import Child, Element, Row, facts, h, paragraph, section, table
from skills.curate.panel.panel import Panel
from skills.curate.report import text as report
from skills.curate.statistics.agreement import RELIABLE, TENTATIVE
from skills.curate.store.verdicts import Verdict

Found = Mapping[str, Any]

COLUMNS = (
    ("Passed", "votes that pass, of the valid ones, with the 95% interval (Wilson's)"),
    ("From", "the score from which a vote passes"),
    ("Mean", "of the valid scores"),
    (
        "Mass",
        "the probability that lay on the answers, on average; below 0.5 a vote is invalid",
    ),
    ("Invalid", "votes that are neither pass nor fail"),
    ("Decides", "annotations whose outcome this one vote, turned round, would turn"),
    (
        "AUROC",
        "the chance that an annotation of yours scores above a known-bad one of a kind that the "
        "gates can see, with the 95% interval (Newcombe's): 1 is always, 0.5 no better than a coin",
    ),
    ("Seconds", "of one vote, on average"),
)


def panel_section(
    summary: Found, own: Sequence[Verdict], probes: Sequence[Verdict], panel: Panel
) -> Element:
    """The panel's section.

    Args:
        own: the input's annotations that the panel voted on.
        probes: the known-bad ones that it voted on.
    """
    found = summary["panel"]
    if not found:
        return section("panel", "The panel", paragraph("It has judged nothing in this run."))
    scale = panel.scale
    return section(
        "panel",
        "The panel",
        paragraph(
            f"{len(found['personas'])} personas of one model have voted on {len(own):,} "
            f"annotations that passed the gates, and on {len(probes):,} known-bad ones."
        ),
        _histograms(found, own, probes, scale),
        _personas(found),
        facts(COLUMNS),
        h("h3", {}, "How far they agree"),
        _splits(found["splits"], summary["judge"]["min_votes"]),
        facts(_agreement(found)),
        h("h3", {}, "What the score follows"),
        _length(found["length"], own, scale),
        facts(_mean(found["vote_against_mean"])),
    )


def _histograms(
    found: Found,
    own: Sequence[Verdict],
    probes: Sequence[Verdict],
    scale: tuple[float, float],
) -> Element:
    key = h(
        "p",
        {"class": "key"},
        h("span", {"class": "swatch column", "aria-hidden": "true"}),
        "your annotations ",
        h("span", {"class": "swatch line", "aria-hidden": "true"}),
        "known-bad ones, each as a share of its own ",
        h("span", {"class": "swatch fails", "aria-hidden": "true"}),
        "scores that do not pass",
    )
    made, counts = h("div", {"class": "personas"}), []
    for place, one in enumerate(found["personas"]):
        sides = [_scores(side, place) for side in (own, probes)]
        binned = [drawings.binned(side, *scale) for side in sides]
        counts.append(binned)
        said = (
            f"Scores of the {one['name']}: {len(sides[0]):,} of your annotations and "
            f"{len(sides[1]):,} known-bad ones; a vote passes from {one['threshold']:.3f}"
        )
        drawn = drawings.histogram(binned[0], binned[1], scale, one["threshold"], said)
        made.append(
            h(
                "figure",
                {},
                h(
                    "figcaption",
                    {},
                    h("h3", {}, one["title"]),
                    h("p", {}, one["criterion"]),
                ),
                drawn,
            )
        )
    return h("div", {}, key, made, _bins([one["name"] for one in found["personas"]], counts, scale))


def _bins(
    names: Sequence[str], counts: Sequence[Sequence[Sequence[int]]], scale: tuple[float, float]
) -> Element:
    """The histograms in figures, folded up."""
    low, high = scale
    step = (high - low) / drawings.BINS
    rows: list[Row] = [
        (
            f"{low + place * step:.1f} to {low + (place + 1) * step:.1f}",
            *(f"{own[place]:,} / {probes[place]:,}" for own, probes in counts),
        )
        for place in range(drawings.BINS)
    ]
    shown = table("Scores: your annotations / known-bad ones", ("Score", *names), rows)
    return h("details", {}, h("summary", {}, "The histograms as a table"), shown)


def _personas(found: Found) -> Element:
    rows: list[Row] = []
    for one in found["personas"]:
        passed, auroc = one["passed"], one["auroc"]
        rows.append(
            (
                one["name"],
                _share(passed),
                drawings.interval(passed, passed["share"], None),
                f"{one['threshold']:.3f}",
                "" if one["mean"] is None else f"{one['mean']:.3f}",
                "" if one["mass"] is None else f"{one['mass']:.2f}",
                one["invalid"],
                one["weight"]["deciding"],
                report.interval(auroc),
                drawings.interval(auroc, auroc["value"], 0.5),
                f"{one['seconds']:.3f}",
            )
        )
    head: list[Child] = ["Persona", *(name for name, _ in COLUMNS)]
    head.insert(2, drawings.interval_scale(chance=False))
    head.insert(9, drawings.interval_scale(chance=True))
    return table("The personas", head, rows)


def _share(found: Found) -> str:
    if not found["of"]:
        return report.share(found)
    ends = f"({found['low']:.0%} to {found['high']:.0%})"
    return f"{found['count']:,} of {found['of']:,}, {found['share']:.0%} {ends}"


def _splits(splits: Mapping[str, int], min_votes: int) -> Element:
    total, most = sum(splits.values()), max(splits.values(), default=0)
    rows: list[Row] = []
    for split, count in splits.items():
        whole = split.partition("-")[0]
        kind = "voted" if whole.isdigit() else "undecided"
        if whole.isdigit() and int(whole) >= min_votes:
            kind = "kept"
        outcome = {"kept": "kept", "voted": "rejected", "undecided": "as the valid votes say"}
        rows.append(
            (
                split,
                count,
                f"{count / total:.0%}" if total else "n/a",
                drawings.length(count, most, kind),
                outcome[kind],
            )
        )
    head = ("For and against", "Annotations", "Share", "In proportion", "Outcome")
    return table("How the votes split", head, rows, words=(3, 4))


def _agreement(found: Found) -> Iterator[tuple[str, str]]:
    alpha, personas = found["alpha"], len(found["personas"])
    for name, what in (("votes", "on passing"), ("scores", "on the score")):
        yield f"Krippendorff's alpha {what}", _alpha(alpha[name])
    yield (
        "How to read it",
        f"1 is full agreement, 0 is chance. Krippendorff takes {RELIABLE} and more for reliable, "
        f"{TENTATIVE} and more for good enough for tentative conclusions, less for unreliable.",
    )
    effective = found["effective_votes"]
    if effective is None:
        yield "Effective votes", "n/a: too few scores that differ"
        return
    yield (
        "Effective votes",
        f"{effective:.1f} of {personas}: so many independent votes is the panel worth, by how far "
        "its scores go together (Kish's design effect). Near 1 all personas are one vote; near "
        f"{personas} they look at different things or vote at random, and the AUROC tells which.",
    )


def _alpha(found: Found) -> str:
    if found["value"] is None:
        return str(found["why"])
    return f"{report.interval(found)}, {found['reading']}, of {found['units']:,} annotations"


def _length(found: Found, own: Sequence[Verdict], scale: tuple[float, float]) -> Element:
    points = [(float(_words(one)), one.mean) for one in own if one.mean is not None]
    if found["value"] is None:
        told = "Score and length: no correlation, since the scores or the lengths hardly differ."
    else:
        told = (
            f"Score and length of the annotation: Spearman's rho {found['value']:.2f} "
            f"(p = {found['p']:.3f}) over {found['n']:,} annotations. Far from 0, the score "
            "goes by length."
        )
    made = h("figure", {}, h("figcaption", {}, h("p", {}, told)))
    if points:
        said = f"Mean score against words of {len(points):,} annotations. {told}"
        names = "words of the annotation", "mean score"
        made.append(drawings.scatter(points, scale, names, said))
    return made


def _mean(found: Found) -> Iterator[tuple[str, str]]:
    of = f"of {found['of']:,}"
    yield "Votes and mean score decide otherwise", f"{found['count']:,} {of}"
    yield "Kept by the votes alone", f"{found['vote_only']:,} {of}"
    yield "Kept by the mean alone", f"{found['mean_only']:,} {of}"


def _scores(verdicts: Sequence[Verdict], place: int) -> list[float]:
    return [score for one in verdicts if (score := one.scores[place]) is not None]


def _words(verdict: Verdict) -> int:
    return sum(len(text.split()) for text in verdict.item.moves.values())
