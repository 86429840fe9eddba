"""A job that annotates many papers: plan, generate, and store each result at once.

A job has no state of its own. The corpus database holds what is done and what failed, by content
key; the same command continues where it was killed, and no work is paid for twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from harness.api.skill import Call
from harness.errors import HarnessError, Interrupted
from harness.models.backends.base import OnText
from harness.models.served import ServedModel, Usage
from harness.runs.jobs import Job, Tally
from harness.runs.progress import ProgressEstimate, show_progress
from skills.annotate.generate import Prepared, annotate, prepare, wording_of
from skills.annotate.papers import check_length
from skills.annotate.table.sources import Source
from skills.corpus.db import runs, store
from skills.corpus.records import Annotated, Failure
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper
from skills.nanda.text import counted

UNPREPARED = "unprepared"
"""Begins the key of a failure before there was a request."""


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A paper of a job.

    Attributes:
        key: the content key of its request.
        prepare: makes the request. It is four times as large as the abstract, so that a plan does
            not keep it.
    """

    paper: Paper
    key: str
    prepare: Callable[[], Prepared]


@dataclass(slots=True)
class AnnotateJob:
    """Annotates the papers of `source` with `model` into the corpus `db`.

    Attributes:
        rows: the plan, in the order of the source.
        states: how each content key ended: before the run, and by now.
        run_id: the row of the corpus's table `runs`; 0 before generation starts.
    """

    call: Call
    source: Source
    framework: Framework
    model: ServedModel
    db: sqlite3.Connection
    rows: list[PlannedRow] = field(default_factory=list)
    states: dict[str, store.State | None] = field(default_factory=dict)
    run_id: int = 0
    _used_before: Usage = field(default_factory=Usage)
    _progress: ProgressEstimate = field(default_factory=lambda: ProgressEstimate(0, 0))
    _update: Callable[[], None] = lambda: None

    def run(self) -> Tally:
        """Annotate the papers that are not done; with `retry_failed`, those that failed before."""
        self._plan()
        due = self._due()
        self._announce(len(due))
        tally = Tally()
        self._used_before = dataclasses.replace(self.model.usage)
        if due:
            self.run_id = runs.start(
                self.db,
                skill="annotate",
                source=self.source.name,
                model=self.model.resolution.resolved,
                settings=self._settings(),
            )
            job = Job(self._perform, self._keep, self._refuse, self.model.slots, self.call.cancel)
            with self._in_progress(due) as (self._progress, self._update):
                tally = job.run(due)
        self._link()
        return tally

    @property
    def has_done(self) -> bool:
        """True if this model has annotated any of the papers, now or before."""
        return "done" in self.states.values()

    @property
    def usage(self) -> Usage:
        """What this job has used; that of the model includes earlier jobs of the same line."""
        return self.model.usage.since(self._used_before)

    def requests(self) -> Iterator[tuple[Paper, Callable[[], Prepared]]]:
        """Yield each paper with a function that prepares its request."""
        for paper in self.source.papers:
            yield paper, partial(self._prepared, paper, self.framework)

    def _prepared(self, paper: Paper, framework: Framework) -> Prepared:
        options = self.call.options
        wanted = options.max_tokens, options.effort, options.wording
        return prepare(paper, framework, self.model, *wanted)

    def notice(self, text: str) -> None:
        """Print what the job has to do, or has done."""
        self.call.screen.notice(text)

    @contextlib.contextmanager
    def _in_progress(
        self, due: Sequence[PlannedRow]
    ) -> Iterator[tuple[ProgressEstimate, Callable[[], None]]]:
        """Show the progress of the block; yields it, and what refreshes it."""
        weight = sum(len(row.paper.abstract) for row in due)
        left_out = sum(self.source.filtered.values())
        pace = ProgressEstimate(len(due), weight, left_out, unit="papers")
        with show_progress(pace, self.call.screen, "annotating") as update:
            yield pace, update

    def _plan(self) -> None:
        for paper, make in self.requests():
            if self.call.cancel.is_set():
                raise Interrupted("interrupted", hint="Nothing was begun.")
            key = _key(paper, make)
            self.rows.append(PlannedRow(paper, key, make))
            if key not in self.states:
                self.states[key] = store.state(self.db, key)

    def _due(self) -> list[PlannedRow]:
        """Return the rows to annotate: one for each content key."""
        due: dict[str, PlannedRow] = {}
        for row in self.rows:
            if self._is_due(self.states[row.key]):
                due.setdefault(row.key, row)
        return list(due.values())

    def _is_due(self, state: store.State | None) -> bool:
        return state == ("failed" if self.call.options.retry_failed else None)

    def _announce(self, due: int) -> None:
        before = Counter(self.states[row.key] for row in self.rows)
        parts = [f"{counted(due, 'paper')} to do, {self.model.slots} at a time"]
        parts += [f"{before['done']:,} done before"] * bool(before["done"])
        if before["failed"] and not self.call.options.retry_failed:
            parts.append(f"{before['failed']:,} failed before (--retry-failed repeats them)")
        parts += [f"{n:,} left out ({reason})" for reason, n in self.source.filtered.items()]
        self.notice(f"{self.source.name}: {'; '.join(parts)}")

    def _perform(self, row: PlannedRow) -> dict[str, Any]:
        check_length(row.paper, self.framework.max_words)
        prepared = row.prepare()
        self.model.check_fits(prepared.request)
        return self._generate(prepared, self._progress.token_counter(row.key))

    def _generate(self, prepared: Prepared, on_text: OnText) -> dict[str, Any]:
        return annotate(prepared, self.model, on_text)

    def _keep(self, row: PlannedRow, record: dict[str, Any]) -> None:
        self._save(row, record)
        self._count(row, "done", record["provenance"]["tokens"]["completion"])

    def _save(self, row: PlannedRow, record: dict[str, Any]) -> None:
        store.save(self.db, Annotated(row.paper, record), self.framework, self.run_id)

    def _refuse(self, row: PlannedRow, error: Exception) -> None:
        known = error if isinstance(error, HarnessError) else None
        store.fail(
            self.db,
            Failure(
                row.paper,
                type(error).__name__,
                str(error) if known else f"{type(error).__name__}: {error}",
                known is not None and known.retryable,
                known.reply if known else "",
            ),
            row.key,
            request=_request(row),
            traceback=None if known else "".join(traceback.format_exception(error)),
            run_id=self.run_id,
        )
        self._count(row, "failed", None)

    def _count(self, row: PlannedRow, state: store.State, tokens: int | None) -> None:
        self.states[row.key] = state
        self._progress.finish_row(row.key, len(row.paper.abstract), tokens)
        self._update()

    def _link(self) -> None:
        """Make each annotation the current one of all papers with this content key."""
        for row in self.rows:
            if record := store.record(self.db, row.key, row.paper):
                store.save(self.db, Annotated(row.paper, record), self.framework)

    def _settings(self) -> dict[str, Any]:
        return {
            "framework": self.framework.digest,
            "form": self.model.entry.form,
            "digests": dict(self.model.digests),
            "served": self.model.resolution.chosen.serve.label,
            "slots": self.model.slots,
            "max_tokens": self.call.options.max_tokens,
            "effort": self.call.options.effort,
            "wording": wording_of(self.model, self.call.options.wording),
        }


def _key(paper: Paper, make: Callable[[], Prepared]) -> str:
    """Return the content key of a request, or one for the failure of a paper that has none."""
    try:
        return make().key
    except HarnessError:  # of the model or the framework, for all papers
        raise
    except Exception:  # noqa: BLE001  it fails again, as this paper's own error
        return f"{UNPREPARED}:{paper.sha256}"


def _request(row: PlannedRow) -> dict[str, Any]:
    """Return the request of a row, or nothing if it cannot be prepared."""
    if row.key.startswith(UNPREPARED):
        return {}
    return dataclasses.asdict(row.prepare().request)
