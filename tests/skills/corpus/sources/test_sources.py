"""OpenAlex, Crossref, Semantic Scholar and PubMed: what they state, and how they fail."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from papers_server import ABSTRACT, Fault, PapersServer, Work

from harness.errors import Interrupted, OutputError, SkillFailed, SourceUnavailable
from harness.support.stop_token import StopToken
from harness.testing import fake_settings
from skills.corpus import options as names
from skills.corpus.references.csl_json import separate_names
from skills.corpus.sources.access import Source
from skills.corpus.sources.openalex import abstract_of
from skills.corpus.sources.services import SERVICES, SourceQuery, opened

NAMES = ("openalex", "crossref", "semanticscholar", "pubmed")
KEYS = {
    "openalex": "OPENALEX_API_KEY",
    "crossref": "HARNESS_EMAIL",
    "semanticscholar": "SEMANTIC_SCHOLAR_API_KEY",
    "pubmed": "NCBI_API_KEY",
}


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def open_source(server: PapersServer, tmp_path: Path, notices: list[str]) -> Callable[..., Source]:
    """Return a function that opens a source at the server."""

    def made(name: str, **options: Any) -> Source:
        screen, cancel = SimpleNamespace(notice=notices.append), StopToken()
        call: Any = SimpleNamespace(
            settings=fake_settings(tmp_path), screen=screen, cancel=options.pop("cancel", cancel)
        )
        source = opened(name, call)
        for option, value in options.items():
            setattr(source, option, value)
        return source

    return made


def test_every_named_source_has_a_service() -> None:
    assert tuple(SERVICES) == names.NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_paper_by_doi(open_source: Callable[..., Source], name: str) -> None:
    found = open_source(name).by_ids("doi", ["10.1000/plan.1", "10.1000/nowhere"])
    assert list(found) == ["10.1000/plan.1"]
    one = found["10.1000/plan.1"]
    assert one.title == "Planner: Tools That Plan"
    abstract = ABSTRACT.format("Planner")
    assert one.abstract == (f"METHODS: {abstract}" if name == "pubmed" else abstract)
    assert (one.authors, one.published) == ("Ada Invented, Ben Made-Up", "2024-05-17")
    assert one.venue == "Journal of Invented Plans"
    assert one.cited == (None if name == "pubmed" else 7)
    assert one.retracted is (None if name == "semanticscholar" else False)
    assert one.identifiers["doi"] == "10.1000/plan.1"
    assert one.paper.source["kind"] == name


@pytest.mark.parametrize("name", NAMES)
def test_an_author_with_a_comma_stays_one(
    server: PapersServer, open_source: Callable[..., Source], name: str
) -> None:
    authors = ("Plans, Tools and Co", "Ada Invented")
    server.shelf = (replace(server.shelf[0], authors=authors),)
    [one] = open_source(name).by_ids("doi", ["10.1000/plan.1"]).values()
    assert separate_names(one.authors) == list(authors)


@pytest.mark.parametrize(
    ("name", "kind", "value", "wanted"),
    [
        ("openalex", "pmid", "31000002", "pmid:31000002"),
        ("openalex", "openalex", "W4400000002", "openalex:W4400000002"),
        ("openalex", "arxiv", "2401.00011", "doi:10.48550/arxiv.2401.00011"),
        ("semanticscholar", "arxiv", "2401.00011", "ARXIV:2401.00011"),
        ("semanticscholar", "pmid", "31000001", "PMID:31000001"),
        ("pubmed", "pmid", "31000001", "31000001"),
    ],
)
def test_a_paper_by_another_id(
    server: PapersServer,
    open_source: Callable[..., Source],
    name: str,
    kind: str,
    value: str,
    wanted: str,
) -> None:
    if kind == "arxiv" and name == "openalex":  # OpenAlex lists preprints by arXiv DOI
        server.shelf = (
            Work("10.48550/arxiv.2401.00011", openalex="W4200000009", title="P", abstract="Plans."),
        )
    assert list(open_source(name).by_ids(kind, [value])) == [value]
    sent = server.asked[-1]
    assert wanted in (sent.values.get("filter"), sent.values.get("id")) or wanted in sent.body


@pytest.mark.parametrize(
    ("name", "notice"),
    [("openalex", ""), ("crossref", "10.1000/notice.2"), ("pubmed", "10.1000/notice.2")],
)
def test_a_retracted_paper(open_source: Callable[..., Source], name: str, notice: str) -> None:
    [one] = open_source(name).by_ids("doi", ["10.1000/plan.2"]).values()
    assert (one.retracted, one.notice) == (True, notice)
    assert one.title == "Ledger of Retracted Plans"


@pytest.mark.parametrize("name", NAMES)
def test_a_search(server: PapersServer, open_source: Callable[..., Source], name: str) -> None:
    found = open_source(name).search(SourceQuery("plans before", 10))
    titles = ["Planner: Tools That Plan", "Ledger of Retracted Plans"]
    assert [one.title for one in found] == titles
    assert all(one.abstract for one in found)
    assert open_source(name).search(SourceQuery("basket weaving", 10)) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_search_in_pages(
    server: PapersServer, open_source: Callable[..., Source], name: str
) -> None:
    server.shelf = tuple(
        Work(f"10.1000/{n}", "", str(20000 + n), f"W{50000 + n}", f"Plan {n}", f"Plan of kind {n}.")
        for n in range(250)
    )
    found = open_source(name).search(SourceQuery("plan", 230))
    assert [one.title for one in found] == [f"Plan {n}" for n in range(230)]
    pages = {"openalex": 3, "crossref": 5, "semanticscholar": 3, "pubmed": 3}
    assert len(server.asked) == pages[name]


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("openalex", "from_publication_date:2023-01-01,to_publication_date:2024-12-31"),
        ("crossref", "from-pub-date:2023-01-01,until-pub-date:2024-12-31"),
        ("semanticscholar", "2023-01-01:2024-12-31"),
        ("pubmed", '"2023/01/01"[dp] : "2024/12/31"[dp]'),
    ],
)
def test_a_search_within_years(
    server: PapersServer, open_source: Callable[..., Source], name: str, sent: str
) -> None:
    server.shelf = ()
    open_source(name).search(SourceQuery("plans", 10, date(2023, 1, 1), date(2024, 12, 31)))
    assert any(sent in value for value in server.asked[0].values.values())


@pytest.mark.parametrize("name", NAMES)
def test_no_known_paper(
    server: PapersServer, open_source: Callable[..., Source], name: str
) -> None:
    assert open_source(name).by_ids("doi", ["10.1000/a", "10.1000/b"]) == {}


@pytest.mark.parametrize(("name", "value"), [("openalex", "10.1/a|b"), ("crossref", "10.1/a,b")])
def test_a_doi_that_a_filter_cannot_hold_is_not_sent(
    server: PapersServer, open_source: Callable[..., Source], name: str, value: str
) -> None:
    assert open_source(name).by_ids("doi", [value]) == {}
    assert server.asked == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "fault",
    [
        Fault(429),
        Fault(500),
        Fault(503),
        Fault(drop=True),
        Fault(429, headers={"Retry-After": "2"}),
    ],
    ids=["429", "500", "503", "dropped", "Retry-After"],
)
def test_a_passing_failure_is_repeated(
    server: PapersServer,
    open_source: Callable[..., Source],
    notices: list[str],
    name: str,
    fault: Fault,
) -> None:
    server.faults = [fault, fault]
    waits: list[float] = []
    assert open_source(name, wait=waits.append).by_ids("doi", ["10.1000/plan.1"])
    assert len(notices) == 2
    assert (max(waits) >= 2) == bool(fault.headers)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(429, headers={"Retry-After": "20000"}), "requires a pause of 20000 s"),
        (Fault(429, b'{"error": "Rate limit exceeded"}'), "HTTP 429"),
        (Fault(503), "HTTP 503"),
        (Fault(drop=True), "connection was closed"),
    ],
    ids=["quota", "429", "503", "dropped"],
)
def test_a_lasting_failure_makes_a_source_unavailable(
    server: PapersServer, open_source: Callable[..., Source], name: str, fault: Fault, reason: str
) -> None:
    server.faults = [fault] * 9
    with pytest.raises(SourceUnavailable, match=reason):
        open_source(name).by_ids("doi", ["10.1000/plan.1"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "body",
    [b"", b'{"results": [', b"<html>Down</html>", b"[1]", b'{"message": 3}', b"null", b"{" * 9999],
    ids=["empty", "cut off", "a page", "a list", "another", "null", "deep"],
)
def test_a_malformed_response_is_an_error_and_not_cached(
    server: PapersServer, open_source: Callable[..., Source], name: str, body: bytes
) -> None:
    server.faults = [Fault(body=body)]
    source = open_source(name)
    with pytest.raises(SkillFailed, match="request failed") as caught:
        source.by_ids("doi", ["10.1000/plan.1"])
    assert not isinstance(caught.value, SourceUnavailable)
    assert source.by_ids("doi", ["10.1000/plan.1"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("status", [400, 404])
def test_a_refused_request_is_not_repeated(
    server: PapersServer, open_source: Callable[..., Source], name: str, status: int
) -> None:
    server.faults = [Fault(status, b'{"error": "no"}')]
    with pytest.raises(SkillFailed, match=f"HTTP {status}"):
        open_source(name).by_ids("doi", ["10.1000/plan.1"])
    assert len(server.asked) == 1


def test_values_of_other_types_are_not_stated(
    server: PapersServer, open_source: Callable[..., Source]
) -> None:
    body = b"""{"results": [null, 3, {"id": 5, "ids": [], "doi": "https://doi.org/10.1000/PLAN.1",
        "display_name": ["x"], "authorships": [3, {"author": null}], "primary_location": "here",
        "abstract_inverted_index": {"a": 3, "b": ["x", 2, -1, 1e9]}, "cited_by_count": true,
        "is_retracted": "no", "publication_date": null}]}"""
    server.faults = [Fault(body=body)]
    [one] = open_source("openalex").by_ids("doi", ["10.1000/plan.1"]).values()
    assert (one.title, one.authors, one.venue, one.cited, one.retracted) == ("", "", "", None, None)
    assert one.abstract == "b"


def test_a_slow_source(server: PapersServer, open_source: Callable[..., Source]) -> None:
    server.faults = [Fault(hang=True)] * 4
    with pytest.raises(SourceUnavailable, match=r"no response within 0\.1 s"):
        open_source("openalex", timeout=0.1).by_ids("doi", ["10.1000/plan.1"])
    server.released.set()


def test_a_source_that_is_gone(open_source: Callable[..., Source]) -> None:
    source = open_source("crossref", url="http://127.0.0.1:9")
    with pytest.raises(SourceUnavailable, match="Crossref cannot be reached"):
        source.by_ids("doi", ["10.1000/plan.1"])


def test_ctrl_c_ends_a_pause(server: PapersServer, open_source: Callable[..., Source]) -> None:
    cancel = StopToken()
    cancel.request_stop()
    server.faults = [Fault(503)]
    with pytest.raises(Interrupted):
        open_source("openalex", cancel=cancel, delay=1).by_ids("doi", ["10.1000/plan.1"])


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_is_cached(
    server: PapersServer, open_source: Callable[..., Source], name: str
) -> None:
    first = open_source(name).by_ids("doi", ["10.1000/plan.1"])
    count = len(server.asked)
    source = open_source(name, delay=1000)
    assert source.by_ids("doi", ["10.1000/plan.1"]) == first
    assert (len(server.asked), source.sent) == (count, 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_key_is_sent_to_the_source_alone(
    server: PapersServer,
    open_source: Callable[..., Source],
    tmp_path: Path,
    notices: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    secret = "s3cr3t@example.org"
    monkeypatch.setenv(KEYS[name], secret)
    caplog.set_level(logging.DEBUG)
    source = open_source(name)
    source.by_ids("doi", ["10.1000/plan.1"])
    encoded = secret.replace("@", "%40")
    for sent in server.asked:
        whole = f"{sent.headers} {sent.body}"
        assert secret in whole or encoded in whole
        assert secret not in sent.path
    server.faults = [Fault(503)] * 4
    with pytest.raises(SourceUnavailable) as caught:
        source.by_ids("doi", ["10.1000/plan.2"])
    server.faults = [Fault(401, secret.encode())]
    with pytest.raises(SkillFailed) as refused:
        source.by_ids("doi", ["10.1000/plan.3"])
    seen = f"{caught.value}{refused.value}{caplog.text}{notices}{source!r}"
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for written in (secret, encoded, "s3cr3t"):
        assert written not in seen
        assert written.encode() not in kept


@pytest.mark.parametrize("name", ["openalex", "semanticscholar", "pubmed"])
def test_a_refused_key_is_named_by_its_variable(
    server: PapersServer,
    open_source: Callable[..., Source],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    server.faults = [Fault(401), Fault(403)]
    with pytest.raises(SourceUnavailable, match=f"Set {KEYS[name]} to your key"):
        open_source(name).by_ids("doi", ["10.1000/plan.1"])
    monkeypatch.setenv(KEYS[name], "mine")
    with pytest.raises(SourceUnavailable, match=f"Is the key in {KEYS[name]} right"):
        open_source(name).by_ids("doi", ["10.1000/plan.1"])


def test_a_redirect_is_not_followed(
    server: PapersServer, open_source: Callable[..., Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENALEX_API_KEY", "mine")
    server.faults = [Fault(302, headers={"Location": server.url("openalex/works?filter=doi:x")})]
    with pytest.raises(SkillFailed, match="HTTP 302"):
        open_source("openalex").by_ids("doi", ["10.1000/plan.1"])
    assert len(server.asked) == 1


def test_a_damaged_cache_is_an_error(
    server: PapersServer, open_source: Callable[..., Source]
) -> None:
    source = open_source("openalex")
    source.by_ids("doi", ["10.1000/plan.1"])
    (source.folder / "pages.sqlite").write_bytes(b"not a database" * 99)
    with pytest.raises(OutputError, match="the cache of OpenAlex pages cannot be used"):
        source.by_ids("doi", ["10.1000/plan.1"])


def test_an_inverted_index_is_put_in_order() -> None:
    assert abstract_of({"plans": [2, 4], "We": [0], "make": [1], "of": [3]}) == (
        "We make plans of plans"
    )
    assert abstract_of(None) == ""
