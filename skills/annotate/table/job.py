"""Many papers, one job: each is annotated once, kept at once, and found again by its content key.

A job has no state of its own. What is done and what failed stands in the corpus database under
content keys, so that the same line goes on where it was killed, and never pays for the same work
twice.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.api.skill import Call
from harness.errors import HarnessError, Interrupted
from harness.models.pool import ServedModel
from harness.runs.jobs import Job, Tally
from harness.runs.progress import Pace, shown
from skills.annotate.generate import Prepared, annotate, prepare
from skills.annotate.papers import check_length
from skills.annotate.table.sources import Source
from skills.corpus.db import runs, store
from skills.corpus.records import Annotated, Failure
from skills.nanda.framework import Framework

if TYPE_CHECKING:
    from sqlite_utils import Database


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to do: rows that are done and that failed before, rows to do, and the
    characters of their abstracts."""

    done: int
    failed: int
    to_do: int
    characters: int


@dataclass(slots=True)
class AnnotateJob:
    """The papers of `source`, annotated by `model` into the corpus `db`."""

    call: Call
    source: Source
    framework: Framework
    model: ServedModel
    db: Database
    plan: Plan | None = None
    pace: Pace | None = None
    run_id: int = 0
    _update: Callable[[], None] = lambda: None

    def run(self) -> Tally:
        """Annotate what has not been done, and hand out how it went.

        With the option `retry_failed`, what failed before is what there is to do.
        """
        self.plan = plan = self._plan()
        self._announce(plan)
        if not plan.to_do:
            self._link()
            return Tally()
        self.run_id = runs.start(
            self.db,
            skill="annotate",
            source=self.source.name,
            model=self.model.resolution.resolved,
            settings=self._settings(),
        )
        self.pace = Pace(plan.to_do, plan.characters, sum(self.source.filtered.values()))
        job = Job(self._perform, self._keep, self._refuse, self.model.slots, self.call.cancel)
        with shown(self.pace, self.call.screen, "annotating") as self._update:
            tally = job.run(self._tasks())
        self._link()
        return tally

    def has_done(self, tally: Tally) -> bool:
        """Whether this model has annotated any of the papers, now or before."""
        return bool(tally.done or (self.plan and self.plan.done))

    def prepared(self) -> Iterator[Prepared]:
        """Every paper's request, in order."""
        for paper in self.source.papers():
            yield prepare(paper, self.framework, self.model, self.call.options.max_tokens)

    def _plan(self) -> Plan:
        done = failed = to_do = characters = 0
        seen: set[str] = set()
        for prepared in self.prepared():
            if self.call.cancel.is_set():
                raise Interrupted("interrupted", hint="Nothing was begun.")
            state = store.state(self.db, prepared.key)
            done += state == "done"
            failed += state == "failed"
            if self._is_due(state) and prepared.key not in seen:
                seen.add(prepared.key)
                to_do += 1
                characters += len(prepared.paper.abstract)
        return Plan(done, failed, to_do, characters)

    def _announce(self, plan: Plan) -> None:
        retry = self.call.options.retry_failed
        parts = [f"{plan.to_do:,} to do, {self.model.slots} at a time"]
        parts += [f"{plan.done:,} done before"] * bool(plan.done)
        if plan.failed and not retry:
            parts.append(f"{plan.failed:,} failed before (--retry-failed redoes them)")
        parts += [f"{n:,} left out ({why})" for why, n in self.source.filtered.items() if n]
        self.call.screen.notice(f"{self.source.name}: {'; '.join(parts)}")

    def _is_due(self, state: store.State | None) -> bool:
        return state == ("failed" if self.call.options.retry_failed else None)

    def _tasks(self) -> Iterator[Prepared]:
        """What is due; equal work once."""
        seen: set[str] = set()
        for prepared in self.prepared():
            if prepared.key not in seen and self._is_due(store.state(self.db, prepared.key)):
                seen.add(prepared.key)
                yield prepared

    def _perform(self, prepared: Prepared) -> dict[str, Any]:
        check_length(prepared.paper, self.framework.max_words)
        self.model.check_fits(prepared.request)
        on_text = self.pace.counter(prepared.key) if self.pace else None
        return annotate(prepared, self.model, on_text)

    def _keep(self, prepared: Prepared, record: dict[str, Any]) -> None:
        store.save(self.db, Annotated(prepared.paper, record), self.framework, self.run_id)
        self._count(prepared, record["provenance"]["tokens"]["completion"])

    def _refuse(self, prepared: Prepared, error: Exception) -> None:
        known = error if isinstance(error, HarnessError) else None
        store.fail(
            self.db,
            Failure(
                prepared.paper,
                type(error).__name__,
                str(error) if known else f"{type(error).__name__}: {error}",
                known is not None and known.retryable,
                known.reply if known else "",
            ),
            prepared.key,
            request=dataclasses.asdict(prepared.request),
            traceback=None if known else "".join(traceback.format_exception(error)),
            run_id=self.run_id,
        )
        self._count(prepared, None)

    def _count(self, prepared: Prepared, tokens: int | None) -> None:
        if self.pace is not None:
            self.pace.row(prepared.key, len(prepared.paper.abstract), tokens)
        self._update()

    def _link(self) -> None:
        """Make what is done the current annotation of each paper it is asked for here."""
        for prepared in self.prepared():
            record = store.record(self.db, prepared.key, prepared.paper)
            if record is not None:
                store.save(self.db, Annotated(prepared.paper, record), self.framework)

    def _settings(self) -> dict[str, Any]:
        return {
            "framework": self.framework.digest,
            "form": self.model.entry.form,
            "digests": dict(self.model.digests),
            "served": self.model.resolution.chosen.serve.label,
            "slots": self.model.slots,
            "max_tokens": self.call.options.max_tokens,
        }
