"""The job of judging many annotations: the panel judges each once; votes are stored.

As in `skills.annotate.table.job`, results and failures are stored in the corpus database under
content keys: the same command continues where it was killed, and no vote is requested twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from harness.api.skill import Call
from harness.runs.jobs import Job, Tally
from harness.runs.progress import ProgressEstimate, show_progress
from skills.curate.curator import Judge, Vote
from skills.curate.inputs.items import Input, Item
from skills.curate.store.ballots import Ballots, key_of
from skills.curate.store.verdicts import Criteria, Verdict, decide


@dataclass(slots=True)
class CurateJob:
    """The annotations of `source` and the probes made of them, with the panel that judges them.

    An annotation that a gate has rejected is not judged; a probe always is, to measure the panel
    without the gates.
    """

    call: Call
    source: Input
    probes: Sequence[Item]
    ballots: Ballots
    _slots: SimpleQueue[int] = field(default_factory=SimpleQueue)
    _votes: SimpleQueue[tuple[Item, Vote]] = field(default_factory=SimpleQueue)
    _known: dict[str, dict[str, Vote]] = field(default_factory=dict)
    _count: Callable[[Item, int | None], None] = lambda *_: None

    @property
    def judge(self) -> Judge:
        return self.ballots.judge

    def run(self) -> Tally:
        """Judge what has not been judged yet."""
        due = list(self._due())
        self._announce(len(due))
        for slot in range(self.judge.model.slots):
            self._slots.put(slot)
        return self._run(
            "judging", due, due, self._perform, self._save, self._save_failure, self._save_votes
        )

    def explain(self, verdicts: Sequence[Verdict]) -> Tally:
        """Ask for a reason for each rejected annotation: the persona furthest from passing it."""
        due = [
            one
            for one in verdicts
            if one.decision == "rejected"
            and one.ballot
            and not (one.item.findings or one.item.probe or one.ballot.explanations)
        ]
        items = [one.item for one in due]
        return self._run(
            "explaining", due, items, self._request_reason, self._save_reason, self._skip_reason
        )

    def verdicts(self, criteria: Criteria) -> list[Verdict]:
        """Decide about every annotation and probe, as far as they have been judged."""
        return [
            decide(
                item,
                self.ballots.find(item) if self._is_judged(item) else None,
                criteria,
                panel_votes=self.judge.form.can_answer,
            )
            for item in (*self.source.items, *self.probes)
        ]

    def _run(
        self,
        description: str,
        due: Sequence[Any],
        items: Sequence[Item],
        perform: Callable[[Any], Any],
        keep: Callable[[Any, Any], None],
        refuse: Callable[[Any, Exception], None],
        tick: Callable[[], None] | None = None,
    ) -> Tally:
        if not due:
            return Tally()
        pace = ProgressEstimate(len(due), sum(len(item.paper.abstract) for item in items))
        slots = self.judge.model.slots
        job = Job(perform, keep, refuse, slots, self.call.cancel, tick=tick)
        with show_progress(pace, self.call.screen, description) as update:

            def count(item: Item, tokens: int | None) -> None:
                pace.finish_row(item.where, len(item.paper.abstract), tokens)
                update()

            self._count = count
            return job.run(due)

    def _is_judged(self, item: Item) -> bool:
        return self.judge.form.can_answer and (bool(item.probe) or not item.findings)

    def _due(self) -> Iterator[Item]:
        """Yield what is to be judged; the same annotation once."""
        retry = self.call.options.retry_failed
        for item in (*self.source.items, *self.probes):
            key = key_of(item, self.judge)
            if not self._is_judged(item) or key in self._known:
                continue
            found = self.ballots.find(item)
            if isinstance(found, str) if retry else found is None:
                self._known[key] = self.ballots.begun(item)
                yield item

    def _announce(self, due: int) -> None:
        items = self.source.items
        gated = sum(bool(item.findings) for item in items)
        parts = [f"{len(items):,} annotations", f"{gated:,} rejected by the gates"]
        parts.append(f"{due:,} to judge, {self.judge.model.slots} at a time")
        parts += [f"{len(self.probes):,} probes among them"] * bool(self.probes)
        parts += [f"{n:,} left out ({why})" for why, n in self.source.filtered.items()]
        self.call.screen.notice(f"{self.source.name}: {'; '.join(parts)}")

    def _perform(self, item: Item) -> tuple[Vote, ...]:
        known = self._known[key_of(item, self.judge)]

        def on_vote(vote: Vote) -> None:
            if vote.score is not None:
                known[vote.persona] = vote  # for another attempt
                self._votes.put((item, vote))

        slot = self._slots.get()
        try:
            return self.judge.votes(item, slot, dict(known), on_vote)
        finally:
            self._slots.put(slot)

    def _save_votes(self) -> None:
        """Store the votes that arrived for ballots that are not complete."""
        while not self._votes.empty():
            self.ballots.save_vote(*self._votes.get())

    def _save(self, item: Item, votes: tuple[Vote, ...]) -> None:
        self.ballots.save(item, votes)
        self._count(item, sum(vote.prompt_tokens - vote.cached_tokens for vote in votes))

    def _save_failure(self, item: Item, error: Exception) -> None:
        self.ballots.save_failure(item, error)
        self._count(item, None)

    def _request_reason(self, verdict: Verdict) -> str:
        return self.judge.explain(verdict.item, self.judge.panel.personas[_furthest(verdict)])

    def _save_reason(self, verdict: Verdict, text: str) -> None:
        assert verdict.ballot is not None
        persona = self.judge.panel.names[_furthest(verdict)]
        self.ballots.save_explanation(verdict.ballot, persona, text)
        self._count(verdict.item, len(text.split()))

    def _skip_reason(self, verdict: Verdict, error: Exception) -> None:
        self.call.screen.notice(f"{verdict.item.where}: not explained: {error}")
        self._count(verdict.item, None)


def _furthest(verdict: Verdict) -> int:
    """Return the index of the persona whose score is furthest below its threshold."""
    against = [i for i, passed in enumerate(verdict.passes) if passed is False]
    return min(against, key=lambda i: (verdict.scores[i] or 0.0) - verdict.thresholds[i])
