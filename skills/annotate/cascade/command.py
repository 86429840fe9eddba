"""/annotate TABLE --cascade: the least certain papers go on to better models, or to a person.

Each model annotates its papers as a job of its own, so that the same line continues a stopped
cascade. A paper is doubtful if its certainty is below a limit. Of a model's doubtful papers, the
least certain ones go on to the next model, as many as the budget admits; the others, those that the
next model failed on, and those of the last model are left for `/curate --review`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.api.skill import Call
from harness.errors import HarnessError, ModelError, UsageError
from harness.models.pool import Models
from harness.models.resolution import Choice
from harness.models.served import ServedModel
from skills.annotate.cascade.sample import NOT_GUARANTEED, Sample, in_words, read_sample
from skills.annotate.table.command import annotate_source
from skills.annotate.table.result import Finished
from skills.annotate.table.sources import Selection, Source
from skills.annotate.wording import quotes
from skills.corpus.options import SAVED_TABLES
from skills.nanda.confidence import certainty_of
from skills.nanda.framework import Framework
from skills.nanda.framework_option import task_of
from skills.nanda.text import counted

DOUBTFUL = 0.8
"""Certainty below which a paper is doubtful; /evaluate calls moves from it on sure."""


def annotate_cascaded(call: Call, source: Source, framework: Framework) -> Finished:
    """Annotate the papers of `source`, and pass doubtful ones on to the models of --cascade.

    Raises:
        UsageError: a name is unknown, or a model occurs twice.
        ModelUnavailable: a model of the cascade cannot be served now.
        ModelError: a model that others follow gives no confidences.
        InputError: the sample cannot be used.
        Whatever `annotate_source` raises for the first model.
    """
    options = call.options
    names = [name.strip() for name in options.cascade.split(",")]
    following = [replace(call.models, choice=Choice(name)) for name in names]
    task = task_of(framework, call.models.registry)
    resolved = [one.resolve(task, {}).resolved for one in (call.models, *following)]
    if len({*resolved}) < len(resolved):
        raise UsageError(f"a cascade has each model once: {', '.join(resolved)}")
    sample = read_sample(options.sample, framework, source.papers) if options.sample else None
    finished = annotate_source(call, source, framework, _check_confidence)
    cascade = _Cascade(call, finished, framework)
    cascade.run(following)
    return cascade.finish(sample)


def _check_confidence(model: ServedModel) -> None:
    """Check that the papers of a model can be ordered by certainty.

    Raises:
        ModelError: its annotations have no confidences.
    """
    if not quotes(model):
        raise ModelError(
            f"{model.resolution.resolved} gives no confidences, which select the papers that go on",
            hint="All models of a cascade but the last quote the abstract, as nanda-annotator "
            "does.",
        )


@dataclass(slots=True)
class _Cascade:
    """A cascade over the rows of a finished job.

    Attributes:
        finished: the job of the first model. Its rows become those of later models as these
            annotate them.
        models: what each model did.
        doubtful: the papers of the last model so far, as certainty and index of the row.
        review: the papers that no model is left for, in the same form.
    """

    call: Call
    finished: Finished
    framework: Framework
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    doubtful: list[tuple[float, int]] = field(default_factory=list)
    review: list[tuple[float, int]] = field(default_factory=list)
    pending: int = 0
    stopped: HarnessError | None = None

    def run(self, following: Sequence[Models]) -> None:
        """Pass papers on from model to model, until there is none or one is stopped."""
        job = self.finished.job
        self.stopped = self.finished.stopped
        done = self._count(self.finished, range(len(job.plan)))
        for number, models in enumerate(following, start=1):
            passed, left = self._divided(done)
            self.review += left
            self.doubtful = []
            if not passed or self.stopped:
                self.pending += len(passed)
                break
            done = self._pass_on(models, passed, is_last=number == len(following))
        self.review = sorted(self.review + self.doubtful)

    def finish(self, sample: Sample | None) -> Finished:
        """Report the cascade, and return the job with the annotations of all models."""
        job, summary = self.finished.job, self.finished.summary
        bound = sample and sample.bound(self.finished.items())
        cascade = {
            "until": self._until,
            "budget": self.call.options.budget,
            "models": self.models,
            "pending": self.pending,
            "review": self._ids_to_review(),
            "right_anchors": bound,
        }
        for line in (*self._in_words(), in_words(bound) if bound else NOT_GUARANTEED):
            job.notice(line)
        failed = self.finished.failed + sum(one["failed"] for one in self.models.values())
        return replace(
            self.finished,
            summary={**summary, "cascade": cascade},
            stopped=self.stopped,
            failed=failed,
            next=self._next(),
        )

    @property
    def _until(self) -> float:
        until = self.call.options.until
        return DOUBTFUL if until is None else float(until)

    def _divided(self, done: int) -> tuple[list[tuple[float, int]], list[tuple[float, int]]]:
        """Return the doubtful papers that go on, and those beyond the budget."""
        budget = self.call.options.budget
        most = done if budget is None else int(budget * done + 1e-9)
        ordered = sorted(self.doubtful)
        return ordered[:most], ordered[most:]

    def _pass_on(
        self, models: Models, passed: Sequence[tuple[float, int]], *, is_last: bool
    ) -> int:
        """Annotate papers with the next model, and return how many it annotated."""
        job = self.finished.job
        places = sorted(place for _, place in passed)
        papers = Selection(job.source.papers, places)
        name = f"{job.source.name}, the least certain"
        source = Source(name, papers, job.source.id_column, len(papers), path=job.source.path)
        call = replace(self.call, models=models)
        models.pool.close()  # two models may not fit into the memory
        try:
            check = (lambda _: None) if is_last else _check_confidence
            later = annotate_source(call, source, self.framework, check)
        except HarnessError as exc:  # what the models before have done is kept
            self.stopped, self.pending = exc, len(passed)
            return 0
        self.stopped = later.stopped
        failed = set[int]()
        for place, entry in zip(places, later.job.plan.entries(), strict=True):
            if entry.state == "done":
                job.plan.replace(place, entry.key, entry.state)
            elif entry.state == "failed":
                failed.add(place)
            else:
                self.pending += 1
        self.review += [one for one in passed if one[1] in failed]
        return self._count(later, places)

    def _count(self, finished: Finished, places: Sequence[int]) -> int:
        """Record what a model did; return how many papers it annotated, and keep the doubtful."""
        tokens = {"prompt": 0, "completion": 0}
        done = 0
        for index, item in finished.by_row():
            done += 1
            for kind in tokens:
                tokens[kind] += item.record["provenance"]["tokens"][kind]
            certainty = certainty_of(item.record.get("confidence"), self.framework.names)
            if certainty is not None and certainty < self._until:
                self.doubtful.append((certainty, places[index]))
        model = finished.job.model.resolution.resolved
        self.models[model] = {"papers": done, "failed": finished.failed, "tokens": tokens}
        return done

    def _ids_to_review(self) -> list[str]:
        """Return the ids of the papers for review, the least certain ones first."""
        places = sorted(place for _, place in self.review)
        papers = Selection(self.finished.job.source.papers, places) if places else ()
        ids = {place: paper.id for place, paper in zip(places, papers, strict=True)}
        return [ids[place] for _, place in self.review]

    def _in_words(self) -> list[str]:
        steps = [f"{counted(one['papers'], 'paper')} by {m}" for m, one in self.models.items()]
        if len(steps) == 1:
            steps.append("none went on")
        steps += [f"{self.pending:,} not passed on yet"] * bool(self.pending)
        steps.append(f"{len(self.review):,} for /curate --review (certainty below {self._until:g})")
        cost = [f"{model} {_total(one['tokens']):,}" for model, one in self.models.items()]
        return [f"cascade: {', then '.join(steps)}", f"tokens: {', '.join(cost)}"]

    def _next(self) -> str:
        targets = [t for t in self.call.targets if t.suffix.lower() in SAVED_TABLES]
        return f"/curate {targets[0]} --review save to gold.csv" if targets and self.review else ""


def _total(tokens: Mapping[str, int]) -> int:
    return sum(tokens.values())
