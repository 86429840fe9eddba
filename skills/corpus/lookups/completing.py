"""/corpus complete: fill what is unknown about the papers of the corpus, as a job."""

from __future__ import annotations

import itertools
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from harness.api.skill import Call
from harness.errors import HarnessError
from skills.corpus.db import completion, papers, runs, without_abstract
from skills.corpus.db.completion import TITLE
from skills.corpus.identity import titles
from skills.corpus.lookups import batches
from skills.corpus.lookups.batches import Answers, Wanted, is_other, look_up
from skills.corpus.records import Found
from skills.corpus.sources.access import Access
from skills.corpus.sources.services import SERVICES
from skills.corpus.sources.source import Query, Source

DAYS = 30
"""After which papers are looked up again: citations grow, and papers are retracted."""
NEVER = "9999"
"""Later than any time in the tables."""


@dataclass(slots=True)
class Filled:
    """What a run has filled.

    Attributes:
        filled: the number of papers by what was added: "doi", "venue", "cited", ...
        added: papers whose abstract was found, which are now in the corpus.
        others: papers for whose identifier a source states another title; they are unchanged.
        retracted: papers that were not known to be retracted before.
        awaited: papers that are still without an abstract.
        answers: those of each source.
    """

    filled: Counter[str] = field(default_factory=Counter)
    added: int = 0
    others: list[str] = field(default_factory=list)
    retracted: list[str] = field(default_factory=list)
    awaited: int = 0
    answers: dict[str, Answers] = field(default_factory=dict)

    @property
    def stopped(self) -> HarnessError | None:
        return next((one.stopped for one in self.answers.values() if one.stopped), None)

    @property
    def left(self) -> int:
        """Papers that were not looked up at a source."""
        return sum(one.left for one in self.answers.values())

    def as_json(self) -> dict[str, Any]:
        """Return the numbers, and what each source has answered."""
        counts = ("found", "unknown", "left", "requests", "errors")
        return {
            "filled": dict(self.filled),
            "added": self.added,
            "other_titles": self.others,
            "retracted": self.retracted,
            "awaited": self.awaited,
            "sources": {
                name: {count: getattr(one, count) for count in counts}
                for name, one in self.answers.items()
            },
        }


@dataclass(slots=True)
class Completion:
    """Completes the papers of the corpus `db` from sources, in their order.

    Attributes:
        since: a time; what was looked up after it is not looked up again.
        most: requests at most, of each source.
        by_title: papers without an identifier are looked up by their titles.
    """

    call: Call
    db: sqlite3.Connection
    sources: Sequence[Source]
    since: str
    most: int | None = None
    by_title: bool = False
    made: Filled = field(default_factory=Filled)

    def costs(self) -> list[batches.Cost]:
        """Return what each source takes at most."""
        return [batches.cost_of_ids(one, self._due(one), self.most) for one in self.sources]

    def run(self) -> Filled:
        """Look up at each source what the earlier ones have left unknown."""
        run_id = runs.start(
            self.db,
            skill="corpus complete",
            source="",
            model=",".join(source.name for source in self.sources),
            settings={"since": self.since, "requests": self.most},
        )
        with runs.recorded(self.db, lambda: run_id):
            for source in self.sources:
                if self.made.stopped is None:
                    self._look_up(source)
            self.made.awaited = without_abstract.count(self.db)
            status = runs.status_of(self.made.stopped, self.made.left)
            runs.finish(self.db, run_id, status, self.made.as_json())
        return self.made

    def _look_up(self, source: Source) -> None:
        title = SERVICES[source.name].title
        total = sum(1 for _ in self._due(source))
        with self.call.screen.progress(f"looking up at {title}") as tick:
            self.made.answers[source.name] = look_up(
                source,
                self._due(source),
                partial(self._keep, source.name),
                self.call.cancel,
                most=self.most,
                tick=lambda done: tick(f"{done:,} of {total:,} papers"),
            )

    def _due(self, source: Source) -> Iterator[Wanted]:
        """Yield what can be looked up at a source; the keys of awaited papers are negative."""
        own = completion.due(
            self.db, source.name, source.states, self.since, by_title=self.by_title
        )
        without = without_abstract.due(self.db, source.name, self.since)
        for row, known in itertools.chain(own, ((-row, known) for row, known in without)):
            if not set(source.kinds).isdisjoint(known):
                yield Wanted(row, known)

    def _keep(self, source: str, wanted: Wanted, found: Found | None) -> None:
        if wanted.key < 0:
            if (
                found is not None
                and without_abstract.complete(self.db, -wanted.key, found) is not None
            ):
                self.made.added += 1
            else:
                completion.remember(
                    self.db, "awaited", -wanted.key, source, found=found is not None
                )
            return
        if found is not None:
            self._complete(wanted, found)
        completion.remember(self.db, "papers", wanted.key, source, found=found is not None)

    def _complete(self, wanted: Wanted, found: Found) -> None:
        paper = papers.stored(self.db, wanted.key)
        if is_other(paper, found):
            if completion.TITLE not in wanted.identifiers:
                self.made.others.append(f"{paper.id}: {found.source} has {found.title[:80]!r}")
            return
        added = completion.complete(self.db, wanted.key, found)
        self.made.filled.update(added)
        if found.retracted and "retracted" in added:
            self.made.retracted.append(paper.id)


def since_of(*, refresh: bool) -> str:
    """Return the time from which on what was looked up is not looked up again."""
    if refresh:
        return NEVER
    return (datetime.now(UTC) - timedelta(days=DAYS)).isoformat(timespec="seconds")


CANDIDATES = 3
"""The papers of a search among which the title is expected."""


class ByTitle:
    """A source that also finds papers by their titles, one in a request.

    Whether a paper with the same title is the same paper is decided by its authors and year, where
    it is stored.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.name, self.states = source.name, source.states
        requests = {**source.rates.requests, TITLE: 1 + source.rates.before_pages}
        self.rates = replace(source.rates, requests=requests)

    @property
    def kinds(self) -> Sequence[str]:
        return (*self.source.kinds, TITLE)

    @property
    def access(self) -> Access:
        return self.source.access

    def by_ids(self, kind: str, values: Sequence[str]) -> dict[str, Found]:
        if kind != TITLE:
            return self.source.by_ids(kind, values)
        found = ((title, self._titled(title)) for title in values)
        return {title: one for title, one in found if one is not None}

    def search(self, query: Query) -> list[Found]:
        return self.source.search(query)

    def _titled(self, title: str) -> Found | None:
        wanted = titles.title(title)
        words = " ".join(re.findall(r"\w+", title))
        found = self.search(Query(words, CANDIDATES, with_abstract=False))
        same = (one for one in found if titles.compare(wanted, titles.title(one.title)) == "same")
        return next(same, None)
