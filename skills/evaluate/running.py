"""Runs the models: one after the other, with constrained output and optionally without."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any

from harness.api.skill import Call
from harness.errors import ModelUnavailable, UsageError
from harness.models.resolution import Choice
from harness.models.served import ServedModel
from harness.runs.progress import ProgressEstimate, show_progress
from skills.annotate import plan
from skills.annotate.table import finish
from skills.corpus.db import runs, store
from skills.evaluate.annotators import MODEL_ERRORS, Annotator, Answers, Moves, Subject
from skills.evaluate.jobs import ComparedJob, FreeJob, RepeatedJob
from skills.evaluate.metrics.resampling import LEAST_PAPERS
from skills.evaluate.variations import Kind, variations
from skills.nanda.confidence import confidence_of
from skills.nanda.text import counted

TASK = "annotate"
REPEATED = 10
"""Papers that are repeated by default, if there are enough for an interval (`LEAST_PAPERS`)."""
Record = dict[str, Any]
Runs = dict[Kind, list[Sequence[Moves | None]]]


def models_of(call: Call) -> tuple[str, ...]:
    """Return the models to compare: those of --models, else those that serve /annotate.

    No model is loaded, but each is probed.

    Raises:
        UsageError: a name is unknown.
        ModelUnavailable: a model cannot be served now.
    """
    models, named = call.models, call.options.models
    alone, registry = models.choice.model, models.registry
    if named is None:
        names = (alone,) if alone else registry.chain(registry.serving(TASK))
    elif alone is not None:
        raise UsageError("--models and --model exclude each other", hint="Name all in --models.")
    else:
        names = tuple(dict.fromkeys(name.strip() for name in named.split(",")))
    for name in names:
        registry.named(name)
        replace(models, choice=Choice(name)).resolve(TASK, {})
    return names


@contextlib.contextmanager
def compared(
    call: Call, subject: Subject, db: sqlite3.Connection, path: Path, models: int
) -> Iterator[ModelRunner]:
    """Announce a comparison of this many models, and show the progress of the block."""
    papers, options, wanted = subject.papers, call.options, call.options.consistency
    if wanted is None:
        wanted = REPEATED if len(papers) >= LEAST_PAPERS else 0
    repeated, rounds = papers[:wanted], 1 + options.unconstrained
    times = len(tuple(variations(subject.framework)))
    count = models * (rounds * len(papers) + times * len(repeated))
    weight = models * (
        rounds * sum(len(paper.abstract) for paper in papers)
        + times * sum(len(paper.abstract) for paper in repeated)
    )
    again = (
        f", and {len(repeated):,} of them {times} times more (not with --consistency 0)"
        if repeated
        else ""
    )
    call.screen.notice(
        f"{subject.source.name}: {counted(len(papers), 'paper')} for {counted(models, 'model')}"
        f"{again}: {counted(count, 'annotation')}; those of earlier runs are used again"
    )
    pace = ProgressEstimate(count, weight, unit="annotations")
    with show_progress(pace, call.screen, "annotating") as update:
        yield ModelRunner(call, subject, db, path, pace, update, len(repeated))


@dataclass(frozen=True, slots=True)
class ModelRunner:
    """Runs models on the papers of `subject`; their annotations go into the corpus at `path`.

    Attributes:
        pace, update: the progress of all models, and what refreshes it.
        repeated: the number of papers, from the first on, that are annotated in all variations.
    """

    call: Call
    subject: Subject
    db: sqlite3.Connection
    path: Path
    pace: ProgressEstimate
    update: Callable[[], None]
    repeated: int

    def run(self, name: str) -> Annotator:
        """Annotate the papers that a model has not annotated yet, and return all annotations.

        Raises:
            HarnessError: the work was stopped. What is done is kept; the hint states how to resume.
        """
        # One model at a time: two may not fit into memory, and the memory of each is reported.
        self.call.models.pool.close()
        models = replace(self.call.models, choice=Choice(name))
        return models.run(
            TASK, lambda model: self._annotate(name, model), slots=self.call.options.workers
        )

    def _annotate(self, name: str, model: ServedModel) -> Annotator:
        context = (self.call, self.subject.source, self.subject.framework, model, self.db)
        shared: dict[str, Any] = {"pace": self.pace, "update": self.update}
        failed: Counter[str] = Counter()
        job = ComparedJob(*context, **shared)
        self._run(job, name)
        records = self._records(job, failed, of_papers=True)
        valid_freely = None
        if self.call.options.unconstrained:
            free = FreeJob(*context, **shared)
            self._run(free, f"{name}, without constrained output")
            valid_freely = [
                record is not None and record["provenance"]["in_order"]
                for record in self._records(free, failed)
            ]
        annotations = [self._moves(record) for record in records]
        runs, included = self._repeat(name, annotations, model, failed)
        answers = Answers(
            valid=[
                record is not None and record["provenance"]["attempts"] == 1 for record in records
            ],
            valid_freely=valid_freely,
            tokens=[_tokens(record) for record in records],
            failed=dict(failed.most_common()),
            speed=job.speed(),
            about=_about(model),
            runs=runs,
            included=included,
        )
        return Annotator(
            name,
            annotations,
            answers,
            anchors=[record and record.get("anchors") for record in records],
            confidence=[
                confidence_of((record or {}).get("confidence"), self.subject.framework.names)
                for record in records
            ],
        )

    def _repeat(
        self,
        name: str,
        annotations: Sequence[Moves | None],
        model: ServedModel,
        failed: Counter[str],
    ) -> tuple[Runs, Sequence[bool]]:
        """Annotate the first papers again in every variation, those that have an annotation.

        Others are left out, so that no variation becomes a paper's current annotation.
        """
        count = self.repeated
        included = [i < count and moves is not None for i, moves in enumerate(annotations)]
        every = tuple(variations(self.subject.framework))
        first = zip(self.subject.papers[:count], annotations[:count], strict=True)
        unanswered = [paper for paper, moves in first if moves is None]
        self.pace.rows -= len(every) * len(unanswered)
        self.pace.weight -= len(every) * sum(len(paper.abstract) for paper in unanswered)
        if not any(included):
            return {}, included
        papers = list(compress(self.subject.papers, included))
        source = plan.from_papers(self.subject.source.name, papers)
        job = RepeatedJob(
            *(self.call, source, self.subject.framework, model, self.db),
            pace=self.pace,
            update=self.update,
            variations=every,
        )
        self._run(job, f"{name}, again in {len(every)} variations")
        answers = map(self._moves, self._records(job, failed))
        found: Runs = {"seeds": [], "prompts": [annotations]}
        for variation in every:
            found[variation.kind].append([next(answers) if one else None for one in included])
        return found, included

    def _run(self, job: ComparedJob, phase: str) -> None:
        self.pace.phase = phase
        self.update()
        with self.call.cancel.on_signals(), runs.recorded(self.db, lambda: job.run_id):
            started = time.monotonic()
            tally = job.run()
            if isinstance(tally.stopped, ModelUnavailable) and not job.has_done:
                raise tally.stopped  # nothing is done yet, so that a fallback may take over
            finish(job, tally, self.path, time.monotonic() - started)
        if tally.stopped is not None:  # outside, so that the row of the run keeps its summary
            raise tally.stopped

    def _records(
        self, job: ComparedJob, failed: Counter[str], *, of_papers: bool = False
    ) -> list[Record | None]:
        """Return the stored annotation of each row, and count failures by error class.

        Args:
            of_papers: count failures of the model too. Other requests show these in their metrics.
        """
        for entry in job.plan.entries("failed"):
            error = store.error_type(self.db, entry.key)
            failed[error] += of_papers or error not in MODEL_ERRORS
        return [store.record(self.db, row.key, row.paper) for _, row in job.planned()]

    def _moves(self, record: Record | None) -> Moves | None:
        return record and {move: record[move] for move in self.subject.framework.names}


def _tokens(record: Record | None) -> tuple[int, int] | None:
    if record is None:
        return None
    tokens = record["provenance"]["tokens"]
    return tokens["prompt"], tokens["completion"]


def _about(model: ServedModel) -> dict[str, Any]:
    return {
        "model": model.resolution.resolved,
        "served": model.resolution.chosen.serve.label,
        "form": model.entry.form,
        "digests": dict(model.digests),
        "slots": model.slots,
        "answered_by": model.about,
    }
