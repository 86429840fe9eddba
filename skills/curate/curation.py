"""The run of /curate: read the input, judge it, decide, and report."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.api.skill import Call, Result
from harness.errors import ModelUnavailable
from harness.models.served import ServedModel
from harness.runs.invocation import as_path
from harness.support.process_lock import job_lock
from skills.corpus.db import damage, runs
from skills.corpus.db.connection import database, locks, open_corpus
from skills.corpus.tables.columns import Columns
from skills.curate import building, results
from skills.curate.curator import Judge
from skills.curate.inputs import items, probes
from skills.curate.inputs.items import Input, Item
from skills.curate.job import CurateJob
from skills.curate.judging import judging
from skills.curate.panel import panel
from skills.curate.panel.panel import Panel
from skills.curate.report.summary import Run
from skills.curate.statistics import calibration, decisions
from skills.curate.store import judges, output_paths
from skills.curate.store.verdicts import Criteria, Verdict, decide
from skills.nanda.framework import Framework

SEED = 0
"""Seed of the probes: the same annotations give the same probes."""


def curate(call: Call, framework: Framework) -> Result:
    """Judge the annotations of a table or of the corpus, and keep the good ones."""
    options = call.options
    own_panel = panel.load(options.personas) if options.personas else panel.shipped()
    own_panel.check_moves(framework, options.personas or panel.PERSONAS)
    decisions.check_min_votes(len(own_panel.personas), options.min_votes)
    path = database(call)
    table = None if call.text.strip() == items.CORPUS else as_path(call.text.strip())
    output_paths.check(call, table, path)  # before the corpus is opened, which creates it
    if options.build is not None:
        building.check(call, framework)
    with open_corpus(path) as db:
        damage.refuse(db, path)
        with call.screen.progress("checking the annotations by the gates"):
            source = _source(call, table, db, framework)
            source.refused.report(call.screen)
            good = [(item.paper, item.moves) for item in source.items if not item.findings]
            known_bad = tuple(probes.make(good, framework, options.probes, SEED, most=len(good)))
        curation = Curation(call, framework, own_panel, source, known_bad, db, path)
        job = f"the curation of {source.path.resolve() if source.path else source.name}"
        with job_lock(locks(path), job):
            if all(item.findings for item in source.items):
                return curation.decide_by_gates()
            return call.models.run("judge", curation.judge_by, slots=options.workers)


def _source(call: Call, table: Path | None, db: sqlite3.Connection, framework: Framework) -> Input:
    options = call.options
    if table is None:
        return items.from_corpus(db, framework, options.limit)
    columns = Columns(options.abstract_column, options.id_column, options.title_column)
    return items.from_table(db, table, columns, framework, options.limit, call.screen.notice)


@dataclass(frozen=True, slots=True)
class Curation:
    """One run of /curate.

    Attributes:
        path: the corpus database that `db` is connected to.
    """

    call: Call
    framework: Framework
    panel: Panel
    source: Input
    probes: tuple[Item, ...]
    db: sqlite3.Connection
    path: Path

    def decide_by_gates(self) -> Result:
        """Report an input that the gates reject completely; no model is loaded.

        Raises:
            InputError: thresholds cannot be set, since nothing is judged.
        """
        options, started = self.call.options, time.monotonic()
        self.call.models.candidates("judge")  # checks `--model`
        if options.calibrate:
            calibration.calibrate((), 0, options.reject_rate, options.min_votes)
        run_id = 0
        with runs.recorded(self.db, lambda: run_id):
            run_id = self._start(None)
            self.call.screen.notice(
                f"{self.source.name}: {len(self.source.items):,} annotations, all rejected by the "
                "gates: nothing is left to judge, and no model is loaded"
            )
            criteria = Criteria(self.panel.thresholds, options.min_votes)
            found = [decide(item, None, criteria) for item in self.source.items]
            run = self._run(None, criteria, found)
            return results.finish(self, run_id, run, None, time.monotonic() - started)

    def judge_by(self, model: ServedModel) -> Result:
        """Judge the input by a model, and report.

        Raises:
            ModelUnavailable: the model went away before it had judged anything.
        """
        options, run_id = self.call.options, 0
        with self.call.cancel.on_signals(), runs.recorded(self.db, lambda: run_id):
            run_id, started = self._start(model), time.monotonic()
            with judging(self, model, run_id) as job:
                tally = job.run()
                if isinstance(tally.stopped, ModelUnavailable) and not tally.done:
                    raise tally.stopped
                criteria = self._criteria(job, is_complete=tally.stopped is None)
                found = job.verdicts(criteria)
                if options.explain and tally.stopped is None:
                    tally = job.explain(found)
                    found = job.verdicts(criteria)
            run, seconds = self._run(job.judge, criteria, found), time.monotonic() - started
            return results.finish(self, run_id, run, tally.stopped, seconds)

    def _start(self, model: ServedModel | None) -> int:
        name = ""
        settings: dict[str, Any] = {
            "framework": self.framework.digest,
            "panel": self.panel.digest,
            "min_votes": self.call.options.min_votes,
        }
        if model is not None:
            name, served = model.resolution.resolved, model.resolution.chosen.serve.label
            if before := judges.other_judge(self.db, self.source.name, model):
                self.call.screen.notice(
                    f"{self.source.name} was judged by {before} before; {name} ({served}) is "
                    "another judge, whose votes are all requested again"
                )
            settings |= {
                "judge": judges.judge_id(model),
                "digests": dict(model.digests),
                "served": served,
                "slots": model.slots,
            }
        source = self.source.name
        return runs.start(self.db, skill="curate", source=source, model=name, settings=settings)

    def _run(self, judge: Judge | None, criteria: Criteria, found: list[Verdict]) -> Run:
        of_input = len(self.source.items)
        own, bad = found[:of_input], found[of_input:]
        return Run(self.source, self.framework, self.panel, judge, criteria, own, bad)

    def _criteria(self, job: CurateJob, *, is_complete: bool) -> Criteria:
        """Return the criteria: calibrated now or in an earlier run, or the defaults."""
        options = self.call.options
        criteria = judges.load_criteria(self.db, job.judge, options.min_votes)
        if not options.calibrate or not is_complete:
            return criteria
        of_input = job.verdicts(criteria)[: len(self.source.items)]
        scores = [verdict.scores for verdict in of_input if verdict.scores]
        gated = sum(bool(item.findings) for item in self.source.items)
        thresholds, achieved, why = calibration.calibrate(
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
        judges.save_criteria(self.db, job.judge, criteria)
        return criteria
