"""Papers from arXiv: one by its id, or the most relevant ones on a topic."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from typing import TYPE_CHECKING

from harness.api.skill import Call
from harness.errors import NothingFound
from skills.corpus.identity import identifiers as ids
from skills.corpus.records import Found
from skills.corpus.references.csl_json import joined_names
from skills.corpus.sources.source import Query, Rates, by_value
from skills.corpus.tex import typographic
from skills.nanda.paper import Paper
from skills.nanda.text import WORD, flatten

if TYPE_CHECKING:
    import arxiv  # type: ignore[import-untyped]

    from skills.corpus.sources.arxiv_api import ArxivApi

PAGE = 50
"""Papers per request."""

_PLAIN = re.compile(r"[A-Za-z0-9]+")
_OPERATORS = frozenset({"and", "or", "not", "andnot", "to"})
_EARLIEST, _LATEST = date(1991, 1, 1), date(2999, 12, 31)


class Arxiv:
    name = "arxiv"
    kinds = ("arxiv",)
    states = frozenset({"abstract", "doi", "published"})
    rates = Rates(100, PAGE, {})

    def __init__(self, access: ArxivApi) -> None:
        self.access = access

    def by_ids(self, kind: str, values: Sequence[str]) -> dict[str, Found]:
        import arxiv

        request = arxiv.Search(id_list=list(values), max_results=len(values))
        found = self.access.page(request, len(values))
        return by_value(kind, values, (_found(one) for one in found if not _is_error(one)))

    def search(self, query: Query) -> list[Found]:
        import arxiv

        words = [match.group() for match in WORD.finditer(query.text)]
        if not words:
            return []
        terms = arxiv_query(words, "AND", query.since, query.until)
        by_relevance = arxiv.SortCriterion.Relevance
        request = arxiv.Search(query=terms, max_results=query.limit, sort_by=by_relevance)
        found = self.access.results(request, min(query.limit, PAGE))
        return query.chosen(map(_found, found))


def api_of(call: Call) -> ArxivApi:
    """Return the access to arXiv for a run."""
    from skills.corpus.sources.arxiv_api import ArxivApi

    return ArxivApi(call.settings.cache_dir / "arxiv", call.screen.notice)


def fetch(arxiv_id: str, api: ArxivApi) -> Paper:
    """Return the paper with an arXiv id, with or without a version.

    Raises:
        NothingFound: arXiv has no such paper.
        SkillFailed, OutputError: see `ArxivApi.results`.
    """
    import arxiv

    found = api.results(arxiv.Search(id_list=[arxiv_id], max_results=1), 1)
    if not found:
        raise NothingFound(f"arXiv has no paper {arxiv_id}", hint="Is the id right?")
    if _is_error(found[0]):
        reason = flatten(found[0].summary)
        raise NothingFound(f"arXiv has no paper {arxiv_id}: {reason}", hint="Is the id right?")
    paper = _paper(found[0])
    if _comparable(paper.id) != _comparable(arxiv_id):
        other = flatten(paper.source["arxiv_id"])[:60]
        raise api.failed(f"the response to a request for {arxiv_id} is {other}")
    if not paper.abstract:
        raise api.failed(f"its entry for {arxiv_id} has no abstract")
    return paper


def search(
    words: Sequence[str],
    api: ArxivApi,
    *,
    limit: int,
    operator: str = "AND",
    since: date | None = None,
    until: date | None = None,
) -> list[Paper]:
    """Return the papers that contain all words (any of them with "OR"), most relevant first.

    Args:
        limit: the maximum number of papers; those without an abstract are left out.
        since, until: the first and the last day of submission.

    Raises:
        SkillFailed, OutputError: see `ArxivApi.results`.
    """
    import arxiv

    terms, by_relevance = arxiv_query(words, operator, since, until), arxiv.SortCriterion.Relevance
    request = arxiv.Search(query=terms, max_results=limit, sort_by=by_relevance)
    found = api.results(request, min(limit, PAGE))
    if any(map(_is_error, found)):
        raise api.failed(f"it cannot read the query ({found[0].summary.strip()})")
    return [paper for paper in map(_paper, found) if paper.abstract]


def arxiv_query(
    words: Iterable[str], operator: str, since: date | None = None, until: date | None = None
) -> str:
    """Return arXiv's query for papers with `words`.

    A word that arXiv could read as an operator is quoted. The form is that of the arXiv API User's
    Manual, section 5.1; dates are in GMT.
    """
    terms = f" {operator} ".join(f"all:{_quoted(word)}" for word in words)
    if not since and not until:
        return terms
    first, last = since or _EARLIEST, until or _LATEST
    return f"({terms}) AND submittedDate:[{first:%Y%m%d}0000 TO {last:%Y%m%d}2359]"


def _quoted(word: str) -> str:
    if _PLAIN.fullmatch(word) and word.casefold() not in _OPERATORS:
        return word
    return '"' + re.sub(r'["\\]', " ", word) + '"'


def _is_error(found: arxiv.Result) -> bool:
    return "/api/errors" in found.entry_id


def _found(found: arxiv.Result) -> Found:
    paper = _paper(found)
    known = {"arxiv": ids.arxiv(paper.id), "doi": ids.doi(found.doi or "")}
    return Found(
        Arxiv.name,
        {kind: value for kind, value in known.items() if value},
        title=paper.title,
        abstract=paper.abstract,
        authors=paper.authors,
        published=paper.published,
        categories=paper.categories,
    )


def _paper(found: arxiv.Result) -> Paper:
    versioned = found.get_short_id()
    return Paper(
        "arxiv_id",
        _without_version(versioned),
        typographic(flatten(found.title)),
        found.summary.strip(),
        {"kind": "arxiv", "arxiv_id": versioned},
        authors=joined_names(flatten(author.name) for author in found.authors),
        published=found.published.date().isoformat(),
        categories=", ".join(found.categories),
    )


def _without_version(arxiv_id: str) -> str:
    return re.sub(r"v\d+$", "", arxiv_id)


def _comparable(arxiv_id: str) -> str:
    """Return the id without version and, in an old id, without the subject class, as arXiv does."""
    return re.sub(r"\.[a-z]{2}(?=/)", "", _without_version(arxiv_id).casefold())
