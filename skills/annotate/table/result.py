"""What comes of a job: the summary, the rows in input order, and the files they are saved in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.skill import Result
from harness.errors import HarnessError, Interrupted
from harness.models.backends.llamacpp import LlamaCppBackend
from harness.models.pool import ServedModel
from harness.runs.jobs import Tally
from harness.runs.progress import duration
from skills.annotate.table.job import AnnotateJob
from skills.corpus import exporters
from skills.corpus.db import runs, store
from skills.corpus.db.connection import open_corpus
from skills.corpus.records import Annotated, Failure

if TYPE_CHECKING:
    from sqlite_utils import Database


@dataclass(slots=True)
class Count:
    """Where the rows of a job stand: done, failed (by error type), or neither yet."""

    done: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    pending: int = 0

    @property
    def failed(self) -> int:
        return self.errors.total()


def count(job: AnnotateJob, db: Database) -> Count:
    """Where every row stands now."""
    found = Count()
    for prepared in job.prepared():
        if store.state(db, prepared.key) == "done":
            found.done += 1
        elif failure := store.failure(db, prepared.key, prepared.paper):
            found.errors[failure.error_type] += 1
        else:
            found.pending += 1
    return found


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that has ended, and what it leaves.

    Attributes:
        path: the corpus database, from which everything is read again as it is needed.
    """

    job: AnnotateJob
    path: Path
    summary: Mapping[str, Any]
    stopped: HarnessError | None

    def items(self) -> Iterator[Annotated]:
        """What is done, in the order of the input."""
        with open_corpus(self.path) as db:
            for prepared in self.job.prepared():
                record = store.record(db, prepared.key, prepared.paper)
                if record is not None:
                    yield Annotated(prepared.paper, record)

    def failures(self) -> Iterator[Failure]:
        """What failed and was not done since, in the order of the input."""
        with open_corpus(self.path) as db:
            for prepared in self.job.prepared():
                failure = store.failure(db, prepared.key, prepared.paper)
                if failure is not None:
                    yield failure

    def result(self) -> Result:
        """What the skill hands back of a table."""
        writers = exporters.writers(
            self.job.framework,
            self.job.source.id_column,
            self.items,
            self.failures,
            title=self.job.source.title,
            about=self.summary,
        )
        return Result(
            writers=writers,
            records=lambda: (item.record for item in self.items()),
            summary=self.summary,
            exit_code=1 if self.summary["failed"] else 0,
            stopped=self.stopped,
        )


def finish(job: AnnotateJob, tally: Tally, path: Path, seconds: float) -> Finished:
    """Sum a job up, say it in one line, and note it in its row of the corpus.

    Args:
        seconds: what the job took.
    """
    counted = count(job, job.db)
    summary = _summary(job, tally, counted, path, seconds)
    if tally.stopped is not None:
        tally.stopped.hint = _go_on(tally.stopped, counted)
    if job.run_id:
        status = runs.status_of(tally.stopped, counted.failed)
        runs.finish(job.db, job.run_id, status, summary)
    job.call.screen.notice(in_words(summary))
    return Finished(job, path, summary, tally.stopped)


def in_words(summary: Mapping[str, Any]) -> str:
    """The summary as one line."""
    rows, made = summary["rows"], summary["made"]
    parts = [f"{summary['done']:,} done" + (f" ({made:,} now)" if made != summary["done"] else "")]
    if summary["failed"]:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in summary["errors"].items())
        parts.append(f"{summary['failed']:,} failed ({kinds}; --retry-failed redoes them)")
    parts += [f"{n:,} left out ({why})" for why, n in summary["filtered"].items()]
    parts += [f"{summary['pending']:,} not done yet"] * bool(summary["pending"])
    line = f"{rows:,} {'row' if rows == 1 else 'rows'}: {', '.join(parts)}"
    if made:
        line += (
            f"; {made:,} in {duration(summary['seconds'])}, "
            f"{summary['tokens_per_second']:.0f} tokens/s"
        )
    return line


def _summary(
    job: AnnotateJob, tally: Tally, counted: Count, path: Path, seconds: float
) -> dict[str, Any]:
    """What `--json` prints of a job.

    rows is all there are: done, failed, filtered (by reason) and pending together. made is what
    was done this time, failed_now what failed. tokens are those of this time, failed attempts
    included; seconds are wall time, from the first request to the last answer. memory is of this
    process with an embedded model in it, in bytes; None where the model is served elsewhere, or
    nothing was asked of it.
    """
    resolution, usage = job.model.resolution, job.model.usage
    return {
        "input": job.source.name,
        "rows": job.source.rows,
        "done": counted.done,
        "made": tally.done,
        "failed_now": tally.failed,
        "failed": counted.failed,
        "errors": dict(counted.errors.most_common()),
        "filtered": dict(job.source.filtered),
        "pending": counted.pending,
        "model": resolution.resolved,
        "requested": resolution.requested,
        "reason": resolution.reason or None,
        "slots": job.model.slots,
        "tokens": {"prompt": usage.prompt_tokens, "completion": usage.completion_tokens},
        "tokens_per_second": round(usage.completion_tokens / seconds, 1) if seconds else 0.0,
        "seconds": round(seconds, 1),
        "memory": _memory(job.model) if usage.generations else None,
        "database": str(path),
        "run": job.run_id or None,
    }


def _memory(model: ServedModel) -> int | None:
    import psutil

    if model.resolution.chosen.serve.backend != LlamaCppBackend.name:
        return None
    return int(psutil.Process().memory_info().rss)


def _go_on(stopped: HarnessError, counted: Count) -> str:
    """How to go on after a job that was stopped."""
    total = counted.done + counted.failed + counted.pending
    kept = f"{counted.done:,} of {total:,} are done and kept; the same line goes on from there."
    before = "" if isinstance(stopped, Interrupted) or not stopped.hint else f"{stopped.hint} "
    return before + kept
