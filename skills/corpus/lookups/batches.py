"""Look up many papers at a source by their identifiers: costs, requests and storage."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.errors import HarnessError, SourceUnavailable
from harness.runs.jobs import Job
from harness.runs.progress import duration
from harness.support.stop_token import StopToken
from harness.terminal.rendering import table
from skills.corpus.db import completion, merging, papers, without_abstract
from skills.corpus.db.completion import TITLE
from skills.corpus.db.connection import transaction
from skills.corpus.identity import titles
from skills.corpus.identity.identifiers import known
from skills.corpus.identity.matching import compare
from skills.corpus.records import Found
from skills.corpus.sources.services import SERVICES, Query
from skills.nanda.paper import Paper

if TYPE_CHECKING:
    from skills.corpus.sources.access import Source

CANDIDATES = 3
"""Number of papers that a search for a title returns."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A paper to look up.

    Attributes:
        key: the number of the paper for the caller.
        identifiers: the identifiers by kind; only `TITLE` if there is no other.
    """

    key: int
    identifiers: Mapping[str, str]


@dataclass(slots=True)
class Answers:
    """The answers of a source; counts are numbers of papers.

    Attributes:
        left: number of papers that were not requested, or whose request failed; the same line
            requests them again.
        requests: number of requests that were sent, without requests that the cache answered.
        errors: the errors of failed requests, without repetitions.
        stopped: the error that ended the run early, or None.
    """

    found: int = 0
    unknown: int = 0
    left: int = 0
    requests: int = 0
    errors: list[str] = field(default_factory=list)
    stopped: HarnessError | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """An upper limit of the requests to a source; cached answers do not count against it.

    Attributes:
        dollars: the price according to the source.
        seconds: the total time of the pauses between requests.
    """

    source: str
    papers: int
    requests: int
    dollars: float
    seconds: float


Batch = tuple[str, list[Wanted]]
"""A batch: the kind of identifiers, and the papers that one request returns."""


def can_look_up(source: Source, identifiers: Mapping[str, str]) -> bool:
    """Return True if a source finds papers by one of these identifiers."""
    return not {*source.kinds, TITLE}.isdisjoint(identifiers)


def _batches(source: Source, wanted: Iterable[Wanted]) -> Iterator[Batch]:
    """Yield the requests for papers, in order; papers that the source cannot find are left out."""
    kinds = (*source.kinds, TITLE)
    waiting: dict[str, list[Wanted]] = {kind: [] for kind in kinds}
    for paper in wanted:
        if kind := next((kind for kind in kinds if kind in paper.identifiers), None):
            waiting[kind].append(paper)
            if len(waiting[kind]) == (1 if kind == TITLE else source.rates.batch):
                yield kind, waiting[kind]
                waiting[kind] = []
    yield from ((kind, rest) for kind, rest in waiting.items() if rest)


def _requests(source: Source, kind: str) -> int:
    """Return the number of requests that a batch takes."""
    rates = source.rates
    return 1 + rates.before_pages if kind == TITLE else rates.requests.get(kind, 1)


def look_up(
    source: Source,
    wanted: Iterable[Wanted],
    keep: Callable[[Wanted, Found | None], None],
    stop: StopToken,
    *,
    most: int | None = None,
    tick: Callable[[int], None] = lambda done: None,
) -> Answers:
    """Look up papers at a source in a job, and store each answer immediately.

    A failed request does not affect other requests, unless the source is unavailable; then no
    further request is sent.

    Args:
        keep: stores the facts that were found about a paper, or None for a paper that the source
            does not know.
        most: maximum number of requests.
        tick: called with the number of finished papers.
    """
    lookup = _Lookup(source, keep, tick)
    before = source.sent
    job = Job(lookup.perform, lookup.store, lookup.refuse, 1, stop)
    lookup.made.stopped = job.run(lookup.tasks(wanted, most)).stopped
    lookup.made.requests = source.sent - before
    return lookup.made


@dataclass(slots=True)
class _Lookup:
    """The steps of a job that looks up papers.

    Attributes:
        gone: the error of an unavailable source, or None.
    """

    source: Source
    keep: Callable[[Wanted, Found | None], None]
    tick: Callable[[int], None]
    made: Answers = field(default_factory=Answers)
    gone: SourceUnavailable | None = None

    def tasks(self, wanted: Iterable[Wanted], most: int | None) -> Iterator[Batch]:
        """Yield the batches to request, and count the papers of the remaining batches."""
        requests = 0
        for kind, batch in _batches(self.source, wanted):
            requests += _requests(self.source, kind)
            if self.gone or (most is not None and requests > most):
                self.made.left += len(batch)
            else:
                yield kind, batch

    def perform(self, batch: Batch) -> dict[str, Found]:
        if self.gone:
            raise self.gone
        kind, wanted = batch
        values = list(dict.fromkeys(paper.identifiers[kind] for paper in wanted))
        try:
            if kind == TITLE:
                return _by_titles(self.source, values)
            return self.source.by_ids(kind, values)
        except SourceUnavailable as error:
            self.gone = error  # before the next batch begins, in this thread
            raise

    def store(self, batch: Batch, found: Mapping[str, Found]) -> None:
        kind, wanted = batch
        for paper in wanted:
            one = found.get(paper.identifiers[kind])
            self.keep(paper, one)
            self.made.found += one is not None
            self.made.unknown += one is None
        self.tick(self.made.found + self.made.unknown)

    def refuse(self, batch: Batch, error: Exception) -> None:
        self.made.left += len(batch[1])
        reason = str(error) if isinstance(error, HarnessError) else repr(error)
        if reason not in self.made.errors:
            self.made.errors.append(reason)


def _by_titles(source: Source, values: Sequence[str]) -> dict[str, Found]:
    """Return the papers with these titles.

    The code that stores a paper decides by authors and year whether it is the same paper.
    """
    found: dict[str, Found] = {}
    for value in values:
        words = " ".join(re.findall(r"\w+", value))
        for one in source.search(Query(words, CANDIDATES, with_abstract=False)):
            if titles.compare(titles.title(value), titles.title(one.title)) == "same":
                found.setdefault(value, one)
    return found


def cost_of_ids(source: Source, wanted: Iterable[Wanted], most: int | None = None) -> Cost:
    """Return the cost of looking up papers by their ids.

    Args:
        most: maximum number of requests.
    """
    count = requests = 0
    price = 0.0
    for kind, batch in _batches(source, wanted):
        needed = _requests(source, kind)
        if most is not None and requests + needed > most:
            break
        count, requests = count + len(batch), requests + needed
        price += needed * (source.rates.by_search if kind == TITLE else source.rates.by_ids)
    return _cost(source, count, requests, price)


def cost_of_search(source: Source, limit: int) -> Cost:
    """Return the cost of a search for `limit` papers."""
    requests = math.ceil(limit / source.rates.page) + source.rates.before_pages
    return _cost(source, limit, requests, requests * source.rates.by_search)


def _cost(source: Source, papers: int, requests: int, price: float) -> Cost:
    seconds = max(0, requests - 1) * source.delay
    return Cost(source.name, papers, requests, round(price, 6), round(seconds, 1))


def costs_shown(costs: Sequence[Cost]) -> str:
    """Return a table of costs with a line for each source."""
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


def store(db: sqlite3.Connection, found: Found) -> tuple[int | None, bool]:
    """Store a paper, and return its row and whether it is new.

    A paper that is in the corpus is completed. A paper without an abstract is kept until the
    abstract is found, and the row is None.
    """
    with transaction(db):
        rows = merging.rows_with_identifiers(db, found.identifiers)
        if not rows and not found.abstract:
            return None, without_abstract.keep(db, found.paper)
        row = rows[0] if rows else papers.save(db, found.paper)
        completion.complete(db, row, found)
        completion.remember(db, "papers", row, found.source, found=True)
        return row, not rows


def is_other(paper: Paper, found: Found) -> bool:
    """Return True if the source has another title for the identifier of a paper."""
    return bool(paper.title and found.title and compare(known(paper), known(found.paper)) is None)
