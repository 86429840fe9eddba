"""Requests to arXiv: papers by id and topic, failures, delays, and the cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import arxiv_server
import pytest
import requests
from arxiv_server import (
    BARE,
    BUSY,
    CUT_OFF,
    EMPTY_PAGE,
    HANGING,
    SHORTENED,
    UNDATED,
    WEB_PAGE,
    ArxivServer,
    Hiccup,
    Invented,
)
from repository import ROOT

from harness._version import __version__
from harness.errors import Interrupted, NothingFound, OutputError, SkillFailed
from harness.testing import FakeModel, fake_settings, run_skill
from skills.annotate.plugin import Annotate
from skills.annotate.topic import subject_words
from skills.corpus.sources import access
from skills.corpus.sources.arxiv import Arxiv
from skills.corpus.sources.services import SourceQuery
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArxivServer]:
    """A server, and an environment with a cache in a temporary folder."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    with arxiv_server.running() as made:
        yield made


def arxiv(server: ArxivServer, **options: Any) -> Arxiv:
    """Return access to `server` without pauses."""
    folder = Path(os.environ["HARNESS_CACHE"]) / "arxiv"
    return Arxiv(server.url, folder, **{"timeout": 5, "delay": 0, "wait": [].append, **options})


def fetch(server: ArxivServer, arxiv_id: str, **options: Any) -> Paper:
    return arxiv(server, **options).paper(arxiv_id)


def search(
    server: ArxivServer,
    *words: str,
    limit: int = 10,
    operator: str = "AND",
    since: date | None = None,
    until: date | None = None,
    **options: Any,
) -> list[Paper]:
    source = arxiv(server, **options)
    return source.papers(words, limit, operator=operator, since=since, until=until)


def test_a_paper_is_read_whole(server: ArxivServer) -> None:
    paper = fetch(server, "2405.12345")
    assert (paper.id_field, paper.id) == ("arxiv_id", "2405.12345")
    assert paper.title == "Ledger: Keeping Tool-Using Agents Accountable with Append-Only Traces"
    assert paper.abstract.startswith("Agents that call tools")
    assert "3% of throughput & needs" in paper.abstract
    assert paper.abstract.endswith("rules out legacy ones.")
    assert (paper.authors, paper.published) == ("Ada Invented, Ben Made-Up", "2024-05-20")
    assert (paper.categories, paper.year) == ("cs.SE", 2024)
    assert paper.source == {"kind": "arxiv", "arxiv_id": "2405.12345v2"}
    assert server.requests[0]["agent"] == f"nanda-harness/{__version__}"


def test_a_version_is_requested_and_kept(server: ArxivServer) -> None:
    paper = fetch(server, "2405.12345v1")
    assert server.asked == ["2405.12345v1"]
    assert (paper.id, paper.source["arxiv_id"]) == ("2405.12345", "2405.12345v1")
    assert "6.8 minutes" in paper.abstract


@pytest.mark.parametrize("arxiv_id", ["cs/0112017", "cs.DL/0112017"])
def test_an_old_id(server: ArxivServer, arxiv_id: str) -> None:
    assert fetch(server, arxiv_id).id == "cs/0112017"


@pytest.mark.parametrize("arxiv_id", ["2401.99999", "2401.77777"])
def test_no_such_paper(server: ArxivServer, arxiv_id: str) -> None:
    with pytest.raises(NothingFound, match=arxiv_id) as caught:
        fetch(server, arxiv_id)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("arxiv_id", "what"),
    [
        (BUSY, "HTTP 503"),
        (CUT_OFF, "closed before the response was complete"),
        (SHORTENED, "damaged or cut off"),
        (WEB_PAGE, "not a list of papers"),
        (UNDATED, "lacks one of id, published"),
        (BARE, "has no abstract"),
        ("2401.00404", "is the paper 2405.12345v2"),
    ],
)
def test_a_bad_response_is_not_a_paper(server: ArxivServer, arxiv_id: str, what: str) -> None:
    with pytest.raises(SkillFailed, match=what) as caught:
        fetch(server, arxiv_id)
    assert not isinstance(caught.value, NothingFound)
    assert caught.value.exit_code == 1
    assert "Try again" in str(caught.value.hint)


def test_pauses_grow_while_a_server_is_busy(server: ArxivServer) -> None:
    waits: list[float] = []
    with pytest.raises(SkillFailed, match="HTTP 503"):
        fetch(server, BUSY, delay=10, wait=waits.append)
    assert server.asked == [BUSY] * 4
    assert waits == [10, 20, 40]


def test_a_server_that_does_not_respond(server: ArxivServer) -> None:
    with pytest.raises(SkillFailed, match=r"no response within 0\.2 s"):
        fetch(server, HANGING, timeout=0.2)


def test_annotate_by_id(
    server: ArxivServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HARNESS_ARXIV_URL", server.url)
    model = FakeModel(json.dumps({name: f"Its {name} signs entries." for name in nanda().names}))
    address, settings = "https://arxiv.org/abs/2405.12345", fake_settings(tmp_path)
    record = run_skill(Annotate(), address, model=model, settings=settings).data
    assert list(record)[:2] == ["arxiv_id", "title"]
    assert record["arxiv_id"] == "2405.12345"
    assert record["title"].startswith("Ledger: Keeping")
    assert record["provenance"]["input"]["arxiv_id"] == "2405.12345v2"
    assert "append-only log whose entries" in model.requests[0].messages[-1].content


@pytest.mark.parametrize(
    "hiccup",
    [Hiccup(429), Hiccup(503), Hiccup(500), EMPTY_PAGE, Hiccup(drop=True)],
    ids=["429", "503", "500", "empty", "dropped"],
)
def test_a_passing_failure_is_retried(server: ArxivServer, hiccup: Hiccup) -> None:
    server.hiccups = [hiccup, hiccup]
    notices: list[str] = []
    assert fetch(server, "2405.12345", notice=notices.append).id == "2405.12345"
    assert server.asked == ["2405.12345"] * 3
    assert len(notices) == 2
    assert "arXiv" in notices[0]


@pytest.mark.parametrize(
    ("hiccup", "what"),
    [
        (Hiccup(429), r"HTTP 429 Too Many Requests"),
        (EMPTY_PAGE, "it has papers for this query, but sends an empty page"),
        (Hiccup(drop=True), "connection was closed"),
    ],
)
def test_a_lasting_failure_is_an_error(server: ArxivServer, hiccup: Hiccup, what: str) -> None:
    server.hiccups = [hiccup] * 9
    with pytest.raises(SkillFailed, match=what) as caught:
        search(server, "RAG")
    assert not isinstance(caught.value, NothingFound)
    assert "--source corpus" in str(caught.value.hint)
    assert len(server.asked) == 4


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_refused_request_is_not_retried(server: ArxivServer, status: int) -> None:
    server.hiccups = [Hiccup(status)]
    with pytest.raises(SkillFailed, match=f"HTTP {status}"):
        fetch(server, "2405.12345")
    assert len(server.asked) == 1


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_respected(server: ArxivServer, as_date: bool) -> None:
    until = datetime.now(UTC) + timedelta(seconds=50)
    header = format_datetime(until, usegmt=True) if as_date else "50"
    server.hiccups = [Hiccup(429, headers={"Retry-After": header})]
    waits: list[float] = []
    fetch(server, "2405.12345", wait=waits.append)
    assert 40 < max(waits) <= 50


@pytest.mark.parametrize("header", ["soon", "", "-3", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_an_unusable_retry_after_is_ignored(server: ArxivServer, header: str) -> None:
    server.hiccups = [Hiccup(503, headers={"Retry-After": header})]
    assert fetch(server, "2405.12345").id == "2405.12345"


def test_a_pause_of_an_hour_is_an_error(server: ArxivServer) -> None:
    server.hiccups = [Hiccup(503, headers={"Retry-After": "3600"})]
    waits: list[float] = []
    with pytest.raises(SkillFailed, match="requires a pause of 3600 s"):
        fetch(server, "2405.12345", wait=waits.append)
    assert len(server.asked) == 1
    assert waits == []


def test_ctrl_c_ends_a_pause(server: ArxivServer) -> None:
    def interrupted(seconds: float) -> None:
        raise Interrupted("interrupted")

    server.hiccups = [Hiccup(503)]
    with pytest.raises(Interrupted):
        fetch(server, "2405.12345", wait=interrupted)
    assert len(server.asked) == 1
    assert fetch(server, "2405.12345").id == "2405.12345"  # the lock has been released


def test_two_requests_are_a_delay_apart(server: ArxivServer) -> None:
    waits: list[float] = []
    fetch(server, "2405.12345", delay=1000, wait=waits.append)
    assert waits == []
    fetch(server, "cs/0112017", delay=1000, wait=waits.append)
    assert len(waits) == 1
    assert 0 < waits[0] <= 1000


def test_the_delay_counts_from_the_end_of_a_request(server: ArxivServer, tmp_path: Path) -> None:
    fetch(server, "2405.12345")
    with arxiv(server).turn():
        os.utime(tmp_path / "cache" / "arxiv" / "last-request", (0, 0))
    waits: list[float] = []
    with arxiv(server, delay=1000, wait=waits.append).turn():
        assert len(waits) == 1


def test_the_delay_applies_across_processes(server: ArxivServer, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from skills.corpus.sources.arxiv import Arxiv\n"
        "arxiv_id, url, folder = sys.argv[1:]\n"
        "wait = lambda seconds: print(seconds > 0)\n"
        "Arxiv(url, Path(folder), delay=1000, wait=wait).paper(arxiv_id)"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", script, arxiv_id, server.url, str(tmp_path / "arxiv")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for arxiv_id in ("2405.12345", "cs/0112017")
    ]
    assert printed == ["", "True\n"]


def test_a_process_waits_for_another(server: ArxivServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "PATIENCE", 0.1)
    fetch(server, "2405.12345")
    with (
        arxiv(server).turn(),
        pytest.raises(SkillFailed, match="other processes have been using it"),
    ):
        fetch(server, "cs/0112017")
    assert len(server.asked) == 1


def test_an_unusable_cache_is_an_error(server: ArxivServer, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="the cache of arXiv pages cannot be used") as caught:
        fetch(server, "2405.12345")
    assert "HARNESS_CACHE" in str(caught.value.hint)


def test_a_damaged_cache_is_an_error(server: ArxivServer, tmp_path: Path) -> None:
    fetch(server, "2405.12345")
    (tmp_path / "cache" / "arxiv" / "pages.sqlite").write_bytes(b"not a database" * 99)
    with pytest.raises(OutputError, match="the cache of arXiv pages cannot be used"):
        fetch(server, "2405.12345")


def test_a_page_is_cached_for_a_day(server: ArxivServer, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fetch(server, "2405.12345")
    waits: list[float] = []
    assert fetch(server, "2405.12345", delay=1000, wait=waits.append) == first
    assert (server.asked, waits) == (["2405.12345"], [])
    monkeypatch.setattr(access, "DAY", 0.001)
    fetch(server, "cs/0112017")
    assert len(server.asked) == 2
    fetch(server, "cs/0112017")
    assert len(server.asked) == 3


@pytest.mark.parametrize("arxiv_id", ["2401.99999", "2401.77777"])
def test_a_missing_paper_is_not_cached(server: ArxivServer, arxiv_id: str) -> None:
    for _ in range(2):
        with pytest.raises(NothingFound):
            fetch(server, arxiv_id)
    assert len(server.asked) == 2


def test_papers_on_a_topic(server: ArxivServer) -> None:
    papers = search(server, "RAG")
    assert server.asked == ["all:RAG"]
    assert server.requests[0]["sortBy"] == "relevance"
    assert [paper.id for paper in papers] == ["2403.00001", "2403.00002"]
    one = papers[1]
    assert (one.id_field, one.source) == ("arxiv_id", {"kind": "arxiv", "arxiv_id": f"{one.id}v1"})
    assert one.title == "Two Shelves: RAG over Code & Tickets"
    assert one.abstract.startswith("We index code")
    assert (one.published, one.categories) == ("2023-11-30", "cs.CL, cs.IR")


def test_a_search_is_cached(server: ArxivServer) -> None:
    assert search(server, "RAG") == search(server, "RAG")
    assert server.asked == ["all:RAG"]


def test_dates_are_days_and_inclusive(server: ArxivServer) -> None:
    (paper,) = search(server, "RAG", since=date(2023, 11, 30), until=date(2023, 11, 30))
    assert paper.id == "2403.00002"
    assert server.asked == ["(all:RAG) AND submittedDate:[202311300000 TO 202311302359]"]
    assert search(server, "RAG", since=date(2024, 1, 1))[0].id == "2403.00001"
    assert search(server, "RAG", until=date(2023, 12, 31))[0].id == "2403.00002"


def test_many_papers_come_in_pages(server: ArxivServer) -> None:
    server.shelf = tuple(
        Invented(f"2403.{number:05}", f"RAG Number {number}", f"RAG, tried for the {number}th time")
        for number in range(130)
    )
    papers = search(server, "RAG", limit=70)
    assert [paper.id for paper in papers] == [f"2403.{number:05}" for number in range(70)]
    asked = [(request["start"], request["max_results"]) for request in server.requests]
    assert asked == [("0", "50"), ("50", "50")]
    assert len(search(server, "RAG", limit=3)) == 3
    assert server.requests[-1]["max_results"] == "3"


def test_an_empty_page_is_requested_again(server: ArxivServer) -> None:
    server.shelf = tuple(
        Invented(f"2403.{number:05}", "RAG", f"RAG for the {number}th time") for number in range(60)
    )
    server.hiccups = [EMPTY_PAGE]
    assert len(search(server, "RAG", limit=60)) == 60
    assert [request["start"] for request in server.requests] == ["0", "0", "50"]


def test_papers_with_any_word(server: ArxivServer) -> None:
    papers = search(server, "RAG", "hammers", operator="OR")
    assert {paper.id for paper in papers} == {"2403.00001", "2403.00002", "2403.00003"}
    assert server.asked == ["all:RAG OR all:hammers"]


def test_no_paper_with_all_words(server: ArxivServer) -> None:
    assert search(server, "basket", "weaving") == []
    assert search(server, "RAG", since=date(2020, 1, 1), until=date(2020, 12, 31)) == []


@pytest.mark.parametrize(
    ("topic", "asked"),
    [
        ('RAG") OR cat:cs.* ANDNOT (ti:"x', "all:RAG AND all:cat AND all:cs AND "
         'all:"ANDNOT" AND all:ti AND all:x'),
        ("and or not", 'all:"and" AND all:"or" AND all:"not"'),
        ("ANDNOT", 'all:"ANDNOT"'),
        ("non-invasive", "all:non AND all:invasive"),
        ("Gödel's proof", "all:\"Gödel's\" AND all:proof"),
        ("agents [2020 TO 2030]", "all:agents AND all:2020 AND all:2030"),
    ],
)  # fmt: skip
def test_a_topic_cannot_act_as_a_query(server: ArxivServer, topic: str, asked: str) -> None:
    server.shelf = ()
    search(server, *subject_words(topic))
    assert server.asked == [asked]


def test_arxiv_cannot_be_reached(server: ArxivServer) -> None:
    server.url = "http://127.0.0.1:9/query"
    waits: list[float] = []
    with pytest.raises(SkillFailed, match="arXiv cannot be reached") as caught:
        search(server, "RAG", wait=waits.append)
    assert "--source corpus" in str(caught.value.hint)
    assert waits == []


def test_papers_by_several_ids(server: ArxivServer) -> None:
    source = arxiv(server)
    found = source.by_ids("arxiv", ["2405.12345", "2401.99999", "cs/0112017"])
    assert list(found) == ["cs/0112017", "2405.12345"]
    one = found["2405.12345"]
    assert (one.categories, one.published, one.cited) == ("cs.SE", "2024-05-20", None)
    assert one.paper.id_field == "arxiv_id"
    assert server.asked == ["2405.12345,2401.99999,cs/0112017"]


def test_a_search_of_a_source(server: ArxivServer) -> None:
    found = arxiv(server).search(SourceQuery("RAG, agents", 10))
    assert server.asked == ["all:RAG AND all:agents"]
    assert [one.identifiers for one in found] == [{"arxiv": "2403.00002"}]
    assert arxiv(server).search(SourceQuery("?!", 10)) == []


def test_entities_of_an_answer_are_not_expanded(server: ArxivServer) -> None:
    laughs = "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 4))
    answer = requests.Response()
    answer._content = f"<!DOCTYPE feed [<!ENTITY l0 'ha'>{laughs}]><feed>&l3;</feed>".encode()
    assert "haha" not in "".join(arxiv(server).parsed_xml(answer).itertext())
