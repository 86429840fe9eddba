"""The job in which the panel judges many annotations, each of them once.

As in `skills.annotate.job`, the corpus stores votes and failures under content keys: the same line
continues an interrupted job, and no vote is requested twice.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

from harness.api.skill import Call
from harness.runs.jobs import Job, Tally
from harness.runs.progress import ProgressEstimate
from skills.curate.ballots import Ballots, key_of
from skills.curate.curator import Criteria, Judge, Verdict, Vote, decide
from skills.curate.items import Input, Item


@dataclass
class CurateJob:
    """The job that judges the annotations of `source` and the probes made from them.

    Annotations that a gate rejects are not judged. Probes always are, so that the panel can be
    measured without the gates.

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
        """The items to judge when the job begins; of equal annotations, one is judged."""
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
        """The progress of the job, and of the explanations after it."""
        weight = sum(len(item.paper.abstract) for item in self.due)
        return ProgressEstimate(len(self.due), weight, unit="annotations")

    def run(self) -> Tally:
        """Judge the items in `due`."""
        self._known = {key_of(item, self.judge): self.ballots.begun(item) for item in self.due}
        for slot in range(self.judge.model.slots):
            self._slots.put(slot)
        slots, stop = self.judge.model.slots, self.call.cancel
        job = Job(self._perform, self._save, self._save_failure, slots, stop, self._save_votes)
        return job.run(self.due)

    def explain(self, verdicts: Sequence[Verdict]) -> Tally:
        """Ask the judge for a reason for each rejected annotation.

        The reason is requested from the persona whose score is furthest below its threshold.
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
        """Return the decision about every annotation and probe, including items without votes."""
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
                known[vote.persona] = vote  # not requested again if the item is tried again
                self._votes.put((item, vote))

        slot = self._slots.get()
        try:
            return self.judge.votes(item, slot, dict(known), on_vote)
        finally:
            self._slots.put(slot)

    def _save_votes(self) -> None:
        """Store the votes that have arrived for incomplete ballots."""
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
