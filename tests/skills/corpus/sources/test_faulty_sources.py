"""Sources of papers and Zotero's server that are faulty or hostile, over real sockets."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty_server import FaultyServer

from harness.errors import SkillFailed, SourceUnavailable
from harness.support.stop_token import StopToken
from skills.corpus.sources import access
from skills.corpus.sources.crossref import Crossref
from skills.corpus.zotero_notes import zotero_api

pytestmark = [
    pytest.mark.usefixtures("abandoned"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
Request = Callable[[FaultyServer], None]


@pytest.fixture
def crossref(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Request:
    monkeypatch.setattr(access, "LONGEST", 1.0)

    def request(server: FaultyServer) -> None:
        source = Crossref(server.url, tmp_path, delay=0.0, wait=lambda seconds: None)
        source.by_ids("doi", ["10.1234/x"])

    return request


@pytest.fixture
def zotero(monkeypatch: pytest.MonkeyPatch) -> Request:
    monkeypatch.setattr(zotero_api, "LONGEST", 1.0)
    monkeypatch.setenv("ZOTERO_API_KEY", "zotero0123456789")

    def request(server: FaultyServer) -> None:
        monkeypatch.setenv("ZOTERO_API_URL", server.url)
        with zotero_api.Library("users/1", StopToken()) as library:
            library.check_access(write=False)

    return request


@pytest.fixture
def abandoned() -> Iterator[None]:
    """Wait afterwards for the threads of requests that were given up, and their sockets."""
    yield
    for thread in threading.enumerate():
        if thread.name == "request":
            thread.join(10)
    gc.collect()


@pytest.mark.parametrize("fault", ["headers drip", "100 Continue without end"])
def test_a_request_ends_although_pieces_arrive(
    crossref: Request, zotero: Request, fault: str
) -> None:
    with FaultyServer(fault) as server:
        with pytest.raises(SourceUnavailable, match="no complete response within 1 s"):
            crossref(server)
        with pytest.raises(SkillFailed, match="no complete reply within 1 s"):
            zotero(server)


def test_what_they_send_has_a_limit(crossref: Request, zotero: Request) -> None:
    with FaultyServer("endless answer") as server:
        for request in (crossref, zotero):
            with pytest.raises(SkillFailed, match=r"an answer of more than 16 MB|within 1 s"):
                request(server)


def test_redirects_to_another_host_name_both(crossref: Request, zotero: Request) -> None:
    with FaultyServer("307 to another host") as server:
        for request in (crossref, zotero):
            with pytest.raises(SkillFailed, match=f"http://localhost:{server.other}") as caught:
                request(server)
            assert caught.value.where == server.url
    assert server.redirected == []
