"""The steps of /evaluate: read and annotate papers, measure the annotations, and report."""

from __future__ import annotations

import contextlib
import functools
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from harness.api.skill import Call, Result
from harness.errors import InputError, InvalidReply, UsageError
from harness.models.backend import OnText
from harness.models.pool import Choice
from harness.models.served import ServedModel
from harness.runs.invocation import as_path
from harness.runs.progress import ProgressEstimate, show_progress
from harness.runs.targets import refuse_sources
from harness.support import traces
from harness.support.process import job_lock, require
from skills.annotate import annotator, plan
from skills.annotate.annotator import Prepared, quotes, stored_form
from skills.annotate.job import AnnotateJob
from skills.annotate.table import run_job
from skills.corpus.db import store
from skills.corpus.db.connection import database, locks, open_corpus
from skills.corpus.db.rows import stored_json
from skills.corpus.records import Annotated, key_of
from skills.corpus.tables.columns import Columns
from skills.evaluate import comparison, inputs, report_files, source_metrics
from skills.evaluate import report_text as report
from skills.evaluate.annotators import (
    MODEL_ERRORS,
    Annotator,
    Moves,
    Subject,
    Variation,
    variations,
)
from skills.evaluate.measures import Measures
from skills.evaluate.outputs import OVERALL, Answer
from skills.evaluate.report_text import regressions, verdict
from skills.nanda.confidence import confidence_of
from skills.nanda.forms import UnusableReply
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper
from skills.nanda.quotes import QuotesForm
from skills.nanda.text import counted
from skills.reporting.outputs import RefusedRow
from skills.reporting.statistics import LEAST_PAPERS


def evaluate(call: Call, framework: Framework) -> Result:
    """Compare models on the papers of the input, and return the report and the writers of files."""
    subject = _subject(call, framework)
    path, source = database(call), subject.source.path
    assert source is not None
    subject.source.refused.report(call.screen)
    if any(target.suffix.lower() == ".png" for target in call.targets):
        require(*report_files.MODULES, extra="plots")
    refuse_sources(call.targets, input=source, corpus=path)
    models = models_of(call)
    options, earlier = call.options, None
    if options.against is not None:
        refuse_sources(call.targets, evaluation=options.against)
        earlier = inputs.earlier_model(options.against, subject, next(iter(models)))
    with open_corpus(path) as db:
        with (
            job_lock(locks(path), str(source.resolve())),
            compared(call, subject, db, path, models) as runner,
        ):
            annotators = [runner.run(name) for name in models]
        with call.screen.progress("measuring"):
            measures = Measures(db)
            found = comparison.of_models(subject, annotators, earlier, measures)
            measures.save()
    for one in found.annotators:
        for metric, figures in one.metrics.items():
            if OVERALL in figures:
                score = figures[OVERALL].value
                traces.evaluated(metric, score, gen_ai__request__model=one.name)
    found.regressions = regressions(found) if earlier else None
    found.verdict = verdict(found)
    found.refused = [RefusedRow(**one) for one in subject.source.refused.as_json()]
    text = report.text(found, details=options.details)
    if call.targets:
        call.screen.notice(text)
    data = found.model_dump(mode="json", exclude_unset=True)
    failed = {kind for one in found.annotators for kind in one.failed if one.kind == "model"}
    regressed = options.fail_on_regression and found.regressions
    is_broken = failed - MODEL_ERRORS.keys() or subject.source.refused or regressed
    return Result(
        text,
        data=data,
        renderers={".json": lambda: json.dumps(data, ensure_ascii=False, indent=2) + "\n"},
        writers={
            ".html": lambda file: report_files.write_html(file, found, subject),
            ".png": lambda file: report_files.draw(found, file),
        },
        summary=data,
        exit_code=1 if is_broken else 0,
    )


def _subject(call: Call, framework: Framework) -> Subject:
    options = call.options
    if options.csabstruct is None:
        columns = Columns(options.abstract_column, options.id_column, options.title_column)
        path, notice = as_path(call.text.strip()), call.screen.notice
        return inputs.with_gold(path, columns, framework, options.limit, notice)
    lacks = [move for move in source_metrics.EXPECTED if move not in framework.names]
    if lacks:
        raise InputError(
            f"the framework {framework.name} has no move {', '.join(lacks)}",
            where=str(options.framework),
            hint="--csabstruct needs a framework with these moves; name it with --framework.",
        )
    return inputs.with_labels(options.csabstruct, framework, options.limit)


TASK = "annotate"
REPEATED = 10
"""Default of `--consistency` for an input with at least `LEAST_PAPERS` papers."""
Record = dict[str, Any]
"""A stored annotation, or the fields of an `Answer`."""


def models_of(call: Call) -> dict[str, str]:
    """Return the reply format of each model to compare, by the name of the model.

    Without --models and --model, the models are the first model of the registry that serves
    /annotate, and its fallbacks. Each model is probed, but not loaded.

    Raises:
        UsageError: a name is unknown, or both options are given.
        ModelUnavailable: a model cannot be served now.
    """
    models, named = call.models, call.options.models
    alone, registry = models.choice.model, models.registry
    if named is None:
        names = (alone,) if alone else registry.chain(registry.serving(TASK))
    elif alone is not None:
        raise UsageError(
            "--models and --model exclude each other", hint="Name all models in --models."
        )
    else:
        names = tuple(dict.fromkeys(name.strip() for name in named.split(",")))
    found: dict[str, str] = {}
    for name in names:
        registry.named(name)
        resolution = replace(models, choice=Choice(name)).resolve(TASK, {})
        found[name] = models.entry_of(resolution).form
    return found


@contextlib.contextmanager
def compared(
    call: Call, subject: Subject, db: sqlite3.Connection, path: Path, models: Mapping[str, str]
) -> Iterator[ModelRunner]:
    """Announce a comparison, and yield a `ModelRunner` while a progress bar is shown.

    Args:
        path: the file of the corpus `db`.
        models: the reply format of each model. A model that only quotes abstracts has neither a
            prompt nor a seed, so it annotates no paper again.
    """
    papers, options, wanted = subject.papers, call.options, call.options.consistency
    if wanted is None:
        wanted = REPEATED if len(papers) >= LEAST_PAPERS else 0
    repeated, times = papers[:wanted], len(tuple(variations(subject.framework)))
    writing = sum(form != QuotesForm.name for form in models.values())
    every = [*papers] * (1 + options.unconstrained) * len(models) + [*repeated] * times * writing
    count, weight = len(every), sum(len(paper.abstract) for paper in every)
    again = (
        f", and {len(repeated):,} of them {times} times more (not with --consistency 0)"
        if repeated and writing
        else ""
    )
    call.screen.notice(
        f"{subject.source.name}: {counted(len(papers), 'paper')} for "
        f"{counted(len(models), 'model')}{again}: {counted(count, 'annotation')}; "
        "annotations of earlier runs are used again"
    )
    pace = ProgressEstimate(count, weight, unit="annotations")
    with show_progress(pace, call.screen, "annotating") as update:
        yield ModelRunner(call, subject, db, path, pace, update, len(repeated))


@dataclass(frozen=True, slots=True)
class ModelRunner:
    """Run models on the papers of `subject`, and store their annotations in the corpus.

    Attributes:
        path: the file of the corpus `db`.
        pace: the progress of all models.
        update: redraws the progress bar.
        repeated: number of papers at the beginning of the input to annotate in all variations.
    """

    call: Call
    subject: Subject
    db: sqlite3.Connection
    path: Path
    pace: ProgressEstimate
    update: Callable[[], None]
    repeated: int

    def run(self, name: str) -> Annotator:
        """Annotate the papers that a model has not annotated yet, and return the model's answers.

        Args:
            name: the name of the model in the registry.

        Raises:
            HarnessError: the work was stopped. Finished annotations are stored; the hint states how
                to continue.
        """
        # Only one model is loaded at a time: two models may not fit into memory, and the report
        # states the memory that each model needs.
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
        rows = [self._row(record) for record in records]
        if self.call.options.unconstrained:
            free = FreeJob(*context, **shared)
            self._run(free, f"{name}, without constrained output")
            for row, record in zip(rows, self._records(free, failed), strict=True):
                row["valid_freely"] = record is not None and record["provenance"]["in_order"]
        self._repeat(name, rows, model, failed)
        facts = {
            "model": model.resolution.resolved,
            "served": model.resolution.chosen.serve.label,
            "form": model.entry.form,
            "digests": dict(model.digests),
            "slots": model.slots,
            "answered_by": model.about,
            "failed": dict(failed.most_common()),
            "speed": job.speed(),
        }
        return Annotator(name, [Answer(**row) for row in rows], facts)

    def _repeat(
        self, name: str, rows: Sequence[Record], model: ServedModel, failed: Counter[str]
    ) -> None:
        """Annotate the first papers again in every variation, and add the moves to `rows`.

        Papers without an annotation are left out, since a variation would become their current
        annotation. A model that only quotes abstracts annotates nothing again.

        Args:
            rows: the fields of the `Answer` for each paper; the key "again" is added.
            failed: the number of failures by class of error; the method adds faults of the run.
        """
        if quotes(model):
            return
        every = tuple(variations(self.subject.framework))
        answered: list[tuple[Paper, Record]] = []
        for paper, row in list(zip(self.subject.papers, rows, strict=True))[: self.repeated]:
            if row["moves"] is not None:
                answered.append((paper, row))
            else:
                self.pace.rows -= len(every)
                self.pace.weight -= len(every) * len(paper.abstract)
        if not answered:
            return
        papers = [paper for paper, _ in answered] * len(every)
        source = plan.from_papers(self.subject.source.name, papers)
        job = RepeatedJob(
            *(self.call, source, self.subject.framework, model, self.db),
            pace=self.pace,
            update=self.update,
            variations=every,
        )
        self._run(job, f"{name}, again in {len(every)} variations")
        records = iter(self._records(job, failed))
        for _, row in answered:
            row["again"] = {"seeds": [], "prompts": [row["moves"]]}
        for variation in every:
            for _, row in answered:
                row["again"][variation.kind].append(self._moves(next(records)))

    def _run(self, job: ComparedJob, phase: str) -> None:
        self.pace.phase = phase
        self.update()
        finished = run_job(job, self.path)
        if finished.stopped is not None:  # `run_job` has stored the summary
            raise finished.stopped

    def _records(
        self, job: ComparedJob, failed: Counter[str], *, of_papers: bool = False
    ) -> list[Record | None]:
        """Return the stored annotation of each row of a job, or None after a failure.

        Args:
            failed: the number of failures by class of error; the method adds failures of the job.
            of_papers: True to add all failures; False to add only faults of the run.
        """
        for entry in job.plan.entries("failed"):
            error = store.error_type(self.db, entry.key)
            failed[error] += of_papers or error not in MODEL_ERRORS
        found = dict(job.annotations(self.db))
        return [dict(found[at].record) if at in found else None for at in range(job.rows)]

    def _row(self, record: Record | None) -> Record:
        """Return the fields of the `Answer` for a stored annotation, or for a failure (None)."""
        if record is None:
            return {"moves": None, "valid": False, "tokens": None}
        made_by = record["provenance"]
        row: Record = {
            "moves": self._moves(record),
            "valid": made_by["attempts"] == 1,
            "tokens": (made_by["tokens"]["prompt"], made_by["tokens"]["completion"]),
        }
        confidence = confidence_of(record.get("confidence"), self.subject.framework.names)
        beside = {"anchors": record.get("anchors"), "confidence": confidence}
        return row | {name: value for name, value in beside.items() if value}

    def _moves(self, record: Record | None) -> Moves | None:
        return record and {move: record[move] for move in self.subject.framework.names}


@dataclass
class ComparedJob(AnnotateJob):
    """A job that annotates papers as /annotate does, for a comparison.

    Attributes:
        pace: the progress of the whole comparison.
        update: redraws the progress bar.
    """

    command: ClassVar[str] = "evaluate"

    pace: ProgressEstimate = field(kw_only=True)
    update: Callable[[], None] = field(kw_only=True)

    def notice(self, text: str) -> None:
        """Print nothing: the comparison is announced and reported as a whole."""

    def _announce(self, due: int) -> None:
        """Subtract the rows that need no new annotation from the total of the progress bar."""
        every = sum(total.weight for total in self.plan.totals().values())
        _, left = self._due()
        self.pace.rows -= len(self.plan) - due
        self.pace.weight -= every - left
        self.update()

    def _in_planning(self) -> contextlib.AbstractContextManager[Callable[[str], None]]:
        """Return a context manager that shows nothing: the comparison has one progress bar."""
        return contextlib.nullcontext(lambda status: None)

    @contextlib.contextmanager
    def _in_progress(
        self, due: int, weight: int
    ) -> Iterator[tuple[ProgressEstimate, Callable[[], None]]]:
        yield self.pace, self.update

    def _save(self, item: Annotated) -> None:
        store.save(self.db, item, self.framework, self.run_id, unless_any=True)

    def _is_due(self, state: store.State | None) -> bool:
        # With --retry-failed, this job also annotates new papers, unlike /annotate, since the
        # comparison needs an annotation of each paper.
        return state is None or (state == "failed" and self.call.options.retry_failed)

    def _link(self) -> None:
        """Do nothing, so that the current annotations of papers stay the same."""

    def speed(self) -> dict[str, Any]:
        """Return the fields of `Speed`, computed over all comparable runs.

        A run of /annotate or /evaluate is comparable if it has the input, the model and the
        settings of this job.
        """
        rows = self.db.execute(
            "SELECT settings, summary FROM runs WHERE skill IN ('annotate', 'evaluate')"
            " AND input = ? AND model = ? AND summary IS NOT NULL",
            [self.source.name, self.model.resolution.resolved],
        )
        settings = json.loads(json.dumps(self._settings()))
        summaries = [
            stored_json(row["summary"])
            for row in rows
            # Runs with different numbers of papers ("due") are comparable.
            if {**stored_json(row["settings"]), "due": None} == {**settings, "due": None}
        ]
        # Failed papers are included, since the seconds include their time.
        papers = sum(one.get("made", 0) + one.get("failed_now", 0) for one in summaries)
        seconds = sum(one.get("seconds", 0.0) for one in summaries)
        memory = max((one.get("memory") or 0 for one in summaries), default=0)
        rate = round(papers / seconds * 60, 1) if papers and seconds else None
        return {"papers_per_minute": rate, "papers": papers, "memory": memory or None}


@dataclass
class RepeatedJob(ComparedJob):
    """The job that annotates papers again; `source` has all papers once for each variation."""

    variations: Sequence[Variation] = field(kw_only=True)

    @functools.cached_property
    def _annotators(self) -> list[annotator.Annotator]:
        return [replace(self.annotator, framework=one.framework) for one in self.variations]

    def prepare(self, place: int) -> Prepared:
        """Return the request for a row; rows are ordered by variation, and then by paper."""
        number = place * len(self.variations) // self.rows
        made = self._annotators[number].prepare(self.paper(place))
        sampling = self.variations[number].sampling
        return _changed(made, sampling, sampling)

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "variations": len(self.variations)}


@dataclass(frozen=True)
class FreeAnnotator(annotator.Annotator):
    """An annotator without constrained output, with one attempt and separate content keys."""

    def prepare(self, paper: Paper) -> Prepared:
        made = super().prepare(paper)
        request = {"json_schema": None, "grammar": None}
        return _changed(made, request, {"attempts": 1}, schema_sha256=None, decoding=None)

    def annotate(self, prepared: Prepared, on_text: OnText | None = None) -> dict[str, Any]:
        reply = self.model.generate(prepared.request, on_text)
        try:
            moves = prepared.form.read(reply, prepared.paper.abstract)
        except UnusableReply as exc:
            raise InvalidReply(
                f"the first answer is not a valid annotation: {exc}", raw=reply.text
            ) from exc
        # `read` returns the moves in the order of the framework, but `parse` in the order of the
        # reply.
        in_order = tuple(prepared.form.parse(reply.text)) == self.framework.names
        return stored_form(prepared, moves, [reply], in_order=in_order)


class FreeJob(ComparedJob):
    """The job that annotates the papers without constrained output."""

    @functools.cached_property
    def annotator(self) -> annotator.Annotator:
        options = self.call.options
        return FreeAnnotator(self.model, self.framework, options.max_tokens, options.wording)

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "constraint": "unconstrained"}


def _changed(
    made: Prepared, request: Mapping[str, Any], sampling: Mapping[str, Any], **provenance: Any
) -> Prepared:
    """Return a copy of a prepared request with changed fields and a new content key.

    Args:
        request: new values of fields of the request.
        sampling: new values for the sampling settings in the provenance.
        provenance: new values for other keys of the provenance.
    """
    known = {**made.provenance, **provenance}
    known["sampling"] = {**known["sampling"], **sampling}
    known["key"] = key_of(known)
    return replace(made, request=replace(made.request, **request), provenance=known)
