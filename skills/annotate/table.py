"""/annotate TABLE: read the table, annotate its papers in a job, and return the result."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.skill import Call, Result
from harness.errors import HarnessError, Interrupted, ModelError, ModelUnavailable
from harness.models.served import ServedModel
from harness.runs.jobs import Tally
from harness.runs.progress import duration
from harness.runs.targets import refuse_sources
from harness.support.process import job_lock
from skills.annotate import plan
from skills.annotate.job import AnnotateJob
from skills.annotate.plan import Source
from skills.corpus import exporters
from skills.corpus.db import runs, store
from skills.corpus.db.connection import database, locks, open_corpus, refuse_damaged
from skills.corpus.options import SAVED_TABLES
from skills.corpus.records import Annotated, Failure
from skills.corpus.table import refuse_targets, report_encoding
from skills.corpus.tables.refusals import SHOWN
from skills.nanda.framework import Framework, task_of
from skills.nanda.text import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN_PAPERS = 10
"""Maximum number of annotations that a terminal shows; the others are only counted."""


def annotate_table(
    call: Call,
    path: Path,
    framework: Framework,
    annotate: Callable[[Call, Source, Framework], Finished],
) -> Result:
    """Annotate the papers of a table, and return the result.

    Args:
        annotate: runs the job: `annotate_source`, `annotate_cascaded` or `annotate_and_save`.
    """
    options = call.options
    refuse_sources(call.targets, input=path, sample=options.sample)
    refuse_targets(call.targets, path)
    columns = replace(options.table_columns(), sections=options.sections)
    with call.screen.progress(f"reading {path.name}", reported=False) as tick:
        source = plan.from_table(
            path, columns, options.limit, tick, call.screen.notice, strict=options.strict
        )
    report_encoding(path, call.screen)
    source.refused.report(call.screen)
    for problem, places in source.doubts.items():
        listed = ", ".join(places[:SHOWN]) + ", ..." * (len(places) > SHOWN)
        call.screen.notice(f"{path.name}: text that {problem}: {listed} (--strict refuses it)")
    return annotate(call, source, framework).result()


def annotate_source(
    call: Call,
    source: Source,
    framework: Framework,
    check: Callable[[ServedModel], None] = lambda _: None,
) -> Finished:
    """Annotate the papers of `source`, and return the finished job.

    Only one process may annotate these papers at a time.

    Args:
        check: called with the loaded model before it is used.

    Raises:
        UsageError: another process annotates these papers.
        ModelError: a fallback would annotate papers that the requested model has annotated.
    """
    path = database(call)
    refuse_sources(call.targets, corpus=path)
    name = str(source.path.resolve() if source.path else source.name)

    with open_corpus(path) as db, job_lock(locks(path), name):
        refuse_damaged(db, path)

        def work(model: ServedModel) -> Finished:
            check(model)
            return run_job(AnnotateJob(call, source, framework, model, db), path)

        task = task_of(framework, call.models.registry)
        return call.models.run(task, work, slots=call.options.workers)


def run_job(job: AnnotateJob, path: Path) -> Finished:
    """Run a job, record its end in the corpus, and return the finished job.

    Args:
        path: the corpus.

    Raises:
        ModelUnavailable: the model became unavailable, and neither this run nor an earlier run has
            annotated a paper. `Models.run` then tries a fallback.
        ModelError: a fallback would annotate papers that the requested model annotated.
    """
    with job.call.cancel.on_signals(), runs.recorded(job.db, lambda: job.run_id):
        _refuse_to_start_over(job)
        started = time.monotonic()
        tally = job.run()
        if isinstance(tally.stopped, ModelUnavailable) and not job.plan.count("done"):
            raise tally.stopped
        return finish(job, tally, path, time.monotonic() - started)


def _refuse_to_start_over(job: AnnotateJob) -> None:
    """Raise an error if a fallback would annotate papers that the requested model annotated.

    Raises:
        ModelError: the current annotations of some papers are by the requested model.
    """
    resolution = job.model.resolution
    if not resolution.fell_back:
        return
    from skills.corpus.db import reads

    done = sum(
        item is not None and item.record["provenance"]["resolved"] == resolution.requested
        for item in (reads.current(job.db, p, job.framework) for p in job.source.papers)
    )
    if done:
        raise ModelError(
            f"{resolution.requested} has annotated {done:,} of these papers and cannot be served "
            f"now ({resolution.reason})",
            hint=f"Make {resolution.requested} available and repeat the same line; `--model "
            f"{resolution.resolved}` annotates all papers with {resolution.resolved}.",
        )


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that has ended.

    Attributes:
        path: the corpus, from which annotations and failures are read when they are needed.
        summary: the figures that `--json` prints (see `summary_of`).
        stopped: the error that ended the job early, or None.
        failed: number of failed papers; in a cascade, the sum over all models.
        next: a line to suggest to the user; "" for the line of `_next`.
    """

    job: AnnotateJob
    path: Path
    summary: Mapping[str, Any]
    stopped: HarnessError | None
    failed: int = 0
    next: str = ""

    def items(self) -> Iterator[Annotated]:
        """Yield the annotations in the order of the input."""
        return (item for _, item in self.by_row())

    def by_row(self) -> Iterator[tuple[int, Annotated]]:
        """Yield the row index of each annotation, and the annotation, in the order of the rows."""
        with open_corpus(self.path) as db:
            yield from self.job.annotations(db)

    def failures(self) -> Iterator[Failure]:
        """Yield the failures in the order of the input."""
        if self.job.plan.count("failed"):
            with open_corpus(self.path) as db:
                yield from self.job.failures(db)

    def result(self) -> Result:
        """Return the result of `/annotate TABLE`.

        If the line has no target, and stdout is not a terminal, each annotation is also printed as
        JSON on one line.
        """
        call, source, summary = self.job.call, self.job.source, self.summary
        if not call.targets and not call.screen.is_terminal:
            for item in self.items():
                call.screen.emit(json.dumps(item.record, ensure_ascii=False) + "\n")
        sections, about = bool(call.options.sections), (self.job.framework, source.id_column)
        return Result(
            writers=exporters.Export(
                *about,
                self.items,
                self.failures,
                title=source.title,
                about=summary,
                library=source.path,
                sections=sections,
                raw=call.options.raw,
            ).writers(),
            folders=exporters.folders(
                call, *about, self.items, sections=sections, of_pdfs=call.input.is_of_pdfs
            ),
            records=lambda: (item.record for item in self.items()),
            summary=summary,
            exit_code=int(bool(self.failed or summary["failed_now"] or source.refused)),
            stopped=self.stopped,
            terminal=None if call.targets else self._for_terminal,
            next=self.next or (_next(call.targets) if summary["done"] else ""),
        )

    def _for_terminal(self) -> RenderableType:
        """Return the first annotations for a terminal, each below its title."""
        from rich.text import Text

        from skills.annotate import render
        from skills.reporting.annotation_view import stacked

        items = itertools.islice(self.items(), SHOWN_PAPERS)
        # `made=False`: a notice has already named the model.
        shown = [render.for_terminal(item.record, self.job.framework, made=False) for item in items]
        more = self.summary["done"] - len(shown)
        note = f"{counted(more, 'more paper')}: `save to FILE` saves all of them"
        return stacked([*shown, *[Text(note, "dim")] * bool(more)], empty=2)


def finish(job: AnnotateJob, tally: Tally, path: Path, seconds: float) -> Finished:
    """Record the end of a job in the corpus, print its summary, and return the finished job.

    If the model ran in this process, the summary has the memory of this process in bytes.

    Args:
        path: the corpus.
        seconds: the duration of the job.
    """
    source, resolution, usage = job.source, job.model.resolution, job.usage
    failed = job.plan.entries("failed")
    summary = {
        **summary_of(
            source,
            job.model,
            job.rows,
            done=job.plan.count("done"),
            made=job.plan.count("done", made=True),
            failed_now=job.plan.count("failed", made=True) + len(tally.unstored),
            errors=Counter(store.error_type(job.db, entry.key) for entry in failed),
            tokens={"prompt": usage.prompt_tokens, "completion": usage.completion_tokens},
            seconds=seconds,
        ),
        "requested": resolution.requested,
        "reason": resolution.reason or None,
        "slots": job.model.slots,
        "memory": _memory(job.model) if usage.generations else None,
        "database": str(path),
        "run": job.run_id or None,
    }
    if tally.stopped is not None:
        done, total = summary["done"], job.rows
        kept = f"{done:,} of {total:,} are done and kept; the same line continues the job."
        add_hint(tally.stopped, kept)
    if job.run_id:
        runs.finish(job.db, job.run_id, runs.status_of(tally.stopped, summary["failed"]), summary)
    job.notice(in_words(summary))
    if tally.unstored:
        first = tally.unstored[0]
        job.call.screen.notice(
            f"{counted(len(tally.unstored), 'row')} failed, and the error could not be stored; "
            f"the first: {type(first).__name__}: {first}"
        )
    return Finished(job, path, summary, tally.stopped, summary["failed"])


def in_words(summary: Mapping[str, Any]) -> str:
    """Return the summary of a job as one line."""
    rows, made = summary["rows"], summary["made"]
    parts = [f"{summary['done']:,} done" + (f" ({made:,} now)" if made != summary["done"] else "")]
    if summary["failed"]:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in summary["errors"].items())
        parts.append(f"{summary['failed']:,} failed ({kinds}; --retry-failed repeats them)")
    parts += [f"{n:,} left out ({reason})" for reason, n in summary["filtered"].items()]
    parts += [f"{summary['pending']:,} not done yet"] * bool(summary["pending"])
    line = f"{counted(rows, 'paper')}: {', '.join(parts)}"
    if made:
        line += f"; {made:,} in {duration(summary['seconds'])}"
        if rate := summary["tokens_per_second"]:
            line += f", {rate:.0f} tokens/s"
    return line


def summary_of(
    source: Source,
    model: ServedModel,
    rows: int,
    *,
    done: int,
    made: int,
    failed_now: int,
    errors: Counter[str],
    tokens: Mapping[str, int],
    seconds: float,
) -> dict[str, Any]:
    """Return the summary of a job for `--json`.

    "rows" is the sum of "done", "failed", "pending" and "filtered". "made" and "failed_now" count
    only the rows that this run annotated, or failed to annotate. "tokens" are the tokens of this
    run, including the tokens of unusable replies. "seconds" is the duration of the run; the
    duration of an `AnnotateJob` includes planning.

    Args:
        rows: number of rows of the source that are not filtered.
        done: number of annotated rows.
        errors: number of failures by the class of the error.
    """
    return {
        "input": source.name,
        "rows": rows + source.filtered.total(),
        "done": done,
        "made": made,
        "failed_now": failed_now,
        "failed": errors.total(),
        "errors": dict(errors.most_common()),
        "filtered": dict(source.filtered),
        "refused": source.refused.as_json(),
        "pending": rows - done - errors.total(),
        "model": model.resolution.resolved,
        "answered_by": model.about,
        "tokens": dict(tokens),
        "tokens_per_second": round(tokens["completion"] / seconds, 1) if seconds else 0.0,
        "seconds": round(seconds, 1),
    }


def add_hint(stopped: HarnessError, kept: str) -> None:
    """Add a sentence to the hint of the error that stopped a job.

    The sentence replaces the hint of an `Interrupted` error.

    Args:
        kept: a sentence that states which results are kept and how to continue.
    """
    before = "" if isinstance(stopped, Interrupted) or not stopped.hint else f"{stopped.hint} "
    stopped.hint = before + kept


def _next(targets: Sequence[Path]) -> str:
    """Return the line to suggest after a job."""
    tables = [target for target in targets if target.suffix.lower() in SAVED_TABLES]
    return f"/curate {tables[0]} save to curated.csv" if tables else "/corpus search WORDS"


def _memory(model: ServedModel) -> int | None:
    import psutil

    if not getattr(model.model, "in_process", False):  # the model runs at a server or on nodes
        return None
    return int(psutil.Process().memory_info().rss)
