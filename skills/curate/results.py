"""The result of a run: its report, its row in the corpus, and the files that can be saved."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.skill import Call, Result, Write
from harness.errors import HarnessError, InputError, Interrupted
from harness.models.served import Usage
from skills.corpus import exporters
from skills.corpus.db import papers as paper_rows
from skills.corpus.db import runs
from skills.corpus.db.connection import open_corpus
from skills.corpus.records import Annotated
from skills.curate import building
from skills.curate.inputs import items
from skills.curate.report import files, notes, summary
from skills.curate.report import text as report
from skills.curate.report.page import write_html
from skills.curate.report.summary import Run
from skills.curate.report.verdict import verdict
from skills.curate.store.ballots import save_verdicts

if TYPE_CHECKING:
    from skills.curate.curation import Curation


def finish(
    curation: Curation, run_id: int, run: Run, stopped: HarnessError | None, seconds: float
) -> Result:
    """Summarise a run, record it in the corpus, and return its report and files.

    Args:
        run_id: its row in the corpus.
        stopped: why it ended early, or None; gets a hint on how to continue.
    """
    call, db, path = curation.call, curation.db, curation.path
    save_verdicts(db, run_id, [*run.verdicts, *run.probes])
    summed = _summary(db, run, seconds) | {"database": str(path), "run": run_id}
    if stopped is not None:
        stopped.hint = _continuation(stopped, run)
    failed = summed["failed"] + (summed["probes"]["failed"] if summed["probes"] else 0)
    runs.finish(db, run_id, runs.status_of(stopped, failed), summed)
    dataset, stopped = _dataset(call, run, stopped)
    text = report.text(summed, details=call.options.details, is_saved=bool(call.targets))
    if call.targets:
        call.screen.notice(text)
        _warn_without_abstracts(call, db, run)
    return Result(
        text,
        writers=exporters.writers(
            run.framework,
            run.source.id_column,
            lambda: _kept(run, path),
            lambda: iter(()),
            title=f"Curated: {run.source.name}",
            about={"input": run.source.name, "kept": summed["kept"], "run": run_id},
        ),
        records=lambda: (item.record for item in _kept(run, path)),
        companions={
            "rejected": lambda file: files.write_rejected(file, run),
            "log": lambda file: files.write_log(file, run, summed),
            "report": lambda file: write_html(file, run, summed),
            **dataset,
        },
        summary=summed,
        exit_code=1 if failed or run.source.refused else 0,
        stopped=stopped,
        next=_next(call, summed["kept"]) if stopped is None else "",
    )


def _next(call: Call, kept: int) -> str:
    """Return the line that builds a training set of the kept annotations."""
    tables = [target for target in call.targets if target.suffix.lower() == ".csv"]
    if not tables or not kept:
        return ""
    agent = call.text.strip()
    return f"/finetune dataset --agent {agent} --curated {tables[0]} save to train.jsonl"


def _summary(db: sqlite3.Connection, run: Run, seconds: float) -> dict[str, Any]:
    summed = summary.of_run(run)
    judged = items.records(db, [verdict.item for verdict in run.judged], run.framework)
    usage = run.judge.model.usage if run.judge else Usage()
    return {
        **summed,
        "verdict": list(verdict(summed)),
        "notes": notes.of_run(run, summed, notes.made_by_the_judge(run, judged)),
        "tokens": {"prompt": usage.prompt_tokens, "completion": usage.completion_tokens},
        "seconds": round(seconds, 1),
    }


def _warn_without_abstracts(call: Call, db: sqlite3.Connection, run: Run) -> None:
    """Warn about a .jsonl target whose abstracts are not in the corpus: it cannot be read again."""
    saved = [str(target) for target in call.targets if target.suffix.lower() == ".jsonl"]
    papers = [verdict.item.paper for verdict in run.verdicts if verdict.decision == "kept"]
    lost = sum(paper_rows.row_id(db, paper) is None for paper in papers)
    if saved and lost:
        call.screen.notice(
            f"{', '.join(saved)} has no abstracts, and {lost:,} of {len(papers):,} papers are not "
            f"in the corpus: `/corpus add {run.source.name}` before it is read again, or save a "
            ".csv or .parquet file"
        )


def _kept(run: Run, path: Path) -> Iterator[Annotated]:
    kept = [verdict.item for verdict in run.verdicts if verdict.decision == "kept"]
    with open_corpus(path) as db:
        yield from items.records(db, kept, run.framework)


def _dataset(
    call: Call, run: Run, stopped: HarnessError | None
) -> tuple[Mapping[str, Write], HarnessError | None]:
    """Return the writers of the training set of --build, or why there is none.

    Everything else is saved in either case. A run that was stopped has no training set.
    """
    if call.options.build is None or stopped is not None:
        return {}, stopped
    try:
        return building.files(call, run, run.framework), None
    except InputError as error:
        return {}, error


def _continuation(stopped: HarnessError, run: Run) -> str:
    """Return how to continue a run that was stopped."""
    everyone = [*run.verdicts, *run.probes]
    done = sum(
        bool(one.ballot or one.error or (one.item.findings and not one.item.probe))
        for one in everyone
    )
    kept = (
        f"{done:,} of {len(everyone):,} annotations and probes are judged, and their votes are "
        "stored; the same command continues from there."
    )
    before = "" if isinstance(stopped, Interrupted) or not stopped.hint else f"{stopped.hint} "
    return before + kept
