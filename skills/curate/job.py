"""Many annotations, one job: each is put to the panel once, and its votes are kept at once.

As in `skills.annotate.table.job`, what is done and what failed stands in the corpus database under
content keys: the same line goes on where it was killed, and no vote is paid for twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING

from harness.api.skill import Call
from harness.runs.jobs import Job, Tally
from harness.runs.progress import Pace, shown
from skills.curate.curator import Judge, Vote
from skills.curate.inputs.items import Input, Item
from skills.curate.store import ballots
from skills.curate.store.verdicts import Bar, Verdict, decide

if TYPE_CHECKING:
    from sqlite_utils import Database


@dataclass(slots=True)
class CurateJob:
    """The annotations of `source` and the probes made of them, before the panel.

    An annotation that a gate has rejected is not put to it; a probe always is, so that the panel
    can be seen without the gates.
    """

    call: Call
    source: Input
    probes: Sequence[Item]
    judge: Judge
    db: Database
    run_id: int = 0
    _pace: Pace | None = None
    _slots: SimpleQueue[int] = field(default_factory=SimpleQueue)
    _votes: SimpleQueue[tuple[Item, Vote]] = field(default_factory=SimpleQueue)
    _known: dict[str, dict[str, Vote]] = field(default_factory=dict)
    _update: Callable[[], None] = lambda: None

    def run(self) -> Tally:
        """Have judged what has not been, and hand out how it went."""
        due = list(self._due())
        self._announce(len(due))
        if not due:
            return Tally()
        slots = self.judge.model.slots
        for slot in range(slots):
            self._slots.put(slot)
        self._pace = Pace(len(due), sum(len(item.paper.abstract) for item in due))
        job = Job(
            self._perform, self._keep, self._refuse, slots, self.call.cancel, tick=self._keep_votes
        )
        with shown(self._pace, self.call.screen, "judging") as self._update:
            return job.run(due)

    def explain(self, verdicts: Sequence[Verdict]) -> Tally:
        """Ask for each annotation that the panel rejected why, of the persona it missed by most."""
        due = [
            verdict
            for verdict in verdicts
            if verdict.decision == "rejected"
            and verdict.ballot
            and not (verdict.item.findings or verdict.item.probe or verdict.ballot.explanations)
        ]
        if not due:
            return Tally()
        self._pace = Pace(len(due), sum(len(one.item.paper.abstract) for one in due))
        job = Job(
            self._ask_why,
            self._explained,
            self._unexplained,
            self.judge.model.slots,
            self.call.cancel,
        )
        with shown(self._pace, self.call.screen, "explaining") as self._update:
            return job.run(due)

    def verdicts(self, bar: Bar) -> list[Verdict]:
        """What becomes of every annotation and probe, as far as they have been judged."""
        return [self._verdict(item, bar) for item in (*self.source.items, *self.probes)]

    def _verdict(self, item: Item, bar: Bar) -> Verdict:
        key = ballots.key_of(item, self.judge)
        asked = self._is_asked(item)
        ballot = ballots.load(self.db, key) if asked else None
        refused = ballots.refused(self.db, key) if asked and ballot is None else None
        return decide(item, ballot, refused, bar, panel_votes=self.judge.form.can_answer)

    def _is_asked(self, item: Item) -> bool:
        return self.judge.form.can_answer and (bool(item.probe) or not item.findings)

    def _due(self) -> Iterator[Item]:
        """What is to be judged; the same annotation once."""
        wanted = "failed" if self.call.options.retry_failed else None
        seen: set[str] = set()
        for item in (*self.source.items, *self.probes):
            key = ballots.key_of(item, self.judge)
            if self._is_asked(item) and key not in seen and ballots.state(self.db, key) == wanted:
                seen.add(key)
                self._known[key] = ballots.begun(self.db, key)
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
        known = self._known[ballots.key_of(item, self.judge)]

        def came(vote: Vote) -> None:
            if vote.score is not None:
                known[vote.persona] = vote  # for another attempt
                self._votes.put((item, vote))

        slot = self._slots.get()
        try:
            return self.judge.votes(item, slot, dict(known), came)
        finally:
            self._slots.put(slot)

    def _keep_votes(self) -> None:
        """Keep the votes that have come of ballots that have not ended."""
        while not self._votes.empty():
            item, vote = self._votes.get()
            key = ballots.key_of(item, self.judge)
            ballots.keep_vote(self.db, key, item, self.judge, vote, self.run_id)

    def _keep(self, item: Item, votes: tuple[Vote, ...]) -> None:
        ballots.keep(
            self.db, ballots.key_of(item, self.judge), item, self.judge, votes, self.run_id
        )
        evaluated = sum(vote.prompt_tokens - vote.cached_tokens for vote in votes)
        self._count(item, evaluated)

    def _refuse(self, item: Item, error: Exception) -> None:
        key = ballots.key_of(item, self.judge)
        ballots.refuse(self.db, key, item, self.judge, error, self.run_id)
        self._count(item, None)

    def _ask_why(self, verdict: Verdict) -> str:
        return self.judge.explain(verdict.item, self.judge.panel.personas[_farthest(verdict)])

    def _explained(self, verdict: Verdict, text: str) -> None:
        assert verdict.ballot is not None
        persona = self.judge.panel.names[_farthest(verdict)]
        ballots.explained(self.db, verdict.ballot, persona, text)
        self._count(verdict.item, len(text.split()))

    def _unexplained(self, verdict: Verdict, error: Exception) -> None:
        self.call.screen.notice(f"{verdict.item.where}: not explained: {error}")
        self._count(verdict.item, None)

    def _count(self, item: Item, tokens: int | None) -> None:
        if self._pace is not None:
            self._pace.row(item.where, len(item.paper.abstract), tokens)
        self._update()


def _farthest(verdict: Verdict) -> int:
    """Which persona fell short of its threshold; of several, the one that fell shortest."""
    against = [i for i, passed in enumerate(verdict.passes) if passed is False]
    return min(against, key=lambda i: (verdict.scores[i] or 0.0) - verdict.thresholds[i])
