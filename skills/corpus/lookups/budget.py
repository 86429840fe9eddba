"""What a lookup will take, before anything is requested."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.runs.progress import duration
from harness.terminal.tables import table
from skills.corpus.db.lookups.facts import TITLE
from skills.corpus.lookups.batches import Wanted, batches, requests_of
from skills.corpus.lookups.configuration import SERVICES
from skills.corpus.lookups.sources.source import Source


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
