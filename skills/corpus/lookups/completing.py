"""Implement /corpus complete, which looks up missing facts about the papers of the corpus."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from harness.api.skill import Call, Result
from harness.errors import HarnessError
from harness.support.process import job_lock
from harness.terminal.rendering import table
from skills.corpus.db import completion, papers, runs
from skills.corpus.db.completion import Facts
from skills.corpus.db.connection import database, locks, open_corpus
from skills.corpus.identity.identifiers import known
from skills.corpus.identity.matching import compare
from skills.corpus.lookups import batches
from skills.corpus.outputs import Completed
from skills.corpus.sources.services import SERVICES, opened, required
from skills.nanda.text import counted

if TYPE_CHECKING:
    from skills.corpus.sources.access import Source

DAYS = 30
"""Days after which a paper is looked up again, for new citations and retractions."""
NEVER = "9999"
"""The value of `Completion.since` with --refresh.

It is later than all stored times, so that no paper is omitted.
"""
SHOWN = 20


def complete(call: Call) -> Result:
    options, path = call.options, database(call)
    names = required(options.source)
    since = (datetime.now(UTC) - timedelta(days=DAYS)).isoformat(timespec="seconds")
    with ExitStack() as stack:
        db = stack.enter_context(open_corpus(path, must_exist=True))
        stack.enter_context(job_lock(locks(path), "corpus complete"))
        sources = [opened(name, call) for name in names]
        job = Completion(call, db, sources, NEVER if options.refresh else since)
        made, costs = job.made, job.costs()
        made.budget = list(map(asdict, costs))
        if options.dry_run:
            return Result(batches.costs_shown(costs), made.model_dump())
        if not any(cost.requests for cost in costs):
            nothing = (
                "Nothing to look up: all papers that lack a fact and have an identifier were "
                f"looked up at these sources within {DAYS} days. --refresh repeats the lookups."
            )
            return Result(nothing, made.model_dump())
        call.screen.notice(batches.costs_shown(costs))
        with call.cancel.on_signals():
            job.run()
    for name, answers in made.sources.items():
        for error in answers["errors"]:
            call.screen.notice(f"{SERVICES[name].title}: {error}")
    failed = any(answers["errors"] for answers in made.sources.values())
    return Result(_shown(made), made.model_dump(), exit_code=int(failed), stopped=job.stopped)


@dataclass(slots=True)
class Completion:
    """A job that looks up the papers of a corpus at several sources, one source after another.

    Attributes:
        db: the corpus.
        since: a time; papers that were looked up after this time are omitted.
        made: the result so far.
        stopped: the error that ended the job early, or None.
    """

    call: Call
    db: sqlite3.Connection
    sources: Sequence[Source]
    since: str
    made: Completed = field(default_factory=Completed)
    stopped: HarnessError | None = None

    def costs(self) -> list[batches.Cost]:
        """Return the maximum cost of the lookups at each source."""
        most = self.call.options.requests
        return [batches.cost_of_ids(one, self._due(one), most) for one in self.sources]

    def run(self) -> None:
        """Look up papers at each source in turn, add the facts to the corpus, and log the run."""
        run_id = runs.start(
            self.db,
            skill="corpus complete",
            source="",
            model=",".join(source.name for source in self.sources),
            settings={"since": self.since, "requests": self.call.options.requests},
        )
        with runs.recorded(self.db, lambda: run_id):
            for source in self.sources:
                if self.stopped is None:
                    self._look_up(source)
            self.made.awaited = completion.count_awaited(self.db)
            status = runs.status_of(self.stopped, _left(self.made))
            summary = self.made.model_dump(exclude={"budget"})
            runs.finish(self.db, run_id, status, summary)

    def _look_up(self, source: Source) -> None:
        wanted, total = self._due(source), sum(1 for _ in self._due(source))
        keep, most = partial(self._keep, source.name), self.call.options.requests
        answers = batches.look_up(self.call, source, wanted, total, keep, most)
        counts = ("found", "unknown", "left", "requests", "errors")
        self.made.sources[source.name] = {name: getattr(answers, name) for name in counts}
        self.stopped = answers.stopped

    def _due(self, source: Source) -> Iterator[batches.Wanted]:
        """Yield the papers to look up at a source.

        The key of a paper is the id of its row in `papers`, or, for a paper without an abstract,
        the negative id of its row in `awaited`.
        """
        known = source.name, source.states, self.since, source.kinds
        own = completion.due(self.db, *known, by_title=self.call.options.by_title)
        without = completion.due_awaited(self.db, source.name, self.since)
        for row, ids in itertools.chain(own, ((-row, ids) for row, ids in without)):
            if batches.can_look_up(source, ids):
                yield batches.Wanted(row, ids)

    def _keep(self, source: str, wanted: batches.Wanted, found: Facts | None) -> None:
        if wanted.key < 0:
            if found and completion.complete_awaited(self.db, -wanted.key, found):
                self.made.added += 1
            else:
                completion.remember(self.db, "awaited", -wanted.key, source, found=bool(found))
            return
        if found is not None:
            self._complete(wanted, found)
        completion.remember(self.db, "papers", wanted.key, source, found=found is not None)

    def _complete(self, wanted: batches.Wanted, found: Facts) -> None:
        paper = papers.stored(self.db, wanted.key)
        has_titles = bool(paper.title and found.title)
        if has_titles and compare(known(paper), known(found.paper)) is None:  # another paper
            if completion.TITLE not in wanted.identifiers:
                other = f"{paper.id}: {found.source} has {found.title[:80]!r}"
                self.made.other_titles.append(other)
            return
        added = completion.complete(self.db, wanted.key, found)
        self.made.filled = dict(Counter(self.made.filled) + Counter(added))
        if found.retracted and "retracted" in added:
            self.made.retracted.append(paper.id)


def _left(made: Completed) -> int:
    """Return the number of lookups that failed or were skipped, summed over the sources."""
    return sum(one["left"] for one in made.sources.values())


def _shown(made: Completed) -> str:
    """Return the result as text: a table of the sources, then the facts that were added."""
    rows = [
        (SERVICES[name].title, one["found"], one["unknown"], one["left"], one["requests"])
        for name, one in made.sources.items()
    ]
    ranked = Counter(made.filled).most_common()
    filled = ", ".join(f"{name} {count:,}" for name, count in ranked)
    lines = [f"Filled: {filled or 'nothing'}."]
    if made.added:
        lines.append(f"Abstracts found: {counted(made.added, 'paper')} added to the corpus.")
    if made.awaited:
        lines.append(f"Still without an abstract: {counted(made.awaited, 'paper')}.")
    for label, named in (
        ("Retracted", made.retracted),
        ("Unchanged, since the title differs", made.other_titles),
    ):
        lines += [f"{label}: {one}" for one in named[:SHOWN]]
        if len(named) > SHOWN:
            lines.append(f"{label}: {len(named) - SHOWN:,} more (--json names all)")
    if _left(made):
        lines.append("Repeat the line to continue with the papers that are left.")
    head = table(("source", "found", "not known", "left", "requests"), rows)
    return "\n\n".join([head, "\n".join(lines)])
