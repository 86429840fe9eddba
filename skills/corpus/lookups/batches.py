"""Look up many papers at a source: form requests, estimate the cost and store the results."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.api.skill import Call
from harness.errors import HarnessError, SourceUnavailable
from harness.runs.jobs import Job
from harness.runs.progress import duration
from harness.terminal.rendering import table
from skills.corpus.db import completion, papers
from skills.corpus.db.completion import TITLE, Facts
from skills.corpus.db.connection import transaction
from skills.corpus.db.merging import rows_with_identifiers
from skills.corpus.identity.matching import compare_titles
from skills.corpus.identity.titles import title
from skills.corpus.sources.services import SERVICES, SourceQuery

if TYPE_CHECKING:
    from skills.corpus.sources.access import Source

CANDIDATES = 3
"""Maximum number of search results that are compared with a title."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A paper to look up.

    Attributes:
        key: a number by which the caller recognizes the paper.
        identifiers: the identifiers by kind, such as "doi"; if the source knows no identifier of
            the paper, the title under the key `TITLE`.
    """

    key: int
    identifiers: Mapping[str, str]


@dataclass(slots=True)
class Answers:
    """The result of looking up papers at one source.

    Attributes:
        found: number of papers that the source has.
        unknown: number of papers that the source does not have.
        left: number of papers whose request failed or was skipped. These papers are looked up if
            the command is repeated, like the papers that were not reached before `stopped`.
        requests: number of requests that were sent to the source. Cached responses are not counted.
        errors: the messages of failed requests; equal messages are listed once.
        stopped: the error that ended the lookup early, or None.
    """

    found: int = 0
    unknown: int = 0
    left: int = 0
    requests: int = 0
    errors: list[str] = field(default_factory=list)
    stopped: HarnessError | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """The maximum cost of looking up papers at a source, if no response is cached.

    Attributes:
        source: the name of the source.
        papers: number of papers to look up.
        requests: number of requests.
        dollars: the price in US dollars, according to the price list of the source.
        seconds: the sum of the pauses between requests.
    """

    source: str
    papers: int
    requests: int
    dollars: float
    seconds: float


Batch = tuple[str, list[Wanted]]
"""The kind of identifier by which papers are looked up together, and the papers."""


def can_look_up(source: Source, identifiers: Mapping[str, str]) -> bool:
    """Return True if a source can look up one of these identifiers, or a title under `TITLE`."""
    return not {*source.kinds, TITLE}.isdisjoint(identifiers)


def _batches(source: Source, wanted: Iterable[Wanted]) -> Iterator[Batch]:
    """Yield batches of papers with the same kind of identifier.

    The kind is the first kind in `source.kinds` for which the paper has an identifier, or else
    `TITLE`. Papers without such an identifier and without a title in `identifiers` are omitted.
    """
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
    """Return the number of HTTP requests for a batch with this kind of identifier."""
    rates = source.rates
    return 1 + rates.before_pages if kind == TITLE else rates.requests.get(kind, 1)


def look_up(
    call: Call,
    source: Source,
    wanted: Iterable[Wanted],
    total: int,
    keep: Callable[[Wanted, Facts | None], None],
    most: int | None = None,
) -> Answers:
    """Look up papers at a source, pass each result to `keep`, and return counts and errors.

    A failed request does not end the lookup, but no request is sent after the error
    SourceUnavailable.

    Args:
        wanted: the papers to look up.
        total: number of these papers, for the progress.
        keep: stores a result; called with a paper and its facts, or with None instead of the facts
            if the source does not have the paper.
        most: maximum number of requests, including cached requests; None for no limit.
    """
    made, sent = Answers(), source.sent
    gone: SourceUnavailable | None = None

    def tasks() -> Iterator[Batch]:
        requests = 0
        for kind, batch in _batches(source, wanted):
            requests += _requests(source, kind)
            if gone or (most is not None and requests > most):
                made.left += len(batch)
            else:
                yield kind, batch

    def perform(task: Batch) -> Mapping[str, Facts]:
        nonlocal gone
        if gone:
            raise gone
        kind, batch = task
        values = list(dict.fromkeys(paper.identifiers[kind] for paper in batch))
        try:
            return _by_titles(source, values) if kind == TITLE else source.by_ids(kind, values)
        except SourceUnavailable as error:
            gone = error  # set here, since `refuse` may run after the next batch has begun
            raise

    def store(task: Batch, found: Mapping[str, Facts]) -> None:
        kind, batch = task
        for paper in batch:
            one = found.get(paper.identifiers[kind])
            keep(paper, one)
            made.found += one is not None
            made.unknown += one is None
        tick(f"{made.found + made.unknown:,} of {total:,} papers")

    def refuse(task: Batch, error: Exception) -> None:
        made.left += len(task[1])
        reason = str(error) if isinstance(error, HarnessError) else repr(error)
        made.errors = list(dict.fromkeys([*made.errors, reason]))

    with call.screen.progress(f"looking up at {source.title}") as tick:
        made.stopped = Job(perform, store, refuse, 1, call.cancel).run(tasks()).stopped
    made.requests = source.sent - sent
    return made


def _by_titles(source: Source, values: Sequence[str]) -> dict[str, Facts]:
    """Return the first search result with the same title for each title that the source has.

    The keys are the titles. Authors and years are compared later, when the result is stored.
    """
    found: dict[str, Facts] = {}
    for value in values:
        words = " ".join(re.findall(r"\w+", value))
        for one in source.search(SourceQuery(words, CANDIDATES, with_abstract=False)):
            if compare_titles(title(value), title(one.title)) == "same":
                found.setdefault(value, one)
    return found


def cost_of_ids(source: Source, wanted: Iterable[Wanted], most: int | None = None) -> Cost:
    """Return the maximum cost of looking up papers by their identifiers or titles.

    Args:
        wanted: the papers to look up.
        most: maximum number of requests; None for no limit.
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
    """Return the maximum cost of a search for `limit` papers."""
    requests = math.ceil(limit / source.rates.page) + source.rates.before_pages
    return _cost(source, limit, requests, requests * source.rates.by_search)


def _cost(source: Source, papers: int, requests: int, price: float) -> Cost:
    seconds = max(0, requests - 1) * source.delay
    return Cost(source.name, papers, requests, round(price, 6), round(seconds, 1))


def costs_shown(costs: Sequence[Cost]) -> str:
    """Return a table of costs as text, with one line for each source."""
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


def store(db: sqlite3.Connection, found: Facts) -> tuple[int | None, bool]:
    """Add a found paper to the corpus, or complete the stored paper if the corpus contains it.

    A new paper without an abstract is stored in the table `awaited` if it has an identifier.

    Returns:
        The id of the row in `papers`, or None for a new paper without an abstract; and True if a
        row was added to `papers` or `awaited`.
    """
    with transaction(db):
        rows = rows_with_identifiers(db, found.identifiers)
        if not rows and not found.abstract:
            return None, completion.await_abstract(db, found.paper)
        row = rows[0] if rows else papers.save(db, found.paper)
        completion.complete(db, row, found)
        completion.remember(db, "papers", row, found.source, found=True)
        return row, not rows
