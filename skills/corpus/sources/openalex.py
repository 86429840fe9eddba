"""The source OpenAlex, which finds works by id and by query.

The API is described at https://developers.openalex.org.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skills.corpus.db.completion import Facts
from skills.corpus.identity import identifiers as ids
from skills.corpus.references.csl_json import joined_names, objects, text
from skills.corpus.sources.access import CursorSource, count
from skills.corpus.sources.services import Rates
from skills.nanda.text import flatten

PAGE = 100
LONGEST = 100_000
"""Maximum number of positions in an abstract; words at later positions are ignored."""
ARXIV_DOI = "10.48550/arxiv."

_FIELDS = (
    "id,ids,doi,display_name,publication_date,authorships,primary_location,"
    "abstract_inverted_index,cited_by_count,is_retracted"
)
_FILTERS = {"openalex": "openalex", "doi": "doi", "pmid": "pmid", "arxiv": "doi"}


class OpenAlex(CursorSource):
    name = "openalex"
    kinds = ("openalex", "doi", "pmid", "arxiv")
    states = frozenset({"abstract", "doi", "published", "venue", "cited", "retracted"})
    rates = Rates(PAGE, PAGE, {}, by_ids=0.0001, by_search=0.001)
    key_header = ("Authorization", "Bearer {}")
    words = "search"
    size = "per-page"
    conditions = ("from_publication_date", "to_publication_date", "has_abstract")
    separators = ",|"

    def is_answer(self, found: Any) -> bool:
        return isinstance(found, dict) and isinstance(found.get("results"), list)

    def filter_by(self, kind: str, values: Sequence[str]) -> str:
        prefix = ARXIV_DOI if kind == "arxiv" else ""
        return f"{_FILTERS[kind]}:{'|'.join(prefix + value for value in values)}"

    def page(self, parameters: Mapping[str, str]) -> tuple[list[Facts], str]:
        page = self.get("/works", {**parameters, "select": _FIELDS})
        works = map(self._work, objects(page["results"]))
        return list(works), text(page.get("meta"), "next_cursor")

    def _work(self, work: Mapping[str, Any]) -> Facts:
        pmid = text(work, "ids", "pmid")
        known = {
            **ids.identifiers(text(work, "doi")),
            "pmid": ids.pmid(pmid) or ids.pmid(f"pmid:{pmid}"),
            "openalex": ids.openalex(text(work, "id")),
        }
        names = (text(one, "author", "display_name") for one in objects(work.get("authorships")))
        retracted = work.get("is_retracted")
        return self.found(
            known,
            title=text(work, "display_name"),
            abstract=abstract_of(work.get("abstract_inverted_index")),
            authors=joined_names(names),
            published=text(work, "publication_date"),
            venue=text(work, "primary_location", "source", "display_name"),
            cited=count(work.get("cited_by_count")),
            retracted=retracted if isinstance(retracted, bool) else None,
        )


def abstract_of(inverted: Any) -> str:
    """Return an abstract, given its inverted index: a mapping of each word to its positions."""
    if not isinstance(inverted, Mapping):
        return ""
    placed = {
        place: word
        for word, places in inverted.items()
        if isinstance(places, list)
        for place in places
        if isinstance(place, int) and 0 <= place < LONGEST
    }
    return flatten(" ".join(str(placed[place]) for place in sorted(placed)))
