"""Write the files beside a curated table: rejected annotations with reasons, and all votes."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from harness.api.skill import Call
from harness.errors import UsageError
from harness.runs.targets import refuse_sources
from skills.corpus.table import refuse_targets
from skills.corpus.tables.text_tables import csv_row
from skills.curate.run_summary import Run
from skills.curate.verdicts import Verdict

SUFFIX = "_curated"
"""Suffix of a target's name. The names of the files beside the target do not repeat it."""


def write_rejected(file: IO[bytes], run: Run, *, raw: bool = False) -> None:
    """Write a table of the annotations that are not kept, which commands can read again.

    The columns are id, title and abstract, the moves as they were written, decision, reasons
    (codes), details (in words), votes, mean, the score of each persona, and explanation. Undecided
    and failed annotations are included.
    """
    moves, personas = run.framework.names, run.panel.names
    head = (run.source.id_column, "title", "abstract", *moves, "decision", "reasons", "details")
    file.write(csv_row((*head, "votes", "mean", *personas, "explanation"), raw=raw))
    for verdict in run.verdicts:
        if verdict.decision in ("kept", "pending"):
            continue
        paper, ballot = verdict.item.paper, verdict.ballot
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
                    "; ".join(verdict.details),
                    f"{verdict.votes} of {len(verdict.passes)}" if ballot else "",
                    _figure(verdict.mean),
                    *map(_figure, verdict.scores or [None] * len(personas)),
                    "; ".join(f"{persona}: {text}" for persona, text in explanations if text),
                ),
                raw=raw,
            )
        )


def write_log(file: IO[bytes], run: Run, summary: Mapping[str, Any]) -> None:
    """Write a line of JSON for the run, and for each annotation and probe with its votes."""
    lines = [{"kind": "run", "summary": summary}]
    for line in (*lines, *map(_log_line, (*run.verdicts, *run.probes))):
        file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")


def _log_line(verdict: Verdict) -> dict[str, Any]:
    item = verdict.item
    return {
        "kind": "probe" if item.probe else "annotation",
        item.paper.id_field: item.paper.id,
        "where": item.where,
        **({"probe": item.probe, "changed": item.changed} if item.probe else {}),
        "decision": verdict.decision,
        "reasons": list(verdict.reasons),
        "findings": [asdict(one) for one in item.findings],
        "for": verdict.votes if verdict.ballot else None,
        "mean": verdict.mean,
        "votes": list(_votes(verdict)),
        "error": verdict.error or None,
    }


def _votes(verdict: Verdict) -> Iterator[dict[str, Any]]:
    for vote, passed, threshold in verdict.cast:
        assert verdict.ballot is not None
        yield {
            **asdict(vote),
            "threshold": threshold,
            "passed": passed,
            "entropy": _entropy(vote.answers.values()),
            "explanation": verdict.ballot.explanations.get(vote.persona),
        }


def _entropy(probabilities: Iterable[float]) -> float | None:
    """Return the entropy of the normalised probabilities in bits; None if all are 0."""
    found = [p for p in probabilities if p > 0]
    total = math.fsum(found)
    if not found:
        return None
    return round(math.fsum(-p / total * math.log2(p / total) for p in found), 4) + 0.0


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def beside(target: Path) -> dict[str, Path]:
    """Return the files beside a target by role: a_rejected.csv for a_curated.csv."""
    stem = target.stem.removesuffix(SUFFIX) or target.stem
    names = {
        "rejected": f"{stem}_rejected.csv",
        "log": f"{stem}_curation_log.jsonl",
        "report": f"{stem}_curation_report.html",
    }
    return {role: target.with_name(name) for role, name in names.items()}


def dataset(build: Path | None) -> dict[str, Path]:
    """Return the files of `--build` by role: the training set and its manifest."""
    if build is None:
        return {}
    from skills.finetune.dataset_command import manifest_path

    return {"dataset": build, "manifest": manifest_path(build)}


def check(call: Call, table: Path | None, corpus: Path) -> None:
    """Check that no output is an input, and that no two outputs are the same file.

    Args:
        table: the table of the input, or None.
        corpus: the file of the corpus.

    Raises:
        UsageError: a file would be written twice, or an input would be overwritten.
    """
    from skills.finetune.dataset_command import refuse_inputs

    built = dataset(call.options.build).values()
    besides = {path for target in call.targets for path in beside(target).values()}
    outputs = [*call.targets, *sorted(besides), *built]
    counts = Counter(path.resolve() for path in outputs)
    for path in outputs:
        if counts[path.resolve()] > 1:
            raise UsageError(
                "is written more than once by this command",
                where=str(path),
                hint="Save to another file, or give --build another name.",
            )
    refuse_sources(outputs, input=table, corpus=corpus)
    if table is not None:
        refuse_targets(outputs, table)
    if built:
        refuse_inputs(outputs, call.options)
