"""The source arXiv, which finds papers by id and by query.

The API is described at https://info.arxiv.org/help/api/user-manual.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import requests

from harness.errors import NothingFound
from skills.corpus.db.completion import Facts
from skills.corpus.identity import identifiers as ids
from skills.corpus.references.csl_json import joined_names
from skills.corpus.sources.access import RETRIES, Source, by_value
from skills.corpus.sources.services import Rates, SourceQuery
from skills.corpus.tex import typographic
from skills.nanda.paper import METADATA, Paper
from skills.nanda.text import WORD, flatten

PAGE = 50
"""Maximum number of papers in a response to a search."""

_ATOM = "{http://www.w3.org/2005/Atom}"
_DOI = "{http://arxiv.org/schemas/atom}doi"
_TOTAL = "{http://a9.com/-/spec/opensearch/1.1/}totalResults"
_REQUIRED = ("id", "published", "updated")
_PLAIN = re.compile(r"[A-Za-z0-9]+")
_OPERATORS = frozenset({"and", "or", "not", "andnot", "to"})
_EARLIEST, _LATEST = date(1991, 1, 1), date(2999, 12, 31)


class Arxiv(Source):
    name = "arxiv"
    kinds = ("arxiv",)
    states = frozenset({"abstract", "doi", "published"})
    rates = Rates(100, PAGE, {})
    hint = (
        "Try again in a minute; `/annotate FILE` annotates papers in a file, "
        "and `--source corpus` searches only your corpus."
    )

    def paper(self, arxiv_id: str) -> Paper:
        """Return the paper with this arXiv id, which may have a version.

        Raises:
            NothingFound: arXiv has no such paper.
            SkillFailed, SourceUnavailable, OutputError: as for `Source.by_ids`.
        """
        found, _ = self._page(id_list=arxiv_id, max_results="1")
        if not found or _is_error(found[0]):
            reason = f": {flatten(_text(found[0], 'summary'))}" if found else ""
            raise NothingFound(f"arXiv has no paper {arxiv_id}{reason}", hint="Is the id right?")
        paper = _paper(found[0])
        if _comparable(paper.id) != _comparable(arxiv_id):
            other = flatten(paper.source["arxiv_id"])[:60]
            raise self.failed(f"the response to a request for {arxiv_id} is the paper {other}")
        if not paper.abstract:
            raise self.failed(f"the entry for {arxiv_id} has no abstract")
        return paper

    def papers(
        self,
        words: Sequence[str],
        limit: int,
        *,
        operator: str = "AND",
        since: date | None = None,
        until: date | None = None,
    ) -> list[Paper]:
        """Return the papers that contain `words`, the most relevant first.

        Args:
            limit: maximum number of results to request; results without an abstract are removed
                afterwards.
            operator: "AND", or "OR" to find papers with any of the words.
            since: the first day of submission, or None.
            until: the last day of submission, or None.

        Raises:
            SkillFailed, SourceUnavailable, OutputError: as for `Source.search`.
        """
        found = self._entries(_query(words, operator, since, until), limit)
        return [paper for paper in map(_paper, found) if paper.abstract]

    def by_ids(self, kind: str, values: Sequence[str]) -> dict[str, Facts]:
        found, _ = self._page(id_list=",".join(values), max_results=str(len(values)))
        return by_value(kind, values, (self._stated(one) for one in found if not _is_error(one)))

    def search(self, query: SourceQuery) -> list[Facts]:
        words = WORD.findall(query.text)
        if not words:
            return []
        found = self._entries(_query(words, "AND", query.since, query.until), query.limit)
        return query.chosen(map(self._stated, found))

    def _entries(self, query: str, limit: int) -> list[Any]:
        """Return the first `limit` Atom entries for a query, from as many pages as necessary."""
        found: list[Any] = []
        total = limit
        while len(found) < min(limit, total):
            page, total = self._page(
                search_query=query,
                sortBy="relevance",
                sortOrder="descending",
                start=str(len(found)),
                max_results=str(min(limit, PAGE)),
            )
            if any(map(_is_error, page)):
                raise self.failed(f"arXiv cannot read the query ({_text(page[0], 'summary')})")
            found += page
        return found[:limit]

    def _page(self, **parameters: str) -> tuple[list[Any], int]:
        """Request a page; return its Atom entries, and the number of results that arXiv states.

        arXiv sometimes sends an empty page by mistake. The request is then repeated, at most
        `RETRIES` times.

        Raises:
            SkillFailed: arXiv refuses the request, or the response is invalid or still empty.
            SourceUnavailable: arXiv cannot be reached.
            OutputError: the cache cannot be read or written.
        """
        for _ in range(RETRIES + 1):
            feed = self._feed(self.request("GET", params=parameters))
            entries, stated = feed.findall(f"{_ATOM}entry"), (feed.findtext(_TOTAL) or "").strip()
            total = int(stated) if stated.isdecimal() else len(entries)
            if entries or not total:
                return entries, total
            self.notice(f"arXiv has {total} papers for this query, but sent an empty page")
        raise self.failed("it has papers for this query, but sends an empty page")

    def _feed(self, response: requests.Response) -> Any:
        """Return the root element of the Atom feed in a response.

        Raises:
            SkillFailed: the response is not a complete feed.
        """
        root = self.parsed_xml(response)
        if root.tag != f"{_ATOM}feed":
            raise self.failed("the response is not a list of papers")
        entries = root.findall(f"{_ATOM}entry")
        if any(entry.find(_ATOM + name) is None for entry in entries for name in _REQUIRED):
            raise self.failed(f"an entry lacks one of {', '.join(_REQUIRED)}")
        return root

    def check_content(self, response: requests.Response) -> None:
        self._feed(response)

    def lasts(self, response: Any) -> bool:
        """Return True if the page may be cached: it has entries and no error."""
        return b"<entry" in response.content and b"/api/errors" not in response.content

    def _stated(self, entry: Any) -> Facts:
        paper = _paper(entry)
        return self.found(
            {"arxiv": ids.arxiv(paper.id), "doi": ids.doi(entry.findtext(_DOI) or "")},
            **{name: getattr(paper, name) for name in (*METADATA, "abstract")},
        )


def _query(words: Iterable[str], operator: str, since: date | None, until: date | None) -> str:
    """Return an arXiv query for papers with `words` that were submitted in a period.

    Operators, and words with characters other than ASCII letters and digits, are quoted. The syntax
    is described in section 5.1 of arXiv's API User's Manual.

    Args:
        operator: "AND" if all words must occur, or "OR" if at least one word must occur.
        since: the first day in GMT, or None.
        until: the last day in GMT, or None.
    """

    def quoted(word: str) -> str:
        if _PLAIN.fullmatch(word) and word.casefold() not in _OPERATORS:
            return word
        return '"' + re.sub(r'["\\]', " ", word) + '"'

    terms = f" {operator} ".join(f"all:{quoted(word)}" for word in words)
    if not since and not until:
        return terms
    first, last = since or _EARLIEST, until or _LATEST
    return f"({terms}) AND submittedDate:[{first:%Y%m%d}0000 TO {last:%Y%m%d}2359]"


def _is_error(entry: Any) -> bool:
    return "/api/errors" in _text(entry, "id")


def _text(entry: Any, name: str) -> str:
    return (entry.findtext(_ATOM + name) or "").strip()


def _paper(entry: Any) -> Paper:
    versioned = _text(entry, "id").rpartition("arxiv.org/abs/")[2]
    names = (flatten(_text(author, "name")) for author in entry.iterfind(f"{_ATOM}author"))
    return Paper(
        "arxiv_id",
        _without_version(versioned),
        typographic(flatten(_text(entry, "title"))),
        _text(entry, "summary"),
        {"kind": "arxiv", "arxiv_id": versioned},
        authors=joined_names(names),
        published=_text(entry, "published")[:10],
        categories=", ".join(one.get("term", "") for one in entry.iterfind(f"{_ATOM}category")),
    )


def _without_version(arxiv_id: str) -> str:
    return re.sub(r"v\d+$", "", arxiv_id)


def _comparable(arxiv_id: str) -> str:
    """Return an id in lower case, without version and subject class, for comparisons."""
    return re.sub(r"\.[a-z]{2}(?=/)", "", _without_version(arxiv_id).casefold())
