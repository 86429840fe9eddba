"""The source Semantic Scholar, which finds papers by id and by query.

The API is described at https://api.semanticscholar.org.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import requests

from skills.corpus.db.completion import Facts
from skills.corpus.identity import identifiers as ids
from skills.corpus.references.csl_json import joined_names, objects, text
from skills.corpus.sources.access import JsonSource, count
from skills.corpus.sources.services import Rates, SourceQuery

BATCH, PAGE = 500, 100
MOST = 1000
"""Maximum number of results that the API returns for a search by relevance."""

_FIELDS = "externalIds,title,abstract,venue,year,publicationDate,authors,citationCount"
_PREFIXES = {"doi": "DOI:", "arxiv": "ARXIV:", "pmid": "PMID:"}
_NONE_KNOWN = "no valid paper ids"


class SemanticScholar(JsonSource):
    name = "semanticscholar"
    kinds = ("doi", "arxiv", "pmid")
    states = frozenset({"abstract", "doi", "published", "venue", "cited"})
    rates = Rates(BATCH, PAGE, {})
    key_header = ("x-api-key", "{}")

    def is_answer(self, found: Any) -> bool:
        """Return True for the response to a batch request or for a page of search results."""
        if isinstance(found, list):
            return all(one is None or isinstance(one, dict) for one in found)
        return isinstance(found, dict) and ("data" in found or found.get("total") == 0)

    def check(self, response: requests.Response) -> None:
        """Check a response, but accept a status 400 with the message that no paper is known."""
        if response.status_code != 400 or _NONE_KNOWN not in response.text[:500].lower():
            super().check(response)

    def by_ids(self, kind: str, values: Sequence[str]) -> dict[str, Facts]:
        response = self.request(
            "POST",
            "/paper/batch",
            params={"fields": _FIELDS},
            json={"ids": [_PREFIXES[kind] + value for value in values]},
        )
        if response.status_code == 400:
            return {}
        papers = self.read(response)
        if not isinstance(papers, list) or len(papers) != len(values):
            raise self.failed(f"the response does not have one entry for each of {len(values)} ids")
        both = zip(values, papers, strict=True)
        return {value: self._paper(paper) for value, paper in both if isinstance(paper, Mapping)}

    def search(self, query: SourceQuery) -> list[Facts]:
        found: list[Facts] = []
        most = min(query.limit, MOST)
        days = ":".join(day.isoformat() if day else "" for day in (query.since, query.until))
        start: Any = 0
        while isinstance(start, int) and start < MOST and len(query.chosen(found)) < most:
            parameters = {
                "query": query.text,
                "fields": _FIELDS,
                "offset": str(start),
                "limit": str(min(PAGE, most, MOST - start)),
                **({"publicationDateOrYear": days} if days != ":" else {}),
            }
            page = self.get("/paper/search", parameters)
            papers = objects(page.get("data"))
            found += map(self._paper, papers)
            start = page.get("next") if papers else None
        return query.chosen(found)

    def _paper(self, paper: Mapping[str, Any]) -> Facts:
        external = paper.get("externalIds")
        known = ids.identifiers(text(external, "DOI"))
        known["arxiv"] = ids.arxiv(text(external, "ArXiv")) or known.get("arxiv", "")
        known["pmid"] = ids.pmid(f"pmid:{text(external, 'PubMed')}")
        names = (text(one, "name") for one in objects(paper.get("authors")))
        return self.found(
            known,
            title=text(paper, "title"),
            abstract=text(paper, "abstract"),
            authors=joined_names(names),
            published=text(paper, "publicationDate") or text(paper, "year"),
            venue=text(paper, "venue"),
            cited=count(paper.get("citationCount")),
        )
