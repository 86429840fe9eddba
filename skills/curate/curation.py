"""/curate from its line to its result: read, ask, decide, sum up."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.skill import Call, Result
from harness.errors import ModelUnavailable, UsageError
from harness.models.pool import ServedModel
from harness.runs.grammar import as_path
from harness.runs.jobs import Tally
from harness.runs.process_lock import job_lock
from skills.corpus.db import runs
from skills.corpus.db.connection import default_path, locks, open_corpus
from skills.corpus.tables.columns import Columns
from skills.curate import results
from skills.curate.curator import Judge, VoteForm
from skills.curate.inputs import gates, items, probes
from skills.curate.inputs.items import Input, Item
from skills.curate.job import CurateJob
from skills.curate.panel import judges, panel
from skills.curate.panel.panel import Panel
from skills.curate.panel.vote_mode import choose_form, is_settled
from skills.curate.report.summary import Run
from skills.curate.results import Desk
from skills.curate.statistics import calibration, decisions
from skills.curate.store import sidecars, verdicts
from skills.curate.store.verdicts import Bar
from skills.nanda.framework import Framework

if TYPE_CHECKING:
    from sqlite_utils import Database

SEED = 0
"""Of the probes: the same annotations give the same ones."""


def curate(call: Call, framework: Framework) -> Result:
    """Judge the annotations of a table or of the corpus, and keep the good ones."""
    own = call.options.personas
    personas = panel.load(own) if own else panel.shipped()
    personas.check_moves(framework, own or panel.PERSONAS)
    decisions.check_bar(len(personas.personas), call.options.min_votes)
    path = call.options.db or default_path(call.settings)
    table = None if call.text.strip() == items.CORPUS else as_path(call.text.strip())
    _refuse_input(call, table, path)  # before the corpus, which opening makes
    with open_corpus(path) as db:
        with call.screen.progress("holding the annotations against the gates"):
            source = _source(call, table, db, framework)
            known_bad = _probes(call, source, framework)
        curation = Curation(call, framework, personas, source, known_bad, path)
        job = f"the curation of {source.path.resolve() if source.path else source.name}"
        with job_lock(locks(path), job):
            if all(item.findings for item in source.items):
                return curation.by_nobody(db)
            return call.models.run(
                "judge", lambda model: curation.by(model, db), slots=call.options.workers
            )


@dataclass(frozen=True, slots=True)
class Curation:
    """One run: what is judged, by whom and against what."""

    call: Call
    framework: Framework
    panel: Panel
    source: Input
    probes: tuple[Item, ...]
    path: Path

    def by_nobody(self, db: Database) -> Result:
        """Hand back what the gates alone have decided; no model is loaded for it.

        Raises:
            InputError: thresholds cannot be set where nothing is judged.
        """
        options, started = self.call.options, time.monotonic()
        self.call.models.candidates("judge")  # `--model` must name one all the same
        if options.calibrate:
            gated = len(self.source.items)
            calibration.calibrate((), gated, options.reject_rate, options.min_votes)
        run_id = 0
        with runs.noted(db, lambda: run_id):
            run_id = runs.start(
                db, skill="curate", source=self.source.name, model="", settings=self._settings()
            )
            self.call.screen.notice(
                f"{self.source.name}: {len(self.source.items):,} annotations, all rejected by the "
                "gates: nothing is left to judge, and no model is loaded"
            )
            bar = Bar(self.panel.thresholds, options.min_votes)
            found = [verdicts.decide(item, None, None, bar) for item in self.source.items]
            run = Run(self.source, self.framework, self.panel, None, bar, found, ())
            desk = Desk(self.call, db, self.path, run_id)
            return results.finish(desk, run, None, time.monotonic() - started)

    def by(self, model: ServedModel, db: Database) -> Result:
        """Have `model` judge, and hand back what came of it.

        Raises:
            ModelUnavailable: it went away before it had judged anything.
        """
        judge = Judge(self.panel, model, self.framework, self._form(model, db))
        job = CurateJob(self.call, self.source, self.probes, judge, db)
        with self.call.cancel.on_signals(), runs.noted(db, lambda: job.run_id):
            job.run_id = self._start(judge, db)
            started = time.monotonic()
            tally = job.run()
            if isinstance(tally.stopped, ModelUnavailable) and not tally.done:
                raise tally.stopped
            bar = self._bar(job, tally)
            found = job.verdicts(bar)
            if self.call.options.explain and tally.stopped is None:
                tally = job.explain(found)
                found = job.verdicts(bar)
            of_input = len(self.source.items)
            own, bad = found[:of_input], found[of_input:]
            run = Run(self.source, self.framework, self.panel, judge, bar, own, bad)
            desk = Desk(self.call, db, self.path, job.run_id)
            return results.finish(desk, run, tally.stopped, time.monotonic() - started)

    def _form(self, model: ServedModel, db: Database) -> VoteForm:
        """How the judge votes: measured once, and the same from then on."""
        known = judges.known_form(db, model, self.panel)
        if known is not None:
            return known
        asked = [item for item in self.source.items if not item.findings]
        with self.call.screen.progress("measuring how the judge votes"):
            form = choose_form(self.panel, model, self.framework, asked)
        if not is_settled(form):  # there was not enough to measure it by
            return form
        return judges.keep_form(db, model, self.panel, form)

    def _settings(self) -> dict[str, Any]:
        return {
            "framework": self.framework.digest,
            "panel": self.panel.digest,
            "min_votes": self.call.options.min_votes,
        }

    def _start(self, judge: Judge, db: Database) -> int:
        model = judge.model
        before = judges.judge_before(db, self.source.name)
        if before is not None and before.judge != judges.judge_of(model):
            self.call.screen.notice(
                f"{self.source.name} was judged by {before.model} ({before.served}) before; "
                f"{model.resolution.resolved} ({model.resolution.chosen.serve.label}) is another "
                "judge and shares none of its votes: it begins anew"
            )
        return runs.start(
            db,
            skill="curate",
            source=self.source.name,
            model=judge.model.resolution.resolved,
            settings={
                **self._settings(),
                "judge": judges.judge_of(model),
                "digests": dict(judge.model.digests),
                "served": judge.model.resolution.chosen.serve.label,
                "slots": judge.model.slots,
            },
        )

    def _bar(self, job: CurateJob, tally: Tally) -> Bar:
        """What has to be reached: calibrated now, or before, or the defaults."""
        options = self.call.options
        bar = verdicts.bar(job.db, job.judge, options.min_votes)
        if not options.calibrate or tally.stopped is not None:
            return bar
        of_input = job.verdicts(bar)[: len(self.source.items)]
        scores = [verdict.scores for verdict in of_input if verdict.scores]
        gated = sum(bool(item.findings) for item in self.source.items)
        found = calibration.calibrate(scores, gated, options.reject_rate, options.min_votes)
        bar = Bar(
            found.thresholds,
            options.min_votes,
            {
                "input": self.source.name,
                "reject_rate": options.reject_rate,
                "achieved": round(found.achieved, 4),
                "annotations": found.judged + found.gate_rejected,
                "why": found.why,
            },
        )
        verdicts.keep_bar(job.db, job.judge, bar)
        return bar


def _source(call: Call, table: Path | None, db: Database, framework: Framework) -> Input:
    options = call.options
    if table is None:
        return items.from_corpus(db, framework, options.limit)
    columns = Columns(options.abstract_column, options.id_column, options.title_column)
    return items.from_table(db, table, columns, framework, options.limit)


def _probes(call: Call, source: Input, framework: Framework) -> tuple[Item, ...]:
    """Known-bad annotations made of the input's good ones, as far as gates can tell good."""
    good = [(item.paper, item.moves) for item in source.items if not item.findings]
    made = probes.make(good, framework, call.options.probes, SEED)
    return tuple(
        Item(
            probe.paper,
            probe.moves,
            f"probe {probe.kind} of {probe.paper.id}",
            gates.find(probe.paper, probe.moves, framework),
            probe=probe.kind,
            changed=probe.changed,
        )
        for probe in made
    )


def _refuse_input(call: Call, table: Path | None, corpus: Path) -> None:
    """Refuse to write over what is read.

    Raises:
        UsageError: a target, or a file beside it, is the input or the corpus; or a target is a file
            beside another.
    """
    read = [path.resolve() for path in (table, corpus) if path]
    targets = {target.resolve() for target in call.targets}
    for target in call.targets:
        beside = sidecars.beside(target).values()
        for path in beside:
            if path.resolve() in targets:
                raise UsageError(
                    f"is written beside {target} already",
                    where=str(path),
                    hint="Save to another file.",
                )
        for path in filter(None, (target, *beside, call.options.build)):
            if path.resolve() in read:
                raise UsageError(
                    "is the input itself"
                    if path.resolve() != corpus.resolve()
                    else "is the corpus itself",
                    where=str(path),
                    hint="Save to another file.",
                )
