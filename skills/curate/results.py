"""What comes of a run: the report, the row in the corpus, and all that can be saved of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.skill import Call, Result, Write
from harness.errors import HarnessError, InputError, Interrupted
from harness.models.pool import Usage
from skills.corpus import exporters
from skills.corpus.db import papers as paper_rows
from skills.corpus.db import runs
from skills.corpus.db.connection import open_corpus
from skills.corpus.records import Annotated
from skills.curate.inputs import items
from skills.curate.report import notes, summary
from skills.curate.report import text as report
from skills.curate.report.page import write_html
from skills.curate.report.summary import Run
from skills.curate.store import sidecars, verdicts

if TYPE_CHECKING:
    from sqlite_utils import Database


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a run is written down.

    Attributes:
        path: the corpus database, which `db` is open on.
        run_id: its row there.
    """

    call: Call
    db: Database
    path: Path
    run_id: int


def finish(desk: Desk, run: Run, stopped: HarnessError | None, seconds: float) -> Result:
    """Sum a run up, note it in the corpus, and hand out its report and files.

    Args:
        stopped: why it ended early, if it did; it is told how to go on.
        seconds: what it took.
    """
    call, db, path = desk.call, desk.db, desk.path
    verdicts.keep(db, desk.run_id, [*run.verdicts, *run.probes], run.bar)
    summed = summary.of_run(run)
    judged = items.records(db, [verdict.item for verdict in run.judged], run.framework)
    summed["notes"] = notes.of_run(run, summed, notes.made_by_the_judge(run, judged))
    usage = run.judge.model.usage if run.judge else Usage()
    summed |= {
        "tokens": {"prompt": usage.prompt_tokens, "completion": usage.completion_tokens},
        "seconds": round(seconds, 1),
        "database": str(path),
        "run": desk.run_id,
    }
    if stopped is not None:
        stopped.hint = _go_on(stopped, run)
    failed = summed["failed"] + (summed["probes"]["failed"] if summed["probes"] else 0)
    runs.finish(db, desk.run_id, runs.status_of(stopped, failed), summed)
    dataset, stopped = _dataset(call, run, stopped)
    text = report.text(summed)
    if call.targets:
        call.screen.notice(text)
        for line in _unreadable(desk, run):
            call.screen.notice(line)
    return Result(
        text,
        writers=_writers(run, path, summed),
        records=lambda: (item.record for item in _kept(run, path)),
        companions={**_beside(run, summed), **dataset},
        summary=summed,
        exit_code=1 if failed else 0,
        stopped=stopped,
    )


def _unreadable(desk: Desk, run: Run) -> Iterator[str]:
    """Say that a .jsonl, which has no abstracts, could not be read again: a table that was never
    added to the corpus is the only place that has them."""
    saved = [str(target) for target in desk.call.targets if target.suffix.lower() == ".jsonl"]
    papers = [verdict.item.paper for verdict in run.verdicts if verdict.decision == "kept"]
    lost = sum(paper_rows.known(desk.db, paper) is None for paper in papers)
    if saved and lost:
        yield (
            f"{', '.join(saved)} has no abstracts, and {lost:,} of {len(papers):,} papers are not "
            f"in the corpus: `/corpus add {run.source.name}` before it is read again, or save a "
            ".csv or .parquet file"
        )


def _kept(run: Run, path: Path) -> Iterator[Annotated]:
    """The annotations that are kept."""
    kept = [verdict.item for verdict in run.verdicts if verdict.decision == "kept"]
    with open_corpus(path) as db:
        yield from items.records(db, kept, run.framework)


def _writers(run: Run, path: Path, summed: Mapping[str, Any]) -> dict[str, Write]:
    """What writes the annotations that are kept."""
    kept = sum(verdict.decision == "kept" for verdict in run.verdicts)
    return exporters.writers(
        run.framework,
        run.source.id_column,
        lambda: _kept(run, path),
        lambda: iter(()),
        title=f"Curated: {run.source.name}",
        about={"input": run.source.name, "kept": kept, "run": summed["run"]},
    )


def _beside(run: Run, summed: Mapping[str, Any]) -> dict[str, Write]:
    """What writes the files of `sidecars.beside`."""
    framework, panel = run.framework, run.panel
    everyone = [*run.verdicts, *run.probes]
    others = [one for one in run.verdicts if one.decision not in ("kept", "pending")]
    return {
        "rejected": lambda file: sidecars.write_rejected(
            file, others, framework, panel, run.source.id_column
        ),
        "log": lambda file: sidecars.write_log(file, everyone, panel, run.bar, {"summary": summed}),
        "report": lambda file: write_html(file, summed, everyone, framework, panel),
    }


def _dataset(
    call: Call, run: Run, stopped: HarnessError | None
) -> tuple[Mapping[str, Write], HarnessError | None]:
    """What writes the training set of --build, or why there is none: what was judged is saved all
    the same. Of a run that was stopped none is made."""
    if call.options.build is None or stopped is not None:
        return {}, stopped
    from skills.curate import building

    try:
        return building.files(call, run, run.framework), None
    except InputError as error:
        return {}, error


def _go_on(stopped: HarnessError, run: Run) -> str:
    """How to go on after a run that was stopped."""
    everyone = [*run.verdicts, *run.probes]
    left = sum(verdict.is_open for verdict in everyone)
    kept = (
        f"{len(everyone) - left:,} of {len(everyone):,} annotations and probes are judged, and "
        "their votes are kept; the same line goes on from there."
    )
    before = "" if isinstance(stopped, Interrupted) or not stopped.hint else f"{stopped.hint} "
    return before + kept
