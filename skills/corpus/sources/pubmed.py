"""The source PubMed, which finds papers by PMID, DOI and query, with NCBI's E-utilities.

The API is described at https://www.ncbi.nlm.nih.gov/books/NBK25501/. All requests are POSTs, so
that URLs do not contain the key.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import requests

from skills.corpus.db.completion import Facts
from skills.corpus.identity import identifiers as ids
from skills.corpus.references.csl_json import date_from, joined_names, text
from skills.corpus.sources.access import Source, by_value
from skills.corpus.sources.services import EMAIL, Rates, SourceQuery
from skills.nanda.paper import iso_date
from skills.nanda.text import flatten

BATCH = 100
PAGE = 200

_FETCH, _SEARCH = "/efetch.fcgi", "/esearch.fcgi"


class PubMed(Source):
    name = "pubmed"
    kinds = ("pmid", "doi")
    states = frozenset({"abstract", "doi", "published", "venue", "retracted", "notice"})
    rates = Rates(BATCH, PAGE, {"doi": 2}, before_pages=1)

    @property
    def form(self) -> dict[str, str]:
        known = {"tool": "nanda-harness", "email": os.environ.get(EMAIL, ""), "api_key": self.key}
        return {name: value for name, value in known.items() if value}

    def check_content(self, response: requests.Response) -> None:
        """Check that the response is a set of articles in XML, or a JSON search result."""
        if _FETCH in (response.url or ""):
            self._articles(response)
        else:
            self._pmids(response)

    def by_ids(self, kind: str, values: Sequence[str]) -> dict[str, Facts]:
        pmids = values
        if kind == "doi":
            term = " OR ".join('"{}"[doi]'.format(value.replace('"', "")) for value in values)
            pmids = self._searched(term, len(values))
        return by_value(kind, values, self._fetched(pmids))

    def search(self, query: SourceQuery) -> list[Facts]:
        term = f"({query.text})" + " AND hasabstract" * query.with_abstract
        if query.since or query.until:
            first, last = (f"{day:%Y/%m/%d}" if day else "" for day in (query.since, query.until))
            term += f' AND ("{first or "1800"}"[dp] : "{last or "3000"}"[dp])'
        pmids = self._searched(term, query.limit)
        pages = (pmids[start : start + PAGE] for start in range(0, len(pmids), PAGE))
        return query.chosen([one for page in pages for one in self._fetched(page)])

    def _searched(self, term: str, limit: int) -> list[str]:
        parameters = {"db": "pubmed", "retmode": "json", "sort": "relevance"}
        parameters |= {"retmax": str(limit), "term": term}
        return self._pmids(self.request("POST", _SEARCH, data=parameters))

    def _fetched(self, pmids: Sequence[str]) -> list[Facts]:
        if not pmids:
            return []
        parameters = {"db": "pubmed", "retmode": "xml", "id": ",".join(pmids)}
        response = self.request("POST", _FETCH, data=parameters)
        return [self._article(one) for one in self._articles(response)]

    def _articles(self, response: requests.Response) -> list[Any]:
        """Return the article elements of an efetch response.

        Raises:
            SkillFailed: the response is not a complete set of articles.
        """
        root = self.parsed_xml(response)
        if root.tag != "PubmedArticleSet":
            raise self.failed("the response is not a set of articles")
        return list(root.iterfind("PubmedArticle"))

    def _pmids(self, response: requests.Response) -> list[str]:
        """Return the PMIDs in an esearch response.

        Raises:
            SkillFailed: the response is not a search result.
        """
        try:
            found = response.json().get("esearchresult")
        except (ValueError, AttributeError, RecursionError) as exc:
            raise self.failed("the response is not JSON, or cut off") from exc
        pmids = found.get("idlist") if isinstance(found, dict) else None
        if not isinstance(pmids, list):
            reason = text(found, "ERROR")[:200]
            raise self.failed(reason or "the response has no esearchresult.idlist")
        return [pmid for pmid in pmids if isinstance(pmid, str) and pmid.isdigit()]

    def _article(self, article: Any) -> Facts:
        dois = article.iterfind("PubmedData/ArticleIdList/ArticleId[@IdType='doi']")
        types = {_whole(one) for one in article.iter("PublicationType")}
        notices = article.iterfind(".//CommentsCorrections[@RefType='RetractionIn']")
        references = (_text(one, "RefSource").rpartition("doi:")[2] for one in notices)
        notice = next(map(ids.doi, references), None)
        return self.found(
            {
                "pmid": ids.pmid(f"pmid:{_text(article, 'MedlineCitation/PMID')}"),
                "doi": next((ids.doi(_whole(one)) for one in dois), ""),
            },
            title=_text(article, ".//ArticleTitle"),
            abstract=" ".join(_sections(article)),
            authors=joined_names(_authors(article)),
            published=_date(article),
            venue=_text(article, ".//Journal/Title"),
            retracted=notice is not None or "Retracted Publication" in types,
            notice=notice or "",
        )


def _sections(article: Any) -> Iterator[str]:
    """Yield the sections of an abstract, each after its label, as PubMed shows them."""
    for one in article.iterfind(".//Article/Abstract/AbstractText"):
        label = flatten(one.get("Label") or "")
        yield f"{label}: {_whole(one)}" if label else _whole(one)


def _authors(article: Any) -> Iterator[str]:
    for one in article.iterfind(".//AuthorList/Author"):
        names = (_text(one, name) for name in ("ForeName", "LastName"))
        if name := " ".join(filter(None, names)) or _text(one, "CollectiveName"):
            yield name


def _date(article: Any) -> str:
    """Return the date of electronic publication, or else the date of the issue, or ""."""
    for place in (".//Article/ArticleDate", ".//JournalIssue/PubDate"):
        year, month, day = (_text(article, f"{place}/{part}") for part in ("Year", "Month", "Day"))
        if found := iso_date(date_from(year, month, day)):
            return found
    return iso_date(_text(article, ".//JournalIssue/PubDate/MedlineDate")[:4])


def _text(element: Any, path: str) -> str:
    found = element.find(path)
    return "" if found is None else _whole(found)


def _whole(element: Any) -> str:
    return flatten("".join(element.itertext()))
