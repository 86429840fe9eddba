"""Define a source of papers, and what a request to it costs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Protocol

from skills.corpus.records import Found

if TYPE_CHECKING:
    from skills.corpus.sources.access import Access


@dataclass(frozen=True, slots=True)
class Query:
    """A search.

    Attributes:
        text: as the source reads it.
        limit: papers at most.
        since, until: the first and the last day of publication.
        with_abstract: leave out papers without an abstract at the source.
    """

    text: str
    limit: int
    since: date | None = None
    until: date | None = None
    with_abstract: bool = True

    def chosen(self, found: Iterable[Found]) -> list[Found]:
        """Return the first papers of those that a source has found."""
        kept = (one for one in found if one.abstract or not self.with_abstract)
        return list(itertools.islice(kept, self.limit))


@dataclass(frozen=True, slots=True)
class Rates:
    """What is known about a source without a request.

    Attributes:
        batch: papers that one request by id returns.
        page: papers that one request of a search returns.
        requests: for a batch, by kind of identifier, where it is not 1.
        before_pages: requests of a search before its first page.
        by_ids, by_search: the price of such a request in US dollars.
    """

    batch: int
    page: int
    requests: Mapping[str, int]
    before_pages: int = 0
    by_ids: float = 0.0
    by_search: float = 0.0


class Source(Protocol):
    """A source of papers.

    Attributes:
        name: as options and environment variables have it.
        kinds: identifiers by which it finds papers, the best first.
        states: what it states of a paper, by the names of `Found`.
    """

    name: str
    states: frozenset[str]
    rates: Rates

    @property
    def kinds(self) -> Sequence[str]: ...

    @property
    def access(self) -> Access: ...

    def by_ids(self, kind: str, values: Sequence[str]) -> dict[str, Found]:
        """Return the papers with these identifiers of one kind, at most `rates.batch`.

        Those it does not know are missing from the result.

        Raises:
            SkillFailed: it refuses the request, or its response cannot be used.
            SourceUnavailable: it serves no request now.
            OutputError: the cache cannot be used.
        """

    def search(self, query: Query) -> list[Found]:
        """Return papers, best first.

        Raises:
            SkillFailed, SourceUnavailable, OutputError: see `by_ids`.
        """


def by_value(kind: str, values: Iterable[str], found: Iterable[Found]) -> dict[str, Found]:
    """Return what was found by the value of its identifier, of the requested ones alone."""
    wanted = set(values)
    known = ((one.identifiers.get(kind, ""), one) for one in reversed(list(found)))
    return {value: one for value, one in known if value in wanted}
