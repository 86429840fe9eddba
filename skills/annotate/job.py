"""A job that annotates many papers: plan, generate, and store each result at once.

A job has no state of its own. The corpus database holds what is done and what failed, by content
key; the same command continues where it was killed, and no work is paid for twice. The papers, of
which there may be millions, and the plan are in temporary files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import traceback
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from harness.api.skill import Call
from harness.errors import HarnessError, Interrupted
from harness.models.backend import OnText
from harness.models.served import ServedModel, Usage
from harness.runs.jobs import Job, Tally
from harness.runs.progress import ProgressEstimate, show_progress
from skills.annotate.annotator import Prepared, annotate_paper, prepare, wording_of
from skills.annotate.papers import check_length
from skills.annotate.plan import Entry, Plan, Source
from skills.corpus.db import runs, store
from skills.corpus.records import Annotated, Failure
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper
from skills.nanda.text import counted

UNPREPARED = "unprepared"
"""Begins the key of a failure before there was a request."""
TICK_ROWS = 100
"""Rows between two reports of the progress of planning."""


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A paper of a job.

    Attributes:
        key: the content key of its request.
        prepare: makes the request, which is four times as large as the abstract.
    """

    paper: Paper
    key: str
    prepare: Callable[[], Prepared]


@dataclass(slots=True)
class AnnotateJob:
    """Annotates the papers of `source` with `model` into the corpus `db`.

    Attributes:
        command: the command that the job is recorded under.
        plan: the content key of each row, and how the work under it ended.
        run_id: the row of the corpus's table `runs`; 0 before generation starts.
    """

    command: ClassVar[str] = "annotate"

    call: Call
    source: Source
    framework: Framework
    model: ServedModel
    db: sqlite3.Connection
    plan: Plan = field(default_factory=Plan)
    run_id: int = 0
    _used_before: Usage = field(default_factory=Usage)
    _progress: ProgressEstimate = field(default_factory=lambda: ProgressEstimate(0, 0))
    _update: Callable[[], None] = lambda: None

    def run(self) -> Tally:
        """Annotate the papers that are not done; with `retry_failed`, those that failed before."""
        self._plan()
        due, weight = self._due()
        self._announce(due)
        tally = Tally()
        self._used_before = dataclasses.replace(self.model.usage)
        if due:
            self.run_id = runs.start(
                self.db,
                skill=self.command,
                source=self.source.name,
                model=self.model.resolution.resolved,
                settings={**self._settings(), "due": due},
            )
            job = Job(self._perform, self._keep, self._refuse, self.model.slots, self.call.cancel)
            with self._in_progress(due, weight) as (self._progress, self._update):
                tally = job.run(self._tasks())
        if not isinstance(tally.stopped, Interrupted):
            self._link()
        return tally

    @property
    def has_done(self) -> bool:
        """True if this model has annotated any of the papers, now or before."""
        return self.plan.count("done") > 0

    @property
    def usage(self) -> Usage:
        """What this job has used; that of the model includes earlier jobs of the same line."""
        return self.model.usage.since(self._used_before)

    def requests(self) -> Generator[tuple[Paper, Callable[[], Prepared]], None, None]:
        """Yield each paper with a function that prepares its request."""
        for paper in self.source.papers:
            yield paper, partial(self._prepared, paper, self.framework)

    def planned(self) -> Iterator[tuple[Entry, PlannedRow]]:
        """Yield each row of the plan with its paper."""
        for (paper, make), entry in zip(self.requests(), self.plan.entries(), strict=True):
            yield entry, PlannedRow(paper, entry.key, make)

    def _prepared(self, paper: Paper, framework: Framework) -> Prepared:
        options = self.call.options
        wanted = options.max_tokens, options.wording
        return prepare(paper, framework, self.model, *wanted)

    def notice(self, text: str) -> None:
        """Print what the job has to do, or has done."""
        self.call.screen.notice(text)

    @contextlib.contextmanager
    def _in_progress(
        self, due: int, weight: int
    ) -> Iterator[tuple[ProgressEstimate, Callable[[], None]]]:
        """Show the progress of the block; yields it, and what refreshes it."""
        left_out = sum(self.source.filtered.values())
        pace = ProgressEstimate(due, weight, left_out, unit="papers")
        with show_progress(pace, self.call.screen, "annotating") as update:
            yield pace, update

    def _in_planning(self) -> contextlib.AbstractContextManager[Callable[[str], None]]:
        """Show the progress of the block; yields what reports it."""
        return self.call.screen.progress(f"planning {self.source.title}", reported=False)

    def _plan(self) -> None:
        find_state = partial(store.state, self.db)
        with self._in_planning() as tick:
            for number, (paper, make) in enumerate(self.requests(), start=1):
                if self.call.cancel.is_set():
                    raise Interrupted("interrupted", hint="Nothing was begun.")
                self.plan.add(key_of(paper, make), len(paper.abstract), find_state)
                if number % TICK_ROWS == 0:
                    tick(f"{number:,} of {len(self.source.papers):,} papers")

    def _due(self) -> tuple[int, int]:
        """Return the number of rows to annotate, one for each content key, and their weight."""
        due = [total for state, total in self.plan.totals().items() if self._is_due(state)]
        return sum(total.keys for total in due), sum(total.weight_of_keys for total in due)

    def _tasks(self) -> Generator[PlannedRow, None, None]:
        for entry, row in self.planned():
            self.call.cancel.check()  # of a million rows, few may be due
            if entry.is_first and self._is_due(entry.state):
                yield row

    def _is_due(self, state: store.State | None) -> bool:
        return state == ("failed" if self.call.options.retry_failed else None)

    def _announce(self, due: int) -> None:
        done, failed = self.plan.count("done"), self.plan.count("failed")
        parts = [f"{counted(due, 'paper')} to do, {self.model.slots} at a time"]
        parts += [f"{done:,} done before"] * bool(done)
        if failed and not self.call.options.retry_failed:
            parts.append(f"{failed:,} failed before (--retry-failed repeats them)")
        parts += [f"{n:,} left out ({reason})" for reason, n in self.source.filtered.items()]
        self.notice(f"{self.source.name}: {'; '.join(parts)}")

    def _perform(self, row: PlannedRow) -> dict[str, Any]:
        check_length(row.paper, self.framework.max_words)
        prepared = row.prepare()
        self.model.check_fits(prepared.request)
        return self._generate(prepared, self._progress.token_counter(row.key))

    def _generate(self, prepared: Prepared, on_text: OnText) -> dict[str, Any]:
        make = partial(self._prepared, framework=self.framework)
        return annotate_paper(prepared, self.model, make, on_text)

    def _keep(self, row: PlannedRow, record: dict[str, Any]) -> None:
        self._save(row, record)
        self._count(row, "done", record["provenance"]["tokens"]["completion"])

    def _save(self, row: PlannedRow, record: dict[str, Any]) -> None:
        store.save(self.db, Annotated(row.paper, record), self.framework, self.run_id)

    def _refuse(self, row: PlannedRow, error: Exception) -> None:
        is_known = isinstance(error, HarnessError)
        store.fail(
            self.db,
            failure_of(row.paper, error),
            row.key,
            request=_request(row),
            traceback=None if is_known else "".join(traceback.format_exception(error)),
            run_id=self.run_id,
        )
        self._count(row, "failed", None)

    def _count(self, row: PlannedRow, state: store.State, tokens: int | None) -> None:
        self.plan.set_state(row.key, state)
        self._progress.finish_row(row.key, len(row.paper.abstract), tokens)
        self._update()

    def _link(self) -> None:
        """Make each annotation the current one of all papers with this content key.

        That of a paper that was annotated in this run is its current one already. After Ctrl-C, the
        rest is left to the next run of the same line.
        """
        if not self.plan.has_links:
            return
        stopped_before = self.call.cancel.is_set()
        for entry, row in self.planned():
            if self.call.cancel.is_set() and not stopped_before:
                return
            if entry.is_linked and (record := store.record(self.db, row.key, row.paper)):
                store.save(self.db, Annotated(row.paper, record), self.framework)

    def _settings(self) -> dict[str, Any]:
        return {
            "framework": self.framework.digest,
            "form": self.model.entry.form,
            "digests": dict(self.model.digests),
            "served": self.model.resolution.chosen.serve.label,
            "slots": self.model.slots,
            "max_tokens": self.call.options.max_tokens,
            "wording": wording_of(self.model, self.call.options.wording),
        }


def key_of(paper: Paper, make: Callable[[], Prepared]) -> str:
    """Return the content key of a request, or one for the failure of a paper that has none."""
    try:
        return make().key
    except HarnessError:  # of the model or the framework, for all papers
        raise
    except Exception:  # noqa: BLE001  it fails again, as this paper's own error
        return f"{UNPREPARED}:{paper.sha256}"


def failure_of(paper: Paper, error: Exception) -> Failure:
    """Return the failure of a paper that ended with an error."""
    known = error if isinstance(error, HarnessError) else None
    return Failure(
        paper,
        type(error).__name__,
        str(error) if known else f"{type(error).__name__}: {error}",
        known is not None and known.retryable,
        known.reply if known else "",
    )


def _request(row: PlannedRow) -> dict[str, Any]:
    """Return the request of a row, or nothing if it cannot be prepared."""
    if row.key.startswith(UNPREPARED):
        return {}
    return dataclasses.asdict(row.prepare().request)
