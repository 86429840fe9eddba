"""The steps of a run of /curate: read the input, judge it, decide, and report.

As in `skills.annotate.job`, the corpus stores votes and failures under content keys. Therefore the
same line continues an interrupted job, and no vote is requested twice.
"""

from __future__ import annotations

import functools
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from harness.api.skill import Call, Result, Write
from harness.errors import HarnessError, InputError, ModelUnavailable
from harness.models.served import ServedModel, Usage
from harness.runs.invocation import as_path
from harness.runs.jobs import Job, Tally
from harness.runs.progress import ProgressEstimate, show_progress
from harness.support.process import job_lock
from skills.annotate.table import add_hint
from skills.corpus import exporters
from skills.corpus.db import papers as paper_rows
from skills.corpus.db import runs
from skills.corpus.db.connection import database, locks, open_corpus, refuse_damaged
from skills.corpus.records import Annotated
from skills.corpus.tables.columns import Columns
from skills.curate import (
    ballots,
    items,
    panel,
    panel_statistics,
    probes,
    report_files,
    report_text,
    run_summary,
)
from skills.curate.ballots import Ballots, key_of, save_verdicts
from skills.curate.curator import Criteria, Judge, Verdict, Vote, decide
from skills.curate.items import Input, Item
from skills.curate.outputs import VoteForm
from skills.curate.panel import Panel, choose_form, form_sample
from skills.curate.run_summary import Run
from skills.nanda.framework import Framework
from skills.nanda.text import counted


def curate(call: Call, framework: Framework) -> Result:
    """Judge the annotations of a table or of the corpus, and return the report and the files."""
    options = call.options
    own_panel = panel.load(options.personas) if options.personas else panel.shipped()
    own_panel.check_moves(framework, options.personas or panel.PERSONAS)
    panel_statistics.check_min_votes(len(own_panel.personas), options.min_votes)
    path = database(call)
    table = None if call.text.strip() == items.CORPUS else as_path(call.text.strip())
    report_files.check(call, table, path)  # before `open_corpus`, which may create a file
    if options.build is not None:
        report_files.check_build(call, framework)
    with open_corpus(path) as db:
        refuse_damaged(db, path)
        with call.screen.progress("checking the annotations by the gates"):
            if table is None:
                source = items.from_corpus(db, framework, options.limit)
            else:
                columns = Columns(options.abstract_column, options.id_column, options.title_column)
                notice = call.screen.notice
                source = items.from_table(db, table, columns, framework, options.limit, notice)
            source.refused.report(call.screen)
            good = [(item.paper, item.moves) for item in source.items if not item.findings]
            known_bad = tuple(probes.make(good, framework, options.probes, most=len(good)))
        curation = Curation(call, framework, own_panel, source, known_bad, db, path)
        job = f"the curation of {source.path.resolve() if source.path else source.name}"
        with job_lock(locks(path), job):
            if all(item.findings for item in source.items):
                return curation.decide_by_gates()
            return call.models.run("judge", curation.judge_by, slots=options.workers)


@dataclass(frozen=True, slots=True)
class Curation:
    """One run of /curate.

    Attributes:
        probes: the known-bad annotations that are mixed in.
        path: the file of the corpus `db`.
    """

    call: Call
    framework: Framework
    panel: Panel
    source: Input
    probes: tuple[Item, ...]
    db: sqlite3.Connection
    path: Path

    def decide_by_gates(self) -> Result:
        """Return the result of a run in which the gates reject every annotation.

        No model is loaded.

        Raises:
            InputError: --calibrate is given, which needs judged annotations.
        """
        options, started = self.call.options, time.monotonic()
        self.call.models.candidates("judge")  # checks `--model`
        if options.calibrate:
            panel_statistics.calibrate((), 0, options.reject_rate, options.min_votes)
        run_id = 0
        with runs.recorded(self.db, lambda: run_id):
            run_id = self._start(None)
            self.call.screen.notice(
                f"{self.source.name}: the gates rejected all annotations: "
                "nothing is left to judge, and no model is loaded"
            )
            criteria = Criteria(self.panel.thresholds, options.min_votes)
            found = [decide(item, None, criteria) for item in self.source.items]
            return self._finish(run_id, None, criteria, found, None, started)

    def judge_by(self, model: ServedModel) -> Result:
        """Judge the annotations with a model, and return the result of the run.

        Raises:
            ModelUnavailable: the model became unavailable before any annotation was judged.
        """
        options, run_id = self.call.options, 0
        with self.call.cancel.on_signals(), runs.recorded(self.db, lambda: run_id):
            run_id, started = self._start(model), time.monotonic()
            items, name = self.source.items, self.source.name
            gated = sum(bool(item.findings) for item in items)
            facts = [f"{counted(len(items), 'annotation')}, {gated:,} rejected by the gates"]
            facts += [f"{n:,} left out ({why})" for why, n in self.source.filtered.items()]
            self.call.screen.notice(f"{name}: {'; '.join(facts)}")
            judge = Judge(self.panel, model, self.framework, self._form(model))
            job = CurateJob(self.call, self.source, self.probes, Ballots(self.db, judge, run_id))
            bad = sum(bool(item.probe) for item in job.due)
            work = f"{len(job.due):,} to judge, {model.slots} at a time"
            work += f", {counted(bad, 'known-bad one')} among them" * bool(bad)
            self.call.screen.notice(f"{name}: {work}")
            runs.set_due(self.db, run_id, len(job.due))
            with show_progress(job.pace, self.call.screen, "judging") as update:
                job.update = update
                tally = job.run()
                if isinstance(tally.stopped, ModelUnavailable) and not tally.done:
                    raise tally.stopped
                criteria = self._criteria(job, is_complete=tally.stopped is None)
                found = job.verdicts(criteria)
                if options.explain and tally.stopped is None:
                    tally = job.explain(found)
                    found = job.verdicts(criteria)
            return self._finish(run_id, judge, criteria, found, tally.stopped, started)

    def _form(self, model: ServedModel) -> VoteForm:
        """Return the stored vote form of a judge, or measure and return the form of a new judge.

        The measured form is stored, unless the judge cannot answer with it or no annotation could
        be measured.
        """
        if form := ballots.load_form(self.db, model, self.panel):
            return form
        sample = form_sample([item for item in self.source.items if not item.findings])
        on = counted(len(sample), "annotation")
        self.call.screen.notice(f"the judge is new: its votes are first measured on {on}")
        with self.call.screen.progress("measuring how the judge votes") as tick:
            form = choose_form(self.panel, model, self.framework, sample, tick)
        if form.kind == "json" or (form.mass is not None and form.can_answer):
            form = ballots.save_form(self.db, model, self.panel, form)
        return form

    def _start(self, model: ServedModel | None) -> int:
        name = ""
        settings: dict[str, Any] = {
            "framework": self.framework.digest,
            "panel": self.panel.digest,
            "min_votes": self.call.options.min_votes,
        }
        if model is not None:
            name, served = model.resolution.resolved, model.resolution.chosen.serve.label
            if before := ballots.other_judge(self.db, self.source.name, model):
                self.call.screen.notice(
                    f"{self.source.name} was judged by {before} before; {name} ({served}) is "
                    "another judge, so that all votes are requested again"
                )
            settings |= {
                "judge": ballots.judge_id(model),
                "digests": dict(model.digests),
                "served": served,
                "slots": model.slots,
            }
        source = self.source.name
        return runs.start(self.db, skill="curate", source=source, model=name, settings=settings)

    def _criteria(self, job: CurateJob, *, is_complete: bool) -> Criteria:
        """Return the stored or default criteria; with --calibrate, compute and store new criteria.

        Args:
            is_complete: False if the job was stopped early, which prevents a calibration.
        """
        options = self.call.options
        criteria = ballots.load_criteria(self.db, job.judge, options.min_votes)
        if not options.calibrate or not is_complete:
            return criteria
        of_input = job.verdicts(criteria)[: len(self.source.items)]
        scores = [verdict.scores for verdict in of_input if verdict.scores]
        gated = sum(bool(item.findings) for item in self.source.items)
        thresholds, achieved, why = panel_statistics.calibrate(
            scores, gated, options.reject_rate, options.min_votes
        )
        calibrated = {
            "input": self.source.name,
            "reject_rate": options.reject_rate,
            "achieved": round(achieved, 4),
            "annotations": len(scores) + gated,
            "why": why,
        }
        criteria = Criteria(thresholds, options.min_votes, calibrated)
        ballots.save_criteria(self.db, job.judge, criteria)
        return criteria

    def _finish(
        self,
        run_id: int,
        judge: Judge | None,
        criteria: Criteria,
        verdicts: Sequence[Verdict],
        stopped: HarnessError | None,
        started: float,
    ) -> Result:
        """Summarise a run, record it in the corpus, and return its report and files.

        Args:
            verdicts: the verdicts on the annotations of the input, then on the probes.
            stopped: the error that ended the run early, or None. This method extends the hint of
                the error by a sentence on how to continue.
            started: the time at which the run began, from `time.monotonic`.
        """
        call, db, path, raw = self.call, self.db, self.path, self.call.options.raw
        own, bad = verdicts[: len(self.source.items)], verdicts[len(self.source.items) :]
        run = Run(self.source, self.framework, self.panel, judge, criteria, own, bad)
        save_verdicts(db, run_id, verdicts)
        found = run_summary.of_run(run)
        judged = items.records(db, [verdict.item for verdict in run.judged], run.framework)
        found.verdict = report_text.verdict_of(found)
        found.notes = report_text.notes_of(run, found, report_text.made_by_the_judge(run, judged))
        usage = run.judge.model.usage if run.judge else Usage()
        found.tokens = {"prompt": usage.prompt_tokens, "completion": usage.completion_tokens}
        found.seconds = round(time.monotonic() - started, 1)
        found.database, found.run = str(path), run_id
        summary = found.model_dump(mode="json", exclude_unset=True)
        if stopped is not None:
            done = sum(
                bool(one.ballot or one.error or (one.item.findings and not one.item.probe))
                for one in verdicts
            )
            kept = (
                f"{done:,} of {len(verdicts):,} annotations and probes are judged, and their votes "
                "are stored; the same command continues from there."
            )
            add_hint(stopped, kept)
        failed = found.failed + (found.probes.failed if found.probes else 0)
        runs.finish(db, run_id, runs.status_of(stopped, failed), summary)
        dataset: Mapping[str, Write] = {}
        if call.options.build is not None and stopped is None:
            try:
                dataset = report_files.build_files(call, run)
            except InputError as error:  # the other results are still saved
                stopped = error
        text = report_text.text(found, details=call.options.details, is_saved=bool(call.targets))
        if call.targets:
            call.screen.notice(text)
            _warn_without_abstracts(call, db, run)
        tables = [target for target in call.targets if target.suffix.lower() == ".csv"]
        following = ""
        if tables and found.kept and stopped is None:
            given = f"--agent {call.text.strip()} --curated {tables[0]}"
            following = f"/finetune dataset {given} save to train.jsonl"
        return Result(
            text,
            writers=exporters.Export(
                run.framework,
                run.source.id_column,
                lambda: _kept(run, path),
                lambda: iter(()),
                title=f"Curated: {run.source.name}",
                about={"input": run.source.name, "kept": found.kept, "run": run_id},
                raw=raw,
            ).writers(),
            records=lambda: (item.record for item in _kept(run, path)),
            companions={
                "rejected": lambda file: report_files.write_rejected(file, run, raw=raw),
                "log": lambda file: report_files.write_log(file, run, summary),
                "report": lambda file: report_files.write_html(file, run, found),
                **dataset,
            },
            summary=summary,
            exit_code=1 if failed or run.source.refused else 0,
            stopped=stopped,
            next=following,
        )


def _warn_without_abstracts(call: Call, db: sqlite3.Connection, run: Run) -> None:
    """Warn if a .jsonl target cannot be read again because the corpus lacks kept papers."""
    saved = [str(target) for target in call.targets if target.suffix.lower() == ".jsonl"]
    papers = [verdict.item.paper for verdict in run.verdicts if verdict.decision == "kept"]
    lost = sum(paper_rows.row_id(db, paper) is None for paper in papers)
    if saved and lost:
        call.screen.notice(
            f"{', '.join(saved)} has no abstracts, and {lost:,} of {len(papers):,} papers are not "
            f"in the corpus: run `/corpus add {run.source.name}` before the file is read again, or "
            "save a .csv or .parquet file"
        )


def _kept(run: Run, path: Path) -> Iterator[Annotated]:
    kept = [verdict.item for verdict in run.verdicts if verdict.decision == "kept"]
    with open_corpus(path) as db:
        yield from items.records(db, kept, run.framework)


@dataclass
class CurateJob:
    """The job that judges the annotations of `source` and the probes made from them.

    Annotations that a gate rejects are not judged. All probes are judged, so that the panel can be
    measured without the gates. If the judge cannot answer, nothing is judged.

    Attributes:
        update: redraws the progress.
    """

    call: Call
    source: Input
    probes: Sequence[Item]
    ballots: Ballots
    update: Callable[[], None] = lambda: None
    _slots: SimpleQueue[int] = field(default_factory=SimpleQueue)
    _votes: SimpleQueue[tuple[Item, Vote]] = field(default_factory=SimpleQueue)
    _known: dict[str, dict[str, Vote]] = field(default_factory=dict)

    @property
    def judge(self) -> Judge:
        return self.ballots.judge

    @functools.cached_property
    def due(self) -> list[Item]:
        """The items to judge.

        With --retry-failed, these are the items that failed. Otherwise, these are the items without
        a complete ballot and without a failure. Of equal annotations, which have the same ballot,
        only the first is included.
        """
        retry = self.call.options.retry_failed
        due: dict[str, Item] = {}
        for item in (*self.source.items, *self.probes):
            if not self._is_judged(item) or (key := key_of(item, self.judge)) in due:
                continue
            found = self.ballots.find(item)
            if isinstance(found, str) if retry else found is None:
                due[key] = item
        return list(due.values())

    @functools.cached_property
    def pace(self) -> ProgressEstimate:
        """The progress of the job, and of the requests for explanations after the job."""
        weight = sum(len(item.paper.abstract) for item in self.due)
        return ProgressEstimate(len(self.due), weight, unit="annotations")

    def run(self) -> Tally:
        """Judge the items in `due`, store their votes, and return the counts."""
        self._known = {key_of(item, self.judge): self.ballots.begun(item) for item in self.due}
        slots, stop = self.judge.model.slots, self.call.cancel
        for slot in range(slots):
            self._slots.put(slot)
        job = Job(self._perform, self._save, self._save_failure, slots, stop, self._save_votes)
        return job.run(self.due)

    def explain(self, verdicts: Sequence[Verdict]) -> Tally:
        """Request and store reasons for the rejections by the panel, and return the counts.

        A reason is requested from the persona whose score is furthest below its threshold, unless a
        reason for the rejection is stored already.
        """
        due = [
            one
            for one in verdicts
            if one.decision == "rejected"
            and one.ballot
            and not (one.item.findings or one.item.probe or one.ballot.explanations)
        ]
        self.pace.phase = "explaining"
        self.pace.weight += sum(len(one.item.paper.abstract) for one in due)
        slots, stop = self.judge.model.slots, self.call.cancel
        return Job(self._request_reason, self._save_reason, self._skip_reason, slots, stop).run(due)

    def verdicts(self, criteria: Criteria) -> list[Verdict]:
        """Return the verdict on each annotation of the input, then on each probe."""
        return [
            decide(
                item,
                self.ballots.find(item) if self._is_judged(item) else None,
                criteria,
                panel_votes=self.judge.form.can_answer,
            )
            for item in (*self.source.items, *self.probes)
        ]

    def _is_judged(self, item: Item) -> bool:
        return self.judge.form.can_answer and (bool(item.probe) or not item.findings)

    def _perform(self, item: Item) -> tuple[Vote, ...]:
        known = self._known[key_of(item, self.judge)]

        def on_vote(vote: Vote) -> None:
            if vote.score is not None:
                known[vote.persona] = vote  # a new try must not request this vote again
                self._votes.put((item, vote))

        slot = self._slots.get()
        try:
            return self.judge.votes(item, slot, dict(known), on_vote)
        finally:
            self._slots.put(slot)

    def _save_votes(self) -> None:
        """Store the votes that worker threads have put into the queue."""
        while not self._votes.empty():
            self.ballots.save_vote(*self._votes.get())

    def _save(self, item: Item, votes: tuple[Vote, ...]) -> None:
        self.ballots.save(item, votes)
        tokens = sum(vote.prompt_tokens - vote.cached_tokens for vote in votes)
        self.pace.finish_row(item.where, len(item.paper.abstract), tokens)
        self.update()

    def _save_failure(self, item: Item, error: Exception) -> None:
        self.ballots.save_failure(item, error)
        self.pace.finish_row(item.where, len(item.paper.abstract), None)
        self.update()

    def _request_reason(self, verdict: Verdict) -> str:
        return self.judge.explain(verdict.item, self.judge.panel.personas[_furthest(verdict)])

    def _save_reason(self, verdict: Verdict, text: str) -> None:
        assert verdict.ballot is not None
        persona = self.judge.panel.names[_furthest(verdict)]
        self.ballots.save_explanation(verdict.ballot, persona, text)
        self.pace.add_work(len(verdict.item.paper.abstract), len(text.split()))
        self.update()

    def _skip_reason(self, verdict: Verdict, error: Exception) -> None:
        self.call.screen.notice(f"{verdict.item.where}: not explained: {error}")
        self.pace.add_work(len(verdict.item.paper.abstract), None)
        self.update()


def _furthest(verdict: Verdict) -> int:
    """Return the index of the persona whose score is furthest below its threshold."""
    against = [i for i, passed in enumerate(verdict.passes) if passed is False]
    return min(against, key=lambda i: (verdict.scores[i] or 0.0) - verdict.thresholds[i])
