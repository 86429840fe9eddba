"""/annotate and arXiv: what its API answers, and what it does when it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import arxiv_server
import pytest
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
from harness.errors import InputError, NothingFound, SkillFailed
from harness.testing import FakeModel, fake_settings, run_skill
from skills.annotate.arxiv import cache, source
from skills.annotate.arxiv import search as arxiv_search
from skills.annotate.arxiv.source import Entry
from skills.annotate.plugin import Annotate
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArxivServer]:
    """A server, and an environment whose cache is a folder of this test's own."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    with arxiv_server.running() as arxiv:
        yield arxiv


def fetch(
    server: ArxivServer,
    arxiv_id: str,
    *,
    timeout: float = 5,
    delay: float = 0,
    waits: list[float] | None = None,
    notices: list[str] | None = None,
) -> Entry:
    """One paper, without a pause that takes time; the pauses asked for go into `waits`."""
    return source.fetch(
        arxiv_id,
        environ={**os.environ, "HARNESS_ARXIV_URL": server.url},
        timeout=timeout,
        delay=delay,
        wait=([] if waits is None else waits).append,
        notice=([] if notices is None else notices).append,
    )


def search(server: ArxivServer, topic: str, limit: int = 10, **options: Any) -> list[Paper]:
    environ = {**os.environ, "HARNESS_ARXIV_URL": server.url}
    options = {"delay": 0, "wait": [].append, **options}
    return arxiv_search.search(topic, limit=limit, environ=environ, **options)


def test_a_paper_is_read_whole(server: ArxivServer) -> None:
    entry = fetch(server, "2405.12345")
    assert (entry.id, entry.versioned_id) == ("2405.12345", "2405.12345v2")
    assert entry.title == "Ledger: Keeping Tool-Using Agents Accountable with Append-Only Traces"
    assert entry.abstract.startswith("Agents that call tools")
    assert "3% of throughput & needs" in entry.abstract
    assert entry.abstract.endswith("rules out legacy ones.")


def test_a_version_is_asked_for_and_kept(server: ArxivServer) -> None:
    entry = fetch(server, "2405.12345v1")
    assert server.asked == ["2405.12345v1"]
    assert (entry.id, entry.versioned_id) == ("2405.12345", "2405.12345v1")
    assert "6.8 minutes" in entry.abstract


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
        (CUT_OFF, "was cut off"),
        (SHORTENED, "damaged or cut off"),
        (WEB_PAGE, "no list of papers"),
        (UNDATED, "lacks what a paper must have"),
        (BARE, "has no abstract"),
        ("2401.00404", "it answered with 2405.12345v2"),
    ],
)
def test_a_bad_answer_is_no_paper(server: ArxivServer, arxiv_id: str, what: str) -> None:
    with pytest.raises(SkillFailed, match=what) as caught:
        fetch(server, arxiv_id)
    assert not isinstance(caught.value, NothingFound)
    assert caught.value.exit_code == 1
    assert "Try again" in str(caught.value.hint)


def test_a_busy_server_is_asked_again_after_longer_and_longer_pauses(server: ArxivServer) -> None:
    waits: list[float] = []
    with pytest.raises(SkillFailed, match="busy"):
        fetch(server, BUSY, delay=20, waits=waits)
    assert server.asked == [BUSY] * 4
    assert [wait for wait in waits if wait in (20, 40, 60)] == [20, 40, 60]


def test_a_server_that_hangs_is_left(server: ArxivServer) -> None:
    with pytest.raises(SkillFailed, match=r"no answer within 0\.2 s"):
        fetch(server, HANGING, timeout=0.2)


def test_nobody_listens() -> None:
    with arxiv_server.running() as gone:
        pass
    with pytest.raises(SkillFailed, match="cannot be reached"):
        fetch(gone, "2405.12345")


def test_a_query_address_may_have_a_query_of_its_own(server: ArxivServer) -> None:
    server.url += "?mirror={x}"
    assert fetch(server, "2405.12345").id == "2405.12345"


def test_annotate_by_id(
    server: ArxivServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HARNESS_ARXIV_URL", server.url)
    model = FakeModel(json.dumps(dict.fromkeys(nanda().names, "Ledger signs entries.")))
    address, settings = "https://arxiv.org/abs/2405.12345", fake_settings(tmp_path)
    record = run_skill(Annotate(), address, model=model, settings=settings).data
    assert list(record)[:2] == ["arxiv_id", "title"]
    assert record["arxiv_id"] == "2405.12345"
    assert record["title"].startswith("Ledger: Keeping")
    assert record["provenance"]["input"]["arxiv_id"] == "2405.12345v2"
    assert "append-only log whose entries" in model.requests[0].messages[-1].content


def test_what_else_is_known_of_a_paper(server: ArxivServer) -> None:
    paper = fetch(server, "2405.12345").as_paper()
    assert (paper.authors, paper.published) == ("Ada Invented, Ben Made-Up", "2024-05-20")
    assert (paper.categories, paper.year) == ("cs.SE", 2024)
    assert paper.source == {"kind": "arxiv", "arxiv_id": "2405.12345v2"}


def test_arxiv_is_told_who_asks(server: ArxivServer) -> None:
    fetch(server, "2405.12345")
    assert server.requests[0]["agent"] == f"nanda-harness/{__version__}"


@pytest.mark.parametrize(
    "hiccup",
    [Hiccup(429), Hiccup(503), Hiccup(500), EMPTY_PAGE, Hiccup(drop=True)],
    ids=["429", "503", "500", "empty", "dropped"],
)
def test_what_may_pass_is_asked_again(server: ArxivServer, hiccup: Hiccup) -> None:
    server.hiccups = [hiccup, hiccup]
    notices: list[str] = []
    assert fetch(server, "2405.12345", notices=notices).id == "2405.12345"
    assert server.asked == ["2405.12345"] * 3
    assert len(notices) == 2
    assert notices[0].startswith("arXiv did not help: ")
    assert "; asking again in 0 s" in notices[0]


@pytest.mark.parametrize(
    ("hiccup", "what"),
    [
        (Hiccup(429), r"too many requests \(HTTP 429\)"),
        (EMPTY_PAGE, "it has 3 papers, but its page holds none of them"),
        (Hiccup(drop=True), "broke the connection off"),
    ],
)
def test_what_does_not_pass_is_refused(server: ArxivServer, hiccup: Hiccup, what: str) -> None:
    server.hiccups = [hiccup] * 9
    with pytest.raises(SkillFailed, match=what) as caught:
        search(server, "RAG")
    assert not isinstance(caught.value, NothingFound)
    assert "--source corpus" in str(caught.value.hint)
    assert len(server.asked) == 4


@pytest.mark.parametrize("status", [400, 403, 404])
def test_what_will_not_pass_is_asked_once(server: ArxivServer, status: int) -> None:
    server.hiccups = [Hiccup(status)]
    with pytest.raises(SkillFailed, match=f"HTTP {status}"):
        fetch(server, "2405.12345")
    assert len(server.asked) == 1


@pytest.mark.parametrize("as_date", [False, True])
def test_the_pause_that_arxiv_asks_for_is_made(server: ArxivServer, as_date: bool) -> None:
    until = datetime.now(UTC) + timedelta(seconds=50)
    asked = format_datetime(until, usegmt=True) if as_date else "50"
    server.hiccups = [Hiccup(429, headers={"Retry-After": asked})]
    waits: list[float] = []
    fetch(server, "2405.12345", waits=waits)
    assert 40 < max(waits) <= 50


@pytest.mark.parametrize("asked", ["soon", "", "-3", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_pause_that_is_none_does_no_harm(server: ArxivServer, asked: str) -> None:
    server.hiccups = [Hiccup(503, headers={"Retry-After": asked})]
    assert fetch(server, "2405.12345").id == "2405.12345"


def test_a_pause_of_an_hour_is_left_to_the_user(server: ArxivServer) -> None:
    server.hiccups = [Hiccup(503, headers={"Retry-After": "3600"})]
    waits: list[float] = []
    with pytest.raises(SkillFailed, match="asks for a pause of 3600 s"):
        fetch(server, "2405.12345", waits=waits)
    assert len(server.asked) == 1
    assert max(waits, default=0) == 0


def test_ctrl_c_ends_a_pause(server: ArxivServer) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    server.hiccups = [Hiccup(503)]
    environ = {**os.environ, "HARNESS_ARXIV_URL": server.url}
    with pytest.raises(KeyboardInterrupt):
        source.fetch("2405.12345", environ=environ, delay=0, wait=interrupted)
    assert len(server.asked) == 1
    assert fetch(server, "2405.12345").id == "2405.12345"  # the lock is free


def test_two_requests_are_a_delay_apart(server: ArxivServer) -> None:
    waits: list[float] = []
    fetch(server, "2405.12345", delay=1000, waits=waits)
    assert waits == []
    fetch(server, "cs/0112017", delay=1000, waits=waits)
    assert len(waits) == 1
    assert 0 < waits[0] <= 1000


def test_the_delay_counts_from_the_end_of_a_request(tmp_path: Path) -> None:
    with cache.turn(tmp_path, 0, time.sleep):
        os.utime(tmp_path / "last-request", (0, 0))  # as if it had been sent long ago
    waits: list[float] = []
    with cache.turn(tmp_path, 1000, waits.append):
        assert len(waits) == 1


def test_the_delay_holds_across_processes(server: ArxivServer) -> None:
    script = (
        "import sys; from skills.annotate import arxiv_source\n"
        "arxiv_source.fetch(sys.argv[1], delay=1000, wait=lambda s: print(s > 0))"
    )
    environ = {**os.environ, "HARNESS_ARXIV_URL": server.url}
    said = [
        subprocess.run(
            [sys.executable, "-c", script, arxiv_id],
            env=environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for arxiv_id in ("2405.12345", "cs/0112017")
    ]
    assert said == ["", "True\n"]


def test_one_process_waits_for_the_other(
    server: ArxivServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "PATIENCE", 0.1)
    with (
        cache.turn(tmp_path / "cache" / "arxiv", 0, time.sleep),
        pytest.raises(SkillFailed, match="other processes have been asking arXiv"),
    ):
        fetch(server, "2405.12345")
    assert server.asked == []


def test_a_cache_that_cannot_be_written_costs_a_pause_and_no_more(
    server: ArxivServer, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    waits: list[float] = []
    for _ in range(2):
        assert fetch(server, "2405.12345", delay=1000, waits=waits).id == "2405.12345"
    assert waits == [1000, 1000]


def test_a_page_is_kept_for_a_day(server: ArxivServer, tmp_path: Path) -> None:
    first = fetch(server, "2405.12345")
    waits: list[float] = []
    assert fetch(server, "2405.12345", delay=1000, waits=waits) == first
    assert (server.asked, waits) == (["2405.12345"], [])
    (kept,) = (tmp_path / "cache" / "arxiv").glob("*.xml")
    assert b"append-only log" in kept.read_bytes()
    yesterday = time.time() - cache.DAY - 1
    os.utime(kept, (yesterday, yesterday))
    fetch(server, "cs/0112017")
    assert not kept.exists()  # nothing old is left lying about
    assert fetch(server, "2405.12345") == first
    assert server.asked == ["2405.12345", "cs/0112017", "2405.12345"]


@pytest.mark.parametrize("left", [b"", b"<feed", b"<html><body/></html>"])
def test_a_damaged_page_in_the_cache_is_ignored(
    server: ArxivServer, tmp_path: Path, left: bytes
) -> None:
    first = fetch(server, "2405.12345")
    (kept,) = (tmp_path / "cache" / "arxiv").glob("*.xml")
    kept.write_bytes(left)
    assert fetch(server, "2405.12345") == first
    assert len(server.asked) == 2


@pytest.mark.parametrize("arxiv_id", ["2401.99999", "2401.77777"])
def test_that_there_is_no_such_paper_is_not_kept(server: ArxivServer, arxiv_id: str) -> None:
    for _ in range(2):
        with pytest.raises(NothingFound):
            fetch(server, arxiv_id)
    assert len(server.asked) == 2


def test_papers_on_a_topic(server: ArxivServer) -> None:
    papers = search(server, "Survey of RAG techniques")
    assert server.asked == ["all:RAG"]
    assert server.requests[0]["sortBy"] == "relevance"
    assert [paper.id for paper in papers] == ["2403.00001", "2403.00002"]
    one = papers[1]
    assert (one.id_field, one.source) == ("arxiv_id", {"kind": "arxiv", "arxiv_id": f"{one.id}v1"})
    assert one.title == "Two Shelves: RAG over Code & Tickets"
    assert one.abstract.startswith("We index code")
    assert (one.published, one.categories) == ("2023-11-30", "cs.CL, cs.IR")


def test_a_search_is_kept_too(server: ArxivServer) -> None:
    assert search(server, "RAG") == search(server, "papers on RAG")
    assert server.asked == ["all:RAG"]


def test_dates_are_days_and_both_count(server: ArxivServer) -> None:
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


def test_an_empty_page_in_the_middle_is_asked_again(server: ArxivServer) -> None:
    server.shelf = tuple(
        Invented(f"2403.{number:05}", "RAG", f"RAG for the {number}th time") for number in range(60)
    )
    server.hiccups = [EMPTY_PAGE]
    assert len(search(server, "RAG", limit=60)) == 60
    assert [request["start"] for request in server.requests] == ["0", "0", "50"]


def test_where_no_paper_has_all_words_any_will_do(server: ArxivServer) -> None:
    notices: list[str] = []
    papers = search(server, "RAG with hammers", notice=notices.append)
    assert {paper.id for paper in papers} == {"2403.00001", "2403.00002", "2403.00003"}
    assert server.asked == ["all:RAG AND all:hammers", "all:RAG OR all:hammers"]
    assert notices == ["arXiv has no paper with all of RAG, hammers; looking for any of them"]


def test_nothing_on_a_topic(server: ArxivServer) -> None:
    with pytest.raises(NothingFound, match="arXiv has no paper on 'basket weaving'") as caught:
        search(server, "basket weaving")
    assert caught.value.exit_code == 1
    with pytest.raises(NothingFound, match="on 'RAG' published from 2020-01-01 to 2020-12-31"):
        search(server, "RAG", since=date(2020, 1, 1), until=date(2020, 12, 31))


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
def test_no_text_acts_as_a_query(server: ArxivServer, topic: str, asked: str) -> None:
    server.shelf = ()
    with pytest.raises(NothingFound):
        search(server, topic)
    assert server.asked[0] == asked


def test_a_topic_without_a_word(server: ArxivServer) -> None:
    with pytest.raises(InputError, match="holds no word"):
        search(server, "?!")
    assert server.asked == []


def test_a_search_without_a_network_says_what_else_to_do() -> None:
    with arxiv_server.running() as gone:
        pass
    waits: list[float] = []
    with pytest.raises(SkillFailed, match="arXiv cannot be reached") as caught:
        search(gone, "RAG", wait=waits.append)
    assert "--source corpus" in str(caught.value.hint)
    assert waits == []
