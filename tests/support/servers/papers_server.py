"""The APIs of OpenAlex, Crossref, Semantic Scholar and PubMed over a local socket.

Answers have the form that each documents; all papers are invented. `faults` are sent first, each
once: a status with headers, a body, a pause, or a closed connection.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import pytest
from local_http import Handler, local_server

from skills.corpus.sources import services
from skills.corpus.sources.services import VARIABLE

ABSTRACT = "We present {0}, a method that plans before it acts. It needs half of the calls."


@dataclass(frozen=True)
class Work:
    """An invented paper, with what each API states about it."""

    doi: str = ""
    arxiv: str = ""
    pmid: str = ""
    openalex: str = ""
    title: str = ""
    abstract: str = ""
    authors: tuple[str, ...] = ("Ada Invented", "Ben Made-Up")
    published: str = "2024-05-17"
    venue: str = "Journal of Invented Plans"
    cited: int = 7
    retracted_by: str = ""

    @property
    def words(self) -> set[str]:
        return set(re.findall(r"\w+", f"{self.title} {self.abstract}".lower()))


SHELF = (
    Work(
        "10.1000/plan.1",
        "2401.00011",
        "31000001",
        "W4400000001",
        "Planner: Tools That Plan",
        ABSTRACT.format("Planner"),
    ),
    Work(
        "10.1000/plan.2",
        "",
        "31000002",
        "W4400000002",
        "Ledger of <i>Retracted</i> Plans",
        ABSTRACT.format("Ledger"),
        cited=0,
        retracted_by="10.1000/notice.2",
    ),
    Work("10.1000/plan.3", "", "", "W4400000003", "A Plan Without an Abstract", ""),
)


@dataclass(frozen=True)
class Fault:
    """A bad response that is sent once."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False
    hang: bool = False


@dataclass
class Sent:
    """A request as it arrived."""

    path: str
    values: dict[str, str]
    headers: dict[str, str]
    body: str


class PapersServer:
    """A running server.

    Attributes:
        address: of all four APIs; `url(name)` is that of one.
        shelf: the papers that it knows.
        asked: the requests, in order.
        faults: what is sent first; None for a good response.
    """

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.shelf: tuple[Work, ...] = SHELF
        self.asked: list[Sent] = []
        self.faults: list[Fault | None] = []
        self.released = threading.Event()

    def url(self, name: str) -> str:
        return f"{self.address}/{name}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that name this server as each source."""
        names = ("openalex", "crossref", "semanticscholar", "pubmed")
        return {f"HARNESS_{name.upper()}_URL": self.url(name) for name in names}

    def found(self, query: str) -> list[Work]:
        """Return the papers with all words of a query."""
        words = set(re.findall(r"\w+", query.lower())) - {"and", "hasabstract"}
        return [work for work in self.shelf if words <= work.words]

    def answer(self, asked: Sent) -> tuple[int, Any]:
        """Return status and body, which is an object unless it is XML."""
        answers = {
            "/openalex/works": self._openalex,
            "/crossref/works": self._crossref,
            "/semanticscholar/paper/batch": self._batch,
            "/semanticscholar/paper/search": self._relevance,
            "/pubmed/esearch.fcgi": self._esearch,
            "/pubmed/efetch.fcgi": self._efetch,
        }
        return answers[asked.path](asked)

    def _openalex(self, asked: Sent) -> tuple[int, Any]:
        given = asked.values
        if "search" in given:
            works = [work for work in self.found(given["search"]) if work.abstract]
        else:
            name, _, wanted = given["filter"].partition(":")
            values = wanted.split("|")
            works = [work for work in self.shelf if _openalex_ids(work, name) & set(values)]
        rows, start = int(given["per-page"]), int(given.get("cursor", "*").replace("*", "0"))
        page = works[start : start + rows]
        more = str(start + rows) if start + rows < len(works) else None
        meta = {"count": len(works), "per_page": rows, "next_cursor": more, "cost_usd": 0.0001}
        return 200, {"meta": meta, "results": [_as_openalex(work) for work in page]}

    def _crossref(self, asked: Sent) -> tuple[int, Any]:
        given = asked.values
        if "query.bibliographic" in given:
            works = [one for one in self.found(given["query.bibliographic"]) if one.abstract]
        else:
            values = {part.removeprefix("doi:") for part in given["filter"].split(",")}
            works = [work for work in self.shelf if work.doi in values]
        rows, start = int(given["rows"]), int(given.get("cursor", "*").replace("*", "0"))
        page = works[start : start + rows]
        message: dict[str, Any] = {"total-results": len(works)}
        message["items"] = [_as_crossref(work) for work in page]
        if "cursor" in given:
            message["next-cursor"] = str(start + rows)
        return 200, {"status": "ok", "message-type": "work-list", "message": message}

    def _batch(self, asked: Sent) -> tuple[int, Any]:
        papers = []
        for wanted in json.loads(asked.body)["ids"]:
            kind, _, value = wanted.partition(":")
            name = {"DOI": "doi", "ARXIV": "arxiv", "PMID": "pmid"}[kind]
            known = (work for work in self.shelf if value and getattr(work, name) == value)
            papers.append(next(map(_as_semantic_scholar, known), None))
        return (200, papers) if any(papers) else (400, {"error": "No valid paper ids given"})

    def _relevance(self, asked: Sent) -> tuple[int, Any]:
        works = self.found(asked.values["query"])
        start, rows = int(asked.values["offset"]), int(asked.values["limit"])
        page = {"total": len(works), "offset": start}
        page["data"] = [_as_semantic_scholar(work) for work in works[start : start + rows]]
        return 200, {**page, **({"next": start + rows} if start + rows < len(works) else {})}

    def _esearch(self, asked: Sent) -> tuple[int, Any]:
        term = asked.values["term"]
        if dois := re.findall(r'"([^"]+)"\[doi\]', term):
            works = [work for work in self.shelf if work.doi in dois]
        else:
            works = [work for work in self.found(term) if work.abstract]
        pmids = [work.pmid for work in works if work.pmid][: int(asked.values["retmax"])]
        return 200, {"header": {}, "esearchresult": {"count": str(len(pmids)), "idlist": pmids}}

    def _efetch(self, asked: Sent) -> tuple[int, Any]:
        wanted = asked.values["id"].split(",")
        articles = "".join(_as_pubmed(work) for work in self.shelf if work.pmid in wanted)
        text = f'<?xml version="1.0"?>\n<PubmedArticleSet>{articles}</PubmedArticleSet>'
        return 200, text.encode()


def _openalex_ids(work: Work, name: str) -> set[str]:
    if name == "doi":
        return {work.doi, f"10.48550/arxiv.{work.arxiv}" if work.arxiv else work.doi}
    return {getattr(work, name)} - {""}


def _as_openalex(work: Work) -> dict[str, Any]:
    inverted: dict[str, list[int]] = {}
    for place, word in enumerate(work.abstract.split()):
        inverted.setdefault(word, []).append(place)
    ids = {"openalex": f"https://openalex.org/{work.openalex}"}
    if work.pmid:
        ids["pmid"] = f"https://pubmed.ncbi.nlm.nih.gov/{work.pmid}"
    people = [{"author": {"display_name": name}} for name in work.authors]
    return {
        "id": f"https://openalex.org/{work.openalex}",
        "doi": f"https://doi.org/{work.doi}" if work.doi else None,
        "ids": ids,
        "display_name": re.sub("<[^>]+>", "", work.title),
        "publication_date": work.published,
        "authorships": people,
        "primary_location": {"source": {"display_name": work.venue}},
        "abstract_inverted_index": inverted or None,
        "cited_by_count": work.cited,
        "is_retracted": bool(work.retracted_by),
    }


def _as_crossref(work: Work) -> dict[str, Any]:
    made: dict[str, Any] = {
        "DOI": work.doi.upper(),
        "type": "journal-article",
        "title": [work.title],
        "container-title": [work.venue],
        "author": [
            {"given": given, "family": family, "sequence": "first"}
            for given, family in (name.split(" ", 1) for name in work.authors)
        ],
        "issued": {"date-parts": [[int(part) for part in work.published.split("-")]]},
        "is-referenced-by-count": work.cited,
    }
    if work.abstract:
        text = escape(work.abstract)
        made["abstract"] = f"<jats:title>Abstract</jats:title><jats:p>{text}</jats:p>"
    if work.retracted_by:
        made["updated-by"] = [
            {"type": "correction", "DOI": "10.1000/erratum", "source": "publisher"},
            {"type": "retraction", "DOI": work.retracted_by, "source": "retraction-watch"},
        ]
    return made


def _as_semantic_scholar(work: Work) -> dict[str, Any]:
    known = {"DOI": work.doi, "ArXiv": work.arxiv, "PubMed": work.pmid}
    return {
        "paperId": "0" * 40,
        "externalIds": {**{k: v for k, v in known.items() if v}, "CorpusId": 1},
        "title": re.sub("<[^>]+>", "", work.title),
        "abstract": work.abstract or None,
        "venue": work.venue,
        "year": int(work.published[:4]),
        "publicationDate": work.published,
        "authors": [{"authorId": "1", "name": name} for name in work.authors],
        "citationCount": work.cited,
    }


def _as_pubmed(work: Work) -> str:
    year, month, day = work.published.split("-")
    people = "".join(
        f"<Author><LastName>{name.split(' ', 1)[1]}</LastName>"
        f"<ForeName>{name.split(' ', 1)[0]}</ForeName></Author>"
        for name in work.authors
    )
    first, _, rest = work.abstract.partition(". ")
    abstract = (
        f'<Abstract><AbstractText Label="METHODS">{escape(first)}.</AbstractText>'
        f"<AbstractText>{escape(rest)}</AbstractText></Abstract>"
    )
    retracted = (
        '<CommentsCorrectionsList><CommentsCorrections RefType="RetractionIn">'
        f"<RefSource>J Plans. 2025. doi: {work.retracted_by}</RefSource></CommentsCorrections>"
        "</CommentsCorrectionsList>"
    )
    return f"""<PubmedArticle><MedlineCitation><PMID Version="1">{work.pmid}</PMID>
<Article><Journal><JournalIssue><PubDate><Year>{year}</Year><Month>May</Month></PubDate>
</JournalIssue><Title>{work.venue}</Title></Journal>
<ArticleTitle>{work.title}</ArticleTitle>{abstract if work.abstract else ""}
<AuthorList>{people}</AuthorList>
<PublicationTypeList><PublicationType>Journal Article</PublicationType></PublicationTypeList>
<ArticleDate><Year>{year}</Year><Month>{month}</Month><Day>{day}</Day></ArticleDate></Article>
{retracted if work.retracted_by else ""}</MedlineCitation>
<PubmedData><ArticleIdList><ArticleId IdType="pubmed">{work.pmid}</ArticleId>
<ArticleId IdType="doi">{work.doi}</ArticleId></ArticleIdList></PubmedData></PubmedArticle>"""


class _Handler(Handler):
    papers: ClassVar[PapersServer]

    def do_GET(self) -> None:
        self._answer("")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def _answer(self, body: str) -> None:
        parts = urlsplit(self.path)
        form = body if self.headers.get("Content-Type", "").endswith("urlencoded") else ""
        values = {k: v[0] for k, v in parse_qs(form or parts.query).items()}
        asked = Sent(parts.path, values, dict(self.headers.items()), body)
        self.papers.asked.append(asked)
        fault = self.papers.faults.pop(0) if self.papers.faults else None
        if fault is not None:
            if fault.hang:
                self.papers.released.wait(10)
            elif not fault.drop:
                self._send(fault.status, fault.body, fault.headers)
            return
        status, made = self.papers.answer(asked)
        self._send(status, made if isinstance(made, bytes) else json.dumps(made).encode(), {})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send(status, body, {"Content-Type": "application/json", **headers})


@contextmanager
def running() -> Iterator[PapersServer]:
    """Serve on a free local port until the block ends."""
    handler = type("Handler", (_Handler,), {})
    with local_server(handler) as port:
        handler.papers = PapersServer(port)
        try:
            yield handler.papers
        finally:
            handler.papers.released.set()


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[PapersServer]:
    """Serve as each of the sources of this process, which has neither keys nor pauses."""
    for name in ("OPENALEX_API_KEY", "SEMANTIC_SCHOLAR_API_KEY", "NCBI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in (services.EMAIL, VARIABLE):
        monkeypatch.delenv(name, raising=False)
    without_pauses = {
        name: replace(one, delay=0, delay_with_key=0) for name, one in services.SERVICES.items()
    }
    monkeypatch.setattr(services, "SERVICES", without_pauses)
    with running() as papers:
        for name, url in papers.environment.items():
            monkeypatch.setenv(name, url)
        yield papers
