"""/annotate and arXiv: what its API answers, and what it does when it does not."""

from __future__ import annotations

import json
from collections.abc import Iterator

import arxiv_server
import pytest
from arxiv_server import BARE, BUSY, CUT_OFF, HANGING, SHORTENED, UNDATED, WEB_PAGE, ArxivServer

from harness.errors import NothingFound, SkillFailed
from harness.testing import FakeModel, run_skill
from skills.annotate import arxiv_source
from skills.annotate.plugin import Annotate
from skills.nanda.framework import nanda


@pytest.fixture
def server() -> Iterator[ArxivServer]:
    with arxiv_server.running() as arxiv:
        yield arxiv


def fetch(server: ArxivServer, arxiv_id: str, timeout: float = 5) -> arxiv_source.Entry:
    return arxiv_source.fetch(
        arxiv_id, environ={"HARNESS_ARXIV_URL": server.url}, timeout=timeout, delay=0
    )


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


def test_a_busy_server_is_asked_once_more(server: ArxivServer) -> None:
    with pytest.raises(SkillFailed):
        fetch(server, BUSY)
    assert server.asked == [BUSY, BUSY]


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


def test_annotate_by_id(server: ArxivServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_ARXIV_URL", server.url)
    model = FakeModel(json.dumps(dict.fromkeys(nanda().names, "Ledger signs entries.")))
    record = run_skill(Annotate(), "https://arxiv.org/abs/2405.12345", model=model).data
    assert list(record)[:2] == ["arxiv_id", "title"]
    assert record["arxiv_id"] == "2405.12345"
    assert record["title"].startswith("Ledger: Keeping")
    assert record["provenance"]["input"]["arxiv_id"] == "2405.12345v2"
    assert "append-only log whose entries" in model.requests[0].messages[-1].content
