"""Look up many papers at one source by their identifiers, in batches, as a job."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.errors import HarnessError, SourceUnavailable
from harness.runs.jobs import Job
from harness.runs.progress import duration
from harness.support.stop_token import StopToken
from harness.terminal.rendering import table
from skills.corpus.db import completion, merging, papers, without_abstract
from skills.corpus.db.completion import TITLE
from skills.corpus.db.connection import transaction
from skills.corpus.identity.matching import compare, known
from skills.corpus.records import Found
from skills.corpus.sources.services import SERVICES
from skills.corpus.sources.source import Source
from skills.nanda.paper import Paper


@dataclass(frozen=True, slots=True)
class Wanted:
    """A paper to look up.

    Attributes:
        key: its number for the caller.
        identifiers: by kind.
    """

    key: int
    identifiers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Batch:
    """Papers that one request returns, by identifiers of one kind."""

    kind: str
    papers: tuple[Wanted, ...]

    @property
    def values(self) -> list[str]:
        return list(dict.fromkeys(paper.identifiers[self.kind] for paper in self.papers))


@dataclass(slots=True)
class Answers:
    """How a source has answered, in papers.

    Attributes:
        left: papers that were not requested, or whose request failed; the same line repeats them.
        requests: those that were sent; the others are answered from the cache.
        errors: of the requests that failed, each once.
        stopped: why the run ended early.
    """

    found: int = 0
    unknown: int = 0
    left: int = 0
    requests: int = 0
    errors: list[str] = field(default_factory=list)
    stopped: HarnessError | None = None


def batches(source: Source, wanted: Iterable[Wanted]) -> Iterator[Batch]:
    """Yield the requests for papers, in order, without those that it has no identifier of."""
    waiting: dict[str, list[Wanted]] = {kind: [] for kind in source.kinds}
    for paper in wanted:
        kind = next((kind for kind in source.kinds if kind in paper.identifiers), None)
        if kind is None:
            continue
        waiting[kind].append(paper)
        if len(waiting[kind]) == (1 if kind == TITLE else source.rates.batch):
            yield Batch(kind, tuple(waiting[kind]))
            waiting[kind] = []
    for kind, rest in waiting.items():
        if rest:
            yield Batch(kind, tuple(rest))


def requests_of(source: Source, batch: Batch) -> int:
    """Return how many requests a batch takes."""
    return source.rates.requests.get(batch.kind, 1)


def look_up(
    source: Source,
    wanted: Iterable[Wanted],
    keep: Callable[[Wanted, Found | None], None],
    stop: StopToken,
    *,
    most: int | None = None,
    tick: Callable[[int], None] = lambda done: None,
) -> Answers:
    """Look papers up at a source, and keep each answer at once.

    A request that fails does not affect the others, unless the source is unavailable: no further
    one is made then.

    Args:
        keep: stores what was found about a paper, or None if the source does not know it.
        most: requests at most.
        tick: receives the number of papers that are done.
    """
    before = source.access.sent
    steps = _Steps(source, keep, tick)
    job = Job(steps.perform, steps.store, steps.refuse, 1, stop)
    tally = job.run(steps.tasks(batches(source, wanted), most))
    steps.made.requests = source.access.sent - before
    steps.made.stopped = tally.stopped
    return steps.made


@dataclass(slots=True)
class _Steps:
    """The steps of the job.

    Attributes:
        gone: why the source serves no request.
    """

    source: Source
    keep: Callable[[Wanted, Found | None], None]
    tick: Callable[[int], None]
    made: Answers = field(default_factory=Answers)
    gone: SourceUnavailable | None = None

    def tasks(self, planned: Iterable[Batch], most: int | None) -> Iterator[Batch]:
        """Yield the batches to request; the papers of the others are left."""
        requests = 0
        for batch in planned:
            requests += requests_of(self.source, batch)
            if self.gone or (most is not None and requests > most):
                self.made.left += len(batch.papers)
            else:
                yield batch

    def perform(self, batch: Batch) -> dict[str, Found]:
        if self.gone:
            raise self.gone
        try:
            return self.source.by_ids(batch.kind, batch.values)
        except SourceUnavailable as error:
            self.gone = error  # before the next batch begins, in this thread
            raise

    def store(self, batch: Batch, found: Mapping[str, Found]) -> None:
        for paper in batch.papers:
            one = found.get(paper.identifiers[batch.kind])
            self.keep(paper, one)
            self.made.found += one is not None
            self.made.unknown += one is None
        self.tick(self.made.found + self.made.unknown)

    def refuse(self, batch: Batch, error: Exception) -> None:
        self.made.left += len(batch.papers)
        reason = str(error) if isinstance(error, HarnessError) else repr(error)
        if reason not in self.made.errors:
            self.made.errors.append(reason)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one source takes at most: answers in the cache, and those of earlier sources, spare it.

    Attributes:
        dollars: the price by the source's own list.
        seconds: the pauses between the requests.
    """

    source: str
    papers: int
    requests: int
    dollars: float
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the numbers."""
        return asdict(self)


def cost_of_ids(source: Source, wanted: Iterable[Wanted], most: int | None = None) -> Cost:
    """Return the cost of looking up papers by their ids.

    Args:
        most: requests at most.
    """
    papers = requests = 0
    price = 0.0
    for batch in batches(source, wanted):
        needed = requests_of(source, batch)
        if most is not None and requests + needed > most:
            break
        papers, requests = papers + len(batch.papers), requests + needed
        rates = source.rates
        price += needed * (rates.by_search if batch.kind == TITLE else rates.by_ids)
    return _cost(source, papers, requests, price)


def cost_of_search(source: Source, limit: int) -> Cost:
    """Return the cost of a search for `limit` papers."""
    pages = math.ceil(limit / source.rates.page)
    requests = pages + source.rates.before_pages
    return _cost(source, limit, requests, requests * source.rates.by_search)


def costs_shown(costs: Sequence[Cost]) -> str:
    """Return one line per source."""
    rows = [
        (
            SERVICES[cost.source].title,
            f"{cost.papers:,}",
            f"{cost.requests:,}",
            f"${cost.dollars:.4f}" if cost.dollars else "free",
            duration(cost.seconds),
        )
        for cost in costs
    ]
    return table(("at most", "papers", "requests", "price", "pauses"), rows)


def _cost(source: Source, papers: int, requests: int, price: float) -> Cost:
    seconds = max(0, requests - 1) * source.access.delay
    return Cost(source.name, papers, requests, round(price, 6), round(seconds, 1))


def store(db: sqlite3.Connection, found: Found) -> tuple[int | None, bool]:
    """Store a paper, and return its row and whether it is new.

    A paper of the corpus is completed. Without an abstract, it is kept as awaited, and the row is
    None.
    """
    with transaction(db):
        rows = merging.with_identifiers(db, found.identifiers)
        if rows:
            completion.complete(db, rows[0], found)
            completion.remember(db, "papers", rows[0], found.source, found=True)
            return rows[0], False
        if not found.abstract:
            return None, without_abstract.keep(db, found.paper)
        row = papers.save(db, found.paper)
        completion.complete(db, row, found)
        completion.remember(db, "papers", row, found.source, found=True)
        return row, True


def is_other(paper: Paper, found: Found) -> bool:
    """Return True if a source states another title for the identifier of a paper."""
    return bool(paper.title and found.title and compare(known(paper), known(found.paper)) is None)
