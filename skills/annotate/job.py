"""A job that annotates many papers: plan, generate, and store each result immediately.

A job has no state of its own. The corpus stores results and failures by content key, so that the
same line continues a killed job without repeating work. Temporary files hold the plan and the
papers of a table, which may have millions of rows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sqlite3
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from harness.api.skill import Call
from harness.errors import HarnessError, Interrupted
from harness.models.backend import OnText
from harness.models.served import ServedModel, Usage
from harness.redaction import redact
from harness.runs.jobs import Job, Tally
from harness.runs.progress import ProgressEstimate, show_progress
from harness.support.stop_token import StopToken
from skills.annotate.annotator import Annotator, Prepared
from skills.annotate.papers import check_length
from skills.annotate.plan import Entry, Plan, Source
from skills.corpus.db import runs, store
from skills.corpus.records import Annotated, Failure
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper
from skills.nanda.text import counted

UNPREPARED = "unprepared"
"""Prefix of the key of a failure that occurred before the request for a paper was made."""
TICK_ROWS = 100
"""Number of rows between two reports of the progress of planning."""


@dataclass(frozen=True, slots=True)
class Task:
    """A paper to annotate.

    Attributes:
        key: the content key of the request; without a request, the key under which a failure is
            stored.
        prepared: the request, or None if the request could not be made.
    """

    paper: Paper
    key: str
    prepared: Prepared | None


def task_of(paper: Paper, prepare: Callable[[], Prepared]) -> Task:
    """Return the task of annotating a paper, with a request if one can be made.

    Args:
        prepare: makes the request. After an error other than a HarnessError, the task has no
            request. `annotate_tasks` then tries to make the request again, and reports the error
            as a failure of this paper.

    Raises:
        HarnessError: the model or the framework cannot be used for any paper.
    """
    try:
        prepared = prepare()
    except HarnessError:
        raise
    except Exception:  # noqa: BLE001 annotating the paper raises the error again
        return Task(paper, f"{UNPREPARED}:{paper.sha256}", None)
    return Task(paper, prepared.key, prepared)


def annotate_tasks(
    annotator: Annotator,
    tasks: Iterable[Task],
    keep: Callable[[Task, dict[str, Any]], None],
    refuse: Callable[[Task, Exception], None],
    stop: StopToken,
    on_text: Callable[[Task], OnText | None] = lambda _: None,
) -> Tally:
    """Annotate papers in parallel, in the slots of the model; return the counts and errors.

    Args:
        keep: called with each annotated task, and the annotation.
        refuse: called with each failed task, and the error.
        stop: a token that ends the work early if it is set.
        on_text: called with a task; returns the function that is called with each piece of
            generated text for this task, or None.
    """

    def perform(task: Task) -> dict[str, Any]:
        check_length(task.paper, annotator.framework.max_words)
        prepared = task.prepared or annotator.prepare(task.paper)
        annotator.model.check_fits(prepared.request)
        return annotator.annotate(prepared, on_text(task))

    return Job(perform, keep, refuse, annotator.model.slots, stop).run(tasks)


@dataclass
class AnnotateJob:
    """A job that annotates the papers of `source`, and stores the results in the corpus `db`.

    Attributes:
        command: the name under which the corpus records the job.
        plan: the content key of each row, and the state of the work for this key.
        run_id: the id of the job in the table `runs` of the corpus; 0 before generation starts.
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

    @functools.cached_property
    def annotator(self) -> Annotator:
        options = self.call.options
        return Annotator(self.model, self.framework, options.max_tokens, options.wording)

    def run(self) -> Tally:
        """Annotate the papers that are due, and return the counts and errors.

        Papers without a stored annotation or failure are due; with `--retry-failed`, only papers
        with a stored failure are due.
        """
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
            with self._in_progress(due, weight) as (self._progress, self._update):
                tally = annotate_tasks(
                    self.annotator,
                    self._tasks(),
                    self._keep,
                    self._refuse,
                    self.call.cancel,
                    lambda task: self._progress.token_counter(task.key),
                )
        if not isinstance(tally.stopped, Interrupted):
            self._link()
        return tally

    @property
    def usage(self) -> Usage:
        """The generations and tokens of this job; `model.usage` also counts earlier jobs."""
        return self.model.usage.since(self._used_before)

    @property
    def rows(self) -> int:
        """The number of papers of the source."""
        return len(self.source.papers)

    def paper(self, place: int) -> Paper:
        """Return the paper of a row."""
        return self.source.papers[place]

    def prepare(self, place: int) -> Prepared:
        """Return the request for the paper of a row."""
        return self.annotator.prepare(self.paper(place))

    def annotations(self, db: sqlite3.Connection) -> Iterator[tuple[int, Annotated]]:
        """Yield the index and the annotation of each annotated row, in order.

        Args:
            db: the corpus, which has the annotations of earlier runs.
        """
        for entry in self.plan.entries("done"):
            if item := self._annotation(db, entry):
                yield entry.place, item

    def failures(self, db: sqlite3.Connection) -> Iterator[Failure]:
        """Yield the stored failures of rows, in order.

        Args:
            db: the corpus, which also has the failures of earlier runs.
        """
        for entry in self.plan.entries("failed"):
            if failure := store.failure(db, entry.key, self.paper(entry.place)):
                yield failure

    def _annotation(self, db: sqlite3.Connection, entry: Entry) -> Annotated | None:
        paper = self.paper(entry.place)
        if entry.made:
            record = self.plan.record(entry.key)
            if not entry.is_first:
                record = store.with_paper(paper, record, self.paper(entry.first).abstract)
            return Annotated(paper, record)
        known = store.record(db, entry.key, paper)
        return None if known is None else Annotated(paper, known)

    def notice(self, text: str) -> None:
        """Print a notice about the work of the job."""
        self.call.screen.notice(text)

    @contextlib.contextmanager
    def _in_progress(
        self, due: int, weight: int
    ) -> Iterator[tuple[ProgressEstimate, Callable[[], None]]]:
        """Show a progress bar during a `with` block.

        The context manager yields the progress, and a function that redraws the bar.
        """
        left_out = self.source.filtered.total()
        pace = ProgressEstimate(due, weight, left_out, unit="papers")
        with show_progress(pace, self.call.screen, "annotating") as update:
            yield pace, update

    def _in_planning(self) -> contextlib.AbstractContextManager[Callable[[str], None]]:
        """Return a context manager that shows the progress of planning.

        The context manager yields a function that is called with the progress as text.
        """
        return self.call.screen.progress(f"planning {self.source.title}", reported=False)

    def _plan(self) -> None:
        find_state = partial(store.state, self.db)
        with self._in_planning() as tick:
            for place in range(self.rows):
                if self.call.cancel.is_set():
                    raise Interrupted("interrupted", hint="Nothing was begun.")
                task = task_of(self.paper(place), partial(self.prepare, place))
                entry = self.plan.add(task.key, len(task.paper.abstract), find_state)
                if entry and self._is_due(entry.state) and task.prepared:
                    self.plan.keep_request(task.prepared)
                if (place + 1) % TICK_ROWS == 0:
                    tick(f"{place + 1:,} of {self.rows:,} papers")

    def _due(self) -> tuple[int, int]:
        """Return the number of due content keys, and the total length of their abstracts."""
        due = [total for state, total in self.plan.totals().items() if self._is_due(state)]
        return sum(total.keys for total in due), sum(total.weight_of_keys for total in due)

    def _tasks(self) -> Iterator[Task]:
        for entry in self.plan.entries():
            self.call.cancel.check()  # Ctrl-C must stop a long loop even if no row is due
            if entry.is_first and self._is_due(entry.state):
                paper = self.paper(entry.place)
                yield Task(paper, entry.key, self.plan.request(entry.key, paper))

    def _is_due(self, state: store.State | None) -> bool:
        return state == ("failed" if self.call.options.retry_failed else None)

    def _announce(self, due: int) -> None:
        done = self.plan.count("done")
        failed = 0 if self.call.options.retry_failed else self.plan.count("failed")
        how = f"{self.model.slots} at a time"
        self.notice(
            f"{self.source.name}: {announcement(how, due, done, failed, self.source.filtered)}"
        )

    def _keep(self, task: Task, record: dict[str, Any]) -> None:
        self._save(Annotated(task.paper, record))
        self.plan.set_done(task.key, record)
        self._count(task, record["provenance"]["tokens"]["completion"])

    def _save(self, item: Annotated) -> None:
        store.save(self.db, item, self.framework, self.run_id)

    def _refuse(self, task: Task, error: Exception) -> None:
        is_known = isinstance(error, HarnessError)
        store.fail(
            self.db,
            failure_of(task.paper, error),
            task.key,
            request=dataclasses.asdict(task.prepared.request) if task.prepared else {},
            traceback=None if is_known else "".join(traceback.format_exception(error)),
            run_id=self.run_id,
        )
        self.plan.set_failed(task.key)
        self._count(task, None)

    def _count(self, task: Task, tokens: int | None) -> None:
        self._progress.finish_row(task.key, len(task.paper.abstract), tokens)
        self._update()

    def _link(self) -> None:
        """Make each annotation the current annotation of all papers with the same content key.

        An annotation that this run made is already current for the first of these papers. If the
        stop token is set while the method runs, the method returns early, and the next run of the
        same line continues. A token that was set before, by an error of the job, has no effect.
        """
        stopped_before = self.call.cancel.is_set()
        for entry in self.plan.entries("done"):
            if self.call.cancel.is_set() and not stopped_before:
                return
            if entry.is_linked and (item := self._annotation(self.db, entry)):
                store.save(self.db, item, self.framework)

    def _settings(self) -> dict[str, Any]:
        return {
            "framework": self.framework.digest,
            "form": self.model.entry.form,
            "digests": dict(self.model.digests),
            "served": self.model.resolution.chosen.serve.label,
            "slots": self.model.slots,
            "max_tokens": self.call.options.max_tokens,
            "wording": self.annotator.wording,
        }


def announcement(how: str, due: int, done: int, failed: int, filtered: Mapping[str, int]) -> str:
    """Return a sentence about the work to do and the work done before.

    Args:
        how: how or where the papers are annotated, such as "4 at a time".
        due: number of papers to annotate.
        done, failed: numbers of papers that earlier runs annotated, or failed to annotate.
        filtered: the number of left-out rows by reason.
    """
    parts = [f"{counted(due, 'paper')} to do, {how}"]
    parts += [f"{done:,} done before"] * bool(done)
    parts += [f"{failed:,} failed before (--retry-failed repeats them)"] * bool(failed)
    return "; ".join([*parts, *(f"{n:,} left out ({why})" for why, n in filtered.items())])


def failure_of(paper: Paper, error: Exception) -> Failure:
    """Return the failure to store for a paper whose annotation ended with `error`."""
    known = error if isinstance(error, HarnessError) else None
    return Failure(
        paper,
        type(error).__name__,
        str(error) if known else redact(f"{type(error).__name__}: {error}"),
        known is not None and known.retryable,
        known.reply if known else "",
    )
