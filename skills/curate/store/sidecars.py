"""The files beside a curated table: what was rejected and why, and every vote."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from skills.corpus.tables.writers import csv_row
from skills.curate.panel.panel import Panel
from skills.curate.store.verdicts import Bar, Verdict
from skills.nanda.framework import Framework

SUFFIX = "_curated"
"""What the name of a target may end in, and the names of the files beside it do not."""


def beside(target: Path) -> dict[str, Path]:
    """The files beside a target by name: of agent_curated.csv, agent_rejected.csv and so on."""
    stem = target.stem.removesuffix(SUFFIX) or target.stem
    names = {
        "rejected": f"{stem}_rejected.csv",
        "log": f"{stem}_curation_log.jsonl",
        "report": f"{stem}_curation_report.html",
    }
    return {name: target.with_name(file) for name, file in names.items()}


def write_rejected(
    file: IO[bytes],
    verdicts: Iterable[Verdict],
    framework: Framework,
    panel: Panel,
    id_column: str,
) -> None:
    """Write what is not kept as a table that can be read again: paper, moves as they were written,
    decision, reasons (codes), details (in words), votes, mean, each persona's score, explanation.

    What is left open is in it as "undecided", what could not be judged as "failed".
    """
    moves = framework.names
    head = (id_column, "title", "abstract", *moves, "decision", "reasons", "details", "votes")
    file.write(csv_row((*head, "mean", *panel.names, "explanation")))
    for verdict in verdicts:
        paper, ballot = verdict.item.paper, verdict.ballot
        scores = [_figure(score) for score in verdict.scores] or [""] * len(panel.personas)
        explanations = ballot.explanations.items() if ballot else ()
        file.write(
            csv_row(
                (
                    paper.id,
                    paper.title,
                    paper.abstract,
                    *(verdict.item.moves[name] for name in moves),
                    verdict.decision,
                    " ".join(verdict.reasons),
                    details(verdict),
                    f"{verdict.votes} of {len(verdict.passes)}" if ballot else "",
                    _figure(verdict.mean),
                    *scores,
                    "; ".join(f"{persona}: {text}" for persona, text in explanations if text),
                )
            )
        )


def details(verdict: Verdict) -> str:
    """Why an annotation is not kept, in words."""
    if verdict.item.findings:
        found = verdict.item.findings
        return "; ".join(f"{one.move}: {one.detail}" if one.move else one.detail for one in found)
    return _refusal(verdict) or "; ".join(_shortfalls(verdict))


def _shortfalls(verdict: Verdict) -> Iterator[str]:
    """What each persona that did not pass it would have needed."""
    if verdict.ballot is None or verdict.decision == "kept":
        return
    for vote, passed, threshold in zip(
        verdict.ballot.votes, verdict.passes, verdict.thresholds, strict=True
    ):
        if passed is None:
            yield f"{vote.persona}: no valid vote"
        elif not passed:
            # Rounded so that a score just below its threshold does not look like it.
            yield f"{vote.persona}: {vote.score:.6g}, from {threshold:.6g} on it passes"


def _refusal(verdict: Verdict) -> str | None:
    """Why the panel could not be asked."""
    refused = verdict.refused
    return f"{refused.error_type}: {refused.reason}" if refused else None


def write_log(
    file: IO[bytes],
    verdicts: Iterable[Verdict],
    panel: Panel,
    bar: Bar,
    about: Mapping[str, Any],
) -> None:
    """Write a line of JSON for the run ("kind": "run"), and one for each annotation and each probe
    with all its votes."""
    file.write(_line({"kind": "run", **about}))
    for verdict in verdicts:
        item = verdict.item
        file.write(
            _line(
                {
                    "kind": "probe" if item.probe else "annotation",
                    item.paper.id_field: item.paper.id,
                    "where": item.where,
                    **({"probe": item.probe, "changed": item.changed} if item.probe else {}),
                    "decision": verdict.decision,
                    "reasons": list(verdict.reasons),
                    "findings": [
                        {"code": one.code, "move": one.move, "detail": one.detail}
                        for one in item.findings
                    ],
                    "for": verdict.votes if verdict.ballot else None,
                    "mean": verdict.mean,
                    "votes": list(_votes(verdict, bar.thresholds)),
                    "error": _refusal(verdict),
                }
            )
        )


def _votes(verdict: Verdict, thresholds: Sequence[float]) -> Iterator[dict[str, Any]]:
    if verdict.ballot is None:
        return
    for vote, threshold, passed in zip(
        verdict.ballot.votes, thresholds, verdict.passes, strict=True
    ):
        yield {
            "persona": vote.persona,
            "score": vote.score,
            "threshold": threshold,
            "passed": passed,
            "mass": vote.mass,
            "answers": dict(vote.answers),
            "entropy": _entropy(vote.answers.values()),
            "prompt_tokens": vote.prompt_tokens,
            "cached_tokens": vote.cached_tokens,
            "seconds": vote.seconds,
            "explanation": verdict.ballot.explanations.get(vote.persona),
        }


def _entropy(probabilities: Iterable[float]) -> float | None:
    """Of the answers, in bits, their probabilities made to sum to 1; None where there are none."""
    found = [p for p in probabilities if p > 0]
    total = math.fsum(found)
    if not found:
        return None
    return round(math.fsum(-p / total * math.log2(p / total) for p in found), 4) + 0.0


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
