"""Look a paper up by its title, where it has no identifier."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from skills.corpus.db.lookups.facts import TITLE
from skills.corpus.identity import titles
from skills.corpus.lookups.access import Access
from skills.corpus.lookups.sources.source import Query, Source
from skills.corpus.records import Found

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
