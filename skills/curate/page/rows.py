"""The annotations that the report shows in full: what a person should look at, and what is not
kept. They go into the page as JSON, and its program shows a few at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skills.corpus.page_data import plain
from skills.curate.inputs.gates import REASONS
from skills.curate.page.markup import Element, h, paragraph, section
from skills.curate.panel.panel import Panel
from skills.curate.report import files
from skills.curate.store.verdicts import INVALID, Verdict
from skills.nanda.arxiv_id import ID
from skills.nanda.checks import source_sentence
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper
from skills.nanda.sentences import split_sentences

FAILED = "failed"
"""The reason of an annotation that could not be judged."""
_ARXIV_ID = re.compile(ID, re.IGNORECASE)


def rows_section(summary: Mapping[str, Any]) -> Element:
    """The places where the page's program puts its lists, and what stands there without it."""
    of = shown = 0
    if summary["panel"]:
        borderline = summary["panel"]["borderline"]
        of, shown = borderline["of"], len(borderline["closest"])
    told = f"The {shown:,} closest of {of:,}" if shown < of else f"All {of:,}"
    return section(
        "rows",
        "The annotations",
        h("h3", {}, "For a human to look at"),
        paragraph(
            f"{told}, the closest first: annotations that one vote would turn, that scores near "
            "their thresholds could turn together, or that invalid votes leave open."
            if of
            else "No annotation is close to the bar."
        ),
        h("div", {"id": "borderline", "class": "list"}),
        h("h3", {}, "Not kept"),
        paragraph("With what the gates found, and which personas did not pass it."),
        h("div", {"id": "refused", "class": "list"}),
        h(
            "p",
            {"id": "unlisted"},
            "These lists are made by a program in this page, which asks nothing of any network. "
            "Where it may not run, what is not kept is in the file beside this one whose name ends "
            "in _rejected.csv.",
        ),
    )


def about(framework: Framework, panel: Panel, thresholds: Sequence[float]) -> dict[str, Any]:
    """What the lists have in common: moves, personas, and the meaning of each reason."""
    return {
        "moves": [
            {"name": move.name, "label": move.label, "definition": move.definition}
            for move in framework.moves
        ],
        "not_stated": framework.not_stated,
        "personas": [
            {"name": one.name, "criterion": one.criterion, "threshold": threshold}
            for one, threshold in zip(panel.personas, thresholds, strict=True)
        ],
        "reasons": {
            **REASONS,
            **{one.name: f"It does not pass: {one.criterion}" for one in panel.personas},
            INVALID: "Its invalid votes could turn it.",
            FAILED: "The panel could not be asked, or its answer could not be used.",
        },
    }


def rows(
    verdicts: Sequence[Verdict], borderline: Sequence[Mapping[str, Any]], framework: Framework
) -> Iterator[dict[str, Any]]:
    """The annotations to be shown, in the order of the input.

    Args:
        verdicts: of the input alone.
        borderline: as the summary lists them: {"id", "where", "distance"}.

    Returns: of each what its paper has (id, whether it is an arXiv id, title, the abstract's
        sentences), where it stands, decision, reasons, and
        close: its place among the borderline ones and its distance, or None.
        moves: the texts in the framework's order, "" where one is missing.
        source: of each move [index of the sentence, score], or None.
        findings: [move or "", in words] of the gates.
        votes: [score, passed, mass, explanation or ""] of each persona; none without a ballot.
        error: why it could not be judged, or "".
    """
    close = {
        (one["where"], one["id"]): [place, one["distance"]] for place, one in enumerate(borderline)
    }
    for verdict in verdicts:
        at = close.get((verdict.item.where, verdict.item.paper.id))
        refused = verdict.decision not in ("kept", "pending")
        if refused or at:
            yield _row(verdict, at, framework)


def _row(verdict: Verdict, close: list[Any] | None, framework: Framework) -> dict[str, Any]:
    item, paper = verdict.item, verdict.item.paper
    return {
        "id": plain(paper.id),
        "arxiv": _is_arxivs(paper),
        "title": plain(paper.title),
        "where": plain(item.where),
        "decision": verdict.decision,
        "reasons": list(verdict.reasons) or ([FAILED] if verdict.decision == "failed" else []),
        "close": close,
        "mean": verdict.mean,
        "sentences": [plain(sentence) for sentence in split_sentences(paper.abstract)],
        "moves": [plain(item.moves.get(name, "")) for name in framework.names],
        "source": [
            _source(paper, item.moves.get(name, ""), framework.not_stated)
            for name in framework.names
        ],
        "findings": [[one.move, plain(one.detail)] for one in item.findings],
        "votes": list(_votes(verdict)),
        "error": plain(files.details(verdict)) if verdict.refused else "",
    }


def _votes(verdict: Verdict) -> Iterator[list[Any]]:
    if verdict.ballot is None:
        return
    for vote, passed in zip(verdict.ballot.votes, verdict.passes, strict=True):
        mass = None if vote.mass is None else round(vote.mass, 4)
        score = None if vote.score is None else round(vote.score, 4)
        yield [score, passed, mass, plain(verdict.ballot.explanations.get(vote.persona, ""))]


def _source(paper: Paper, text: str, not_stated: str) -> list[float] | None:
    """The sentence that a move most likely comes from."""
    if text in ("", not_stated):
        return None
    found = source_sentence(paper.abstract, text)
    return [found["index"], found["score"]] if found["score"] else None


def _is_arxivs(paper: Paper) -> bool:
    return paper.id_field == "arxiv_id" and bool(_ARXIV_ID.fullmatch(paper.id))
