"""What a curation has to do, announced at once, and one progress bar for all of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from harness.models.served import ServedModel
from harness.runs.progress import ProgressEstimate, show_progress
from skills.corpus.db import runs
from skills.curate.curator import Judge
from skills.curate.inputs.items import Item
from skills.curate.job import CurateJob
from skills.curate.panel.vote_mode import VoteForm, choose_form, form_sample
from skills.curate.store import judges
from skills.curate.store.ballots import Ballots
from skills.nanda.text import counted

if TYPE_CHECKING:
    from skills.curate.curation import Curation


@contextlib.contextmanager
def judging(curation: Curation, model: ServedModel, run_id: int) -> Iterator[CurateJob]:
    """Yield the job by which a model judges a curation, and show its progress during the block.

    How the judge votes is measured first, once for each judge, and stored.
    """
    form = judges.load_form(curation.db, model, curation.panel)
    good = [item for item in curation.source.items if not item.findings]
    sample = form_sample(good) if form is None else ()
    pace = ProgressEstimate(0, 0, unit="annotations")

    def job_of(form: VoteForm) -> CurateJob:
        judge = Judge(curation.panel, model, curation.framework, form)
        ballots = Ballots(curation.db, judge, run_id)
        return CurateJob(curation.call, curation.source, curation.probes, ballots, pace)

    due = job_of(form).due if form else [*good, *curation.probes]
    _announce(curation, model, due, sample)
    _expect(pace, due, sample)
    with show_progress(pace, curation.call.screen, "judging") as update:
        if form is None:
            pace.phase = "measuring how the judge votes"
            form = _measured(curation, model, sample, pace, update)
            pace.phase = "judging"
        job = job_of(form)
        job.update = update
        runs.set_due(curation.db, run_id, len(job.due))
        _expect(pace, job.due, sample)
        yield job


def _measured(
    curation: Curation,
    model: ServedModel,
    sample: Sequence[Item],
    pace: ProgressEstimate,
    update: Callable[[], None],
) -> VoteForm:
    """Return how the judge votes, and store it if it was measured and can vote."""

    def count(item: Item, tokens: int) -> None:
        pace.add_work(_weight(item), tokens)
        update()

    form = choose_form(curation.panel, model, curation.framework, sample, count)
    if form.kind == "json" or (form.mass is not None and form.can_answer):
        return judges.save_form(curation.db, model, curation.panel, form)
    return form


def _expect(pace: ProgressEstimate, due: Sequence[Item], sample: Sequence[Item]) -> None:
    """Set the total: a measured annotation takes about as long as a judged one."""
    pace.rows = len(due)
    pace.weight = sum(map(_weight, (*due, *sample)))


def _weight(item: Item) -> int:
    return len(item.paper.abstract)


def _announce(
    curation: Curation, model: ServedModel, due: Sequence[Item], sample: Sequence[Item]
) -> None:
    source = curation.source
    gated, probes = (
        sum(map(bool, found))
        for found in ((item.findings for item in source.items), (item.probe for item in due))
    )
    parts = [f"{counted(len(source.items), 'annotation')}, {gated:,} rejected by the gates"]
    to_judge = f"{len(due):,} to judge, {model.slots} at a time"
    parts.append(
        f"{to_judge}, {counted(probes, 'known-bad one')} among them" if probes else to_judge
    )
    if sample:
        parts.append(f"how the judge votes is measured first, once, on {len(sample):,} of them")
    parts += [f"{n:,} left out ({why})" for why, n in source.filtered.items()]
    curation.call.screen.notice(f"{source.name}: {'; '.join(parts)}")
