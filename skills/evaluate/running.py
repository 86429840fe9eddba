"""Having the models annotate: each in its turn, under its own constraint and perhaps without."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.skill import Call
from harness.errors import ModelUnavailable, UsageError
from harness.models.pool import Choice, Models, ServedModel
from harness.models.resolution import candidates, resolve
from skills.annotate.table import sources
from skills.annotate.table.job import PlannedRow
from skills.annotate.table.result import finish
from skills.corpus.db import runs, store
from skills.evaluate.annotators import INVALID, Annotator, Answers, Moves, Repeated
from skills.evaluate.inputs import Subject
from skills.evaluate.jobs import ComparedJob, FreeJob, RepeatedJob
from skills.evaluate.variations import Kind, variations
from skills.nanda.framework import Framework

if TYPE_CHECKING:
    from sqlite_utils import Database

TASK = "annotate"


def models_of(call: Call) -> tuple[str, ...]:
    """The models to be compared, none of them loaded: those named, else the task's own chain.

    Raises:
        UsageError: a name that is none, or stands twice.
        ModelUnavailable: one of them cannot be served now.
    """
    models, asked = call.models, call.options.models
    if asked is not None and models.choice.model is not None:
        raise UsageError("--models and --model exclude each other", hint="Name all in --models.")
    if asked is None:
        registry = models.registry
        alone = models.choice.model
        names = (alone,) if alone else registry.chain(registry.serving(TASK))
    else:
        names = tuple(name.strip() for name in asked.split(","))
    for place, name in enumerate(names):
        if not name:
            raise UsageError("--models holds an empty name", hint="Separate names by one comma.")
        if name in names[:place]:
            raise UsageError(f"--models names {name} twice", hint="Name each model once.")
        models.registry.named(name)
    for name in names:
        _probe(models, name)
    return names


def _probe(models: Models, name: str) -> None:
    """See that somebody could serve a model, before another one is put to work."""
    unavailable = {}
    for candidate in candidates(models.registry, TASK, model=name):
        availability = models.pool.probe(candidate)
        if not availability.available:
            unavailable[candidate] = availability.reason
    resolve(models.registry, TASK, unavailable, model=name)


@dataclass(frozen=True, slots=True)
class Runner:
    """Who has models annotate the papers of `subject` into the corpus `db` at `path`."""

    call: Call
    subject: Subject
    framework: Framework
    db: Database
    path: Path

    def run(self, name: str) -> Annotator:
        """Have a model annotate all papers, as far as it has not.

        Raises:
            HarnessError: the work was stopped; what is done is kept, and the hint says so.
        """

        def work(model: ServedModel) -> Annotator:
            self.call.screen.notice(f"{name} ({model.resolution.chosen.serve.label})")
            held = ComparedJob(self.call, self.subject.source, self.framework, model, self.db)
            self._do(held)
            free = None
            if self.call.options.unconstrained:
                free = FreeJob(self.call, self.subject.source, self.framework, model, self.db)
                self.call.screen.notice(f"{name}, without constraint")
                self._do(free)
            return self._asked_again(self._annotator(name, held, free), model)

        # One at a time: two large ones may be too much, and each one's memory is told.
        self.call.models.pool.close()
        models = replace(self.call.models, choice=Choice(name))
        return models.run(TASK, work, slots=self.call.options.workers)

    def _do(self, job: ComparedJob) -> None:
        with self.call.cancel.on_signals(), runs.recorded(self.db, lambda: job.run_id):
            started = time.monotonic()
            tally = job.run()
            if isinstance(tally.stopped, ModelUnavailable) and not job.has_done:
                raise tally.stopped  # nothing is done yet, so that another place may take over
            finish(job, tally, self.path, time.monotonic() - started)
        if tally.stopped is not None:  # out here, where the run's row keeps its summary
            raise tally.stopped

    def _annotator(self, name: str, held: ComparedJob, free: FreeJob | None) -> Annotator:
        failed: Counter[str] = Counter()
        records: list[dict[str, Any] | None] = []
        for row in held.rows:
            record = store.record(self.db, row.key, row.paper)
            failure = store.failure(self.db, row.key, row.paper)
            failed.update([failure.error_type] if failure else [])
            records.append(record)
        answers = Answers(
            valid=[_at_once(record) for record in records],
            valid_freely=None if free is None else self._freely(free, failed),
            tokens=[_tokens(record) for record in records],
            failed=dict(failed.most_common()),
            pace=held.pace_so_far(),
            about=_about(held.model),
        )
        return Annotator(name, [self._moves(record) for record in records], answers)

    def _asked_again(self, annotator: Annotator, model: ServedModel) -> Annotator:
        """The same with what it says of the first papers in every variation; of those that it has
        annotated, since nothing that is said here is to become a paper's current annotation."""
        count = self.call.options.consistency
        asked = [i < count and moves is not None for i, moves in enumerate(annotator.annotations)]
        if annotator.answers is None or not any(asked):
            return annotator
        papers = list(compress(self.subject.papers, asked))
        every = tuple(variations(self.framework))
        self.call.screen.notice(
            f"{annotator.name}, {len(papers):,} papers again, in {len(every)} other ways"
        )
        source = sources.from_papers(self.subject.source.name, papers)
        job = RepeatedJob(self.call, source, self.framework, model, self.db, variations=every)
        self._do(job)
        failed = Counter(annotator.answers.failed)
        said = iter([self._moves(self._found(one, failed)) for one in job.rows])
        ways: dict[Kind, list[Sequence[Moves | None]]] = {
            "seeds": [],
            "prompts": [annotator.annotations],
        }
        for variation in every:
            ways[variation.kind].append([next(said) if one else None for one in asked])
        repeated = Repeated(ways, asked)
        told = replace(annotator.answers, failed=dict(failed.most_common()), repeated=repeated)
        return replace(annotator, answers=told)

    def _freely(self, free: FreeJob, failed: Counter[str]) -> Sequence[bool]:
        records = (self._found(row, failed) for row in free.rows)
        return [record is not None and record["provenance"]["in_order"] for record in records]

    def _found(self, row: PlannedRow, failed: Counter[str]) -> dict[str, Any] | None:
        """What was made of a request; a failure that is no finding about the model is counted."""
        failure = store.failure(self.db, row.key, row.paper)
        if failure is not None and failure.error_type != INVALID:
            failed[failure.error_type] += 1
        return store.record(self.db, row.key, row.paper)

    def _moves(self, record: dict[str, Any] | None) -> Moves | None:
        return record and {move: record[move] for move in self.framework.names}


def _at_once(record: dict[str, Any] | None) -> bool:
    return record is not None and record["provenance"]["attempts"] == 1


def _tokens(record: dict[str, Any] | None) -> tuple[int, int] | None:
    if record is None:
        return None
    tokens = record["provenance"]["tokens"]
    return tokens["prompt"], tokens["completion"]


def _about(model: ServedModel) -> dict[str, Any]:
    serve = model.resolution.chosen.serve
    return {
        "model": model.resolution.resolved,
        "served": serve.label,
        "form": model.entry.form,
        "digests": dict(model.digests),
        "slots": model.slots,
    }
