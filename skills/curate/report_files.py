"""Write the files beside a curated table: rejected annotations, votes, and an HTML page."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from harness.api.skill import Call, Write
from harness.errors import UsageError
from harness.models.served import label
from harness.runs.targets import refuse_sources
from skills.corpus.table import refuse_targets
from skills.corpus.tables.saved_tables import csv_row
from skills.curate import report_text
from skills.curate.curator import INVALID, Verdict
from skills.curate.gates import REASONS
from skills.curate.outputs import Curation
from skills.curate.panel import Panel
from skills.curate.run_summary import Run
from skills.nanda.anchors import read_anchors
from skills.nanda.confidence import read_suggestions
from skills.nanda.framework import Framework, Move
from skills.nanda.marked_sentences import marked
from skills.nanda.remarks import origin_of, suggested
from skills.reporting.page import ANNOTATIONS, write_page
from skills.reporting.statistics import RELIABLE, TENTATIVE

SUFFIX = "_curated"
"""Suffix of a target's stem; the names of the files beside the target omit the suffix."""


FOLDER = Path(__file__).parent
SCRIPTS = (ANNOTATIONS, FOLDER / "report_page.js")
FAILED = "failed"
"""The reason that is shown for an annotation that could not be judged."""
BINS = 20
"""Number of bins of a histogram of scores."""


def beside(target: Path) -> dict[str, Path]:
    """Return the files that are written beside a target, by role.

    Beside x_curated.csv, these are x_rejected.csv, x_curation_log.jsonl and x_curation_report.html.
    """
    stem = target.stem.removesuffix(SUFFIX) or target.stem
    names = {
        "rejected": f"{stem}_rejected.csv",
        "log": f"{stem}_curation_log.jsonl",
        "report": f"{stem}_curation_report.html",
    }
    return {role: target.with_name(name) for role, name in names.items()}


def dataset(build: Path | None) -> dict[str, Path]:
    """Return the training set and the manifest of `--build` by role, or {} without `--build`."""
    if build is None:
        return {}
    from skills.finetune.dataset_command import manifest_path

    return {"dataset": build, "manifest": manifest_path(build)}


def check(call: Call, table: Path | None, corpus: Path) -> None:
    """Check that no output is an input, and that no two outputs are the same file.

    Args:
        table: the table of the input, or None if the input is the corpus.
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


def check_build(call: Call, framework: Framework) -> None:
    """Check the files in the options of --build, before annotations are judged.

    Raises:
        InputError: a table or a list of ids cannot be used.
    """
    from skills.finetune import dataset_command
    from skills.finetune.dataset.annotated_rows import read_annotations, valid_rows
    from skills.finetune.dataset.merging import read_held_out

    options, reading = call.options, dataset_command.reading(call, framework)
    valid_rows("gold", read_annotations(options.gold, reading), framework)
    for given in options.dev:
        read_held_out("dev", given, reading)
    for given in options.test:
        read_held_out("test", given, reading)


def build_files(call: Call, run: Run) -> Mapping[str, Write]:
    """Build the training set of --build, and return the writers of its files by role.

    All annotations of the input are rows of the source `agent`, and the kept annotations are also
    rows of the source `curated`.

    Raises:
        InputError: a table in the options cannot be used, or no row is left.
    """
    from skills.finetune import dataset_command
    from skills.finetune.dataset.annotated_rows import read_annotations
    from skills.finetune.dataset.merging import merge

    options, reading = call.options, dataset_command.reading(call, run.framework)
    judged = [(one.item.entry, one.decision == "kept") for one in run.verdicts]
    with call.screen.progress("building the training set") as tick:
        dataset = merge(
            {
                "gold": read_annotations(options.gold, reading),
                "agent": [entry for entry, _ in judged if entry],
                "curated": [entry for entry, is_kept in judged if entry and is_kept],
            },
            {"gold": options.gold, "agent": [run.source.path] if run.source.path else []},
            options.dev,
            options.test,
            dataset_command.choices(options),
            reading,
            tick,
        )
    made = dataset_command.result(call, dataset, options)
    return {"dataset": made.writers[".jsonl"], "manifest": made.companions["manifest"]}


def write_rejected(file: IO[bytes], run: Run, *, raw: bool = False) -> None:
    """Write a CSV table of the rejected, undecided and failed annotations.

    Commands can read the table again. The columns are id, title, abstract, the moves (as in
    `Item.moves`), decision, reasons (codes), details (in words), votes, mean, the score of each
    persona, and explanation.

    Args:
        raw: True to write all texts unchanged, although a spreadsheet may run some as formulas.
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
    """Write a JSON line for the run, then a line for each annotation and probe with its votes."""
    about_run = {"kind": "run", "summary": summary}
    for line in (about_run, *map(_log_line, (*run.verdicts, *run.probes))):
        file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")


def _log_line(verdict: Verdict) -> dict[str, Any]:
    item, ballot = verdict.item, verdict.ballot
    explanations = ballot.explanations if ballot else {}
    return {
        "kind": "probe" if item.probe else "annotation",
        item.paper.id_field: item.paper.id,
        "where": item.where,
        **({"probe": item.probe, "changed": item.changed} if item.probe else {}),
        "decision": verdict.decision,
        "reasons": list(verdict.reasons),
        "findings": [asdict(one) for one in item.findings],
        "for": verdict.votes if ballot else None,
        "mean": verdict.mean,
        "votes": [
            {
                **asdict(vote),
                "threshold": threshold,
                "passed": passed,
                "entropy": _entropy(vote.answers.values()),
                "explanation": explanations.get(vote.persona),
            }
            for vote, passed, threshold in verdict.cast
        ],
        "error": verdict.error or None,
    }


def _entropy(probabilities: Iterable[float]) -> float | None:
    """Return the entropy, in bits, of the normalised probabilities; None if all are 0."""
    found = [p for p in probabilities if p > 0]
    total = math.fsum(found)
    if not found:
        return None
    # Adding 0.0 turns -0.0, the entropy of a single answer, into 0.0.
    return round(math.fsum(-p / total * math.log2(p / total) for p in found), 4) + 0.0


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def write_html(file: IO[bytes], run: Run, summary: Curation) -> None:
    """Write the report as an HTML page; equal input gives equal bytes.

    Args:
        summary: the complete summary of `run`, with notes, tokens, seconds, database and run id.
    """
    refused = [one for one in run.verdicts if one.decision not in ("kept", "pending")]
    counts = Counter(reason for one in refused for reason in reasons_of(one))
    reasons = {
        **REASONS,
        **{one.name: f"Not passed: {one.criterion}" for one in run.panel.personas},
        INVALID: "Its invalid votes could change the outcome.",
        FAILED: "The judge failed, or its answer could not be used.",
    }
    by_place = {(one.item.where, one.item.paper.id): one for one in run.verdicts}
    closest = summary.panel.borderline.closest if summary.panel else ()
    write_page(
        file,
        FOLDER / "report_page.html",
        *SCRIPTS,
        title=f"Curation of {Path(summary.input).name}",
        run=run,
        summary=summary,
        outcomes=list(_outcomes(summary)),
        gates=dict.fromkeys(REASONS, 0) | summary.gates,
        meanings=REASONS,
        judge=list(_judge(summary, run.panel)),
        levels=(RELIABLE, TENTATIVE),
        histograms=list(_histograms(run, summary)),
        points=[(one.item.words, one.mean) for one in run.judged if one.mean is not None],
        examples={one.item.probe: one.item.changed for one in reversed(run.probes)},
        borderline=[(by_place[one.where, one.id], one.distance) for one in closest],
        refused=refused,
        reasons={code: (counts[code], why) for code, why in reasons.items() if counts[code]},
        reasons_of=reasons_of,
        view=lambda one: _view(one, run.framework),
    )


def reasons_of(verdict: Verdict) -> tuple[str, ...]:
    """Return `Verdict.reasons`, or (`FAILED`,) for an annotation that could not be judged."""
    return verdict.reasons or ((FAILED,) if verdict.decision == FAILED else ())


def _outcomes(summary: Curation) -> Iterator[tuple[str, int, str]]:
    """Yield CSS class, number of annotations and name of each outcome.

    The outcomes "undecided", "failed" and "pending" are left out if they have no annotations.
    """
    yield "kept", summary.kept, "kept"
    yield "gated", summary.gated, "rejected by the gates"
    yield "voted", summary.rejected - summary.gated, "rejected by the panel"
    for kind, count, name in (
        ("undecided", summary.undecided, "undecided: depends on invalid votes"),
        ("failed", summary.failed, "failed: could not be judged"),
        ("pending", summary.pending, "not judged yet"),
    ):
        if count:
            yield kind, count, name


def _judge(summary: Curation, panel: Panel) -> Iterator[tuple[str, str]]:
    judge, tokens = summary.judge, summary.tokens
    if judge.form is None:
        yield "Judge", "not needed: the gates left nothing to judge"
    else:
        yield "Judge", f"{judge.model} ({judge.served})"
        yield "Served by", label(judge.answered_by)
        for role, digest in judge.digests.items():
            yield f"Weights ({role})", f"sha256 `{digest}`"
        yield "Vote", report_text.form_text(judge.form)
    yield "Panel", f"version {panel.version}, {len(panel.personas)} personas"
    yield "Prompts", f"sha256 `{judge.panel}`"
    yield "Votes to keep", f"{judge.min_votes} of {len(judge.thresholds)}"
    yield "Thresholds", ", ".join(f"{n} {t:.3f}" for n, t in judge.thresholds.items())
    source = "the fixed defaults of the panel: uncalibrated"
    if calibrated := judge.calibrated:
        day = calibrated.get("created_at", "")[:10]
        source = f"calibrated {day or 'in this run'}, see the limits of this report"
    yield "Source of the thresholds", source
    yield "Tokens", f"{tokens['prompt']:,} in prompts, {tokens['completion']:,} in answers"
    yield "Time", f"{summary.seconds:,.1f} s"
    yield "Run", f"{summary.run} in {summary.database}"
    yield "Input", summary.input


def _histograms(run: Run, summary: Curation) -> Iterator[dict[str, Any]]:
    """Yield the figures of each persona, with two histograms of its scores, for the template.

    The keys are persona, own and probes (number of scores in each bin, for the input and for the
    probes), and threshold (from 0 for the lowest to 1 for the highest score).
    """
    import numpy as np

    low, high = run.panel.scale
    for place, persona in enumerate(summary.panel.personas if summary.panel else ()):
        counts = [
            np.histogram(
                [vote.score for vote in votes if vote.score is not None], BINS, (low, high)
            )[0].tolist()
            for votes in (
                [one.ballot.votes[place] for one in verdicts if one.ballot]
                for verdicts in (run.verdicts, run.probes)
            )
        ]
        threshold = (persona.threshold - low) / (high - low)
        yield {"persona": persona, "own": counts[0], "probes": counts[1], "threshold": threshold}


def _view(verdict: Verdict, framework: Framework) -> dict[str, Any]:
    """Return the sentences of the abstract and the moves of an annotation for the template."""
    item, abstract = verdict.item, verdict.item.paper.abstract
    stored = item.entry.anchors if item.entry else None
    anchors = read_anchors(abstract, framework.stated(item.moves), stored)
    unstated = (name for name in framework.names if name not in anchors)
    found = item.entry.suggestions if item.entry else None
    record = {"suggestions": read_suggestions(abstract, unstated, found)}

    def entry(move: Move) -> dict[str, Any]:
        anchor = anchors.get(move.name)
        if anchor is None:
            suggestions = suggested(record, move.name)
            return {"move": move, "pieces": None, "beside": "", "suggestions": suggestions}
        origin = origin_of(anchor)
        return {
            "move": move,
            "pieces": [item.moves[move.name] or "(empty)"],
            "sources": anchor["sentences"],
            "flags": [(one.code, one.detail) for one in item.findings if one.move == move.name],
            "checks": f"{origin[0].upper()}{origin[1:]}.",
        }

    return {"sentences": marked(abstract, anchors), "entries": list(map(entry, framework.moves))}
