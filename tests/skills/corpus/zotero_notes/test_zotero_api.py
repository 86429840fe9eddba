"""Write notes into the Zotero of this computer, over a socket; wait for a busy server."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx
import pytest
from pushing import Pushing, from_zotero, item_key

from harness.errors import InputError, Interrupted, SkillFailed, UsageError
from harness.support.stop_token import StopToken
from skills.corpus.zotero_notes import zotero_api
from skills.corpus.zotero_notes.zotero_api import Library

LOCAL = "users/local"


@pytest.fixture
def here(pushing: Pushing, monkeypatch: pytest.MonkeyPatch) -> Pushing:
    """A Zotero without an account, and a corpus with papers from it."""
    monkeypatch.delenv("ZOTERO_API_KEY")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # a proxy that does not answer
    monkeypatch.setenv("ZOTERO_LOCAL_URL", f"{pushing.api.url}/api")
    pushing.api.local = True
    return pushing


def annotated(here: Pushing, count: int) -> None:
    here.annotations(*(from_zotero(number, LOCAL) for number in range(1, count + 1)))
    here.api.items["users/0"] = here.api.items.pop(LOCAL)
    here.api.versions["users/0"] = here.api.versions.pop(LOCAL)


def test_push_and_undo(here: Pushing) -> None:
    annotated(here, 60)
    here.api.answers = ["always"]
    done = here.run("zotero-push --local")
    assert (done["code"], done["counts"]) == (0, {"create": 60})
    assert len(here.api.notes("users/0")) == 60
    assert here.run("zotero-push --local")["counts"] == {"unchanged": 60}
    here.api.answers = ["always"]
    assert len(here.run("zotero-undo --local")["deleted"]) == 60
    assert not here.api.notes("users/0")


def test_a_key_for_once_is_asked_for_again(here: Pushing) -> None:
    annotated(here, 60)
    here.api.answers = ["once", "once"]
    assert here.run("zotero-push --local")["code"] == 0
    assert len(here.api.notes("users/0")) == 60
    assert not here.api.answers


def test_a_dry_run_needs_no_key(here: Pushing) -> None:
    annotated(here, 1)
    assert here.run("zotero-push --local --dry-run")["counts"] == {"create": 1}


def test_the_person_refuses_in_zotero(here: Pushing) -> None:
    annotated(here, 1)
    here.api.answers = ["deny"]
    done = here.run("zotero-push --local")
    assert done["code"] == 1
    assert "you did not allow it in Zotero" in here.stderr
    assert not here.api.notes("users/0")


def test_zotero_ends_before_the_person_answers(here: Pushing) -> None:
    annotated(here, 1)
    here.api.answers = ["quit"]
    assert here.run("zotero-push --local")["code"] == 1
    assert "it did not state whether access is allowed" in here.stderr
    here.api.answers = ["always"]
    assert here.run("zotero-push --local")["counts"] == {"create": 1}


def test_an_older_zotero(here: Pushing) -> None:
    annotated(here, 1)
    here.api.server = ""
    with pytest.raises(UsageError, match="older than version 10"):
        here.run("zotero-push --local")


def test_other_programs_are_not_answered(here: Pushing) -> None:
    annotated(here, 1)
    here.api.closed = True
    with pytest.raises(UsageError, match="Allow other applications"):
        here.run("zotero-push --local")


def test_zotero_does_not_run(here: Pushing, monkeypatch: pytest.MonkeyPatch) -> None:
    annotated(here, 1)
    monkeypatch.setenv("ZOTERO_LOCAL_URL", "http://127.0.0.1:9/api")
    with pytest.raises(SkillFailed, match="no Zotero answers on this computer"):
        here.run("zotero-push --local")


def test_another_zotero_has_other_notes(here: Pushing) -> None:
    annotated(here, 1)
    here.api.answers = ["always"]
    here.run("zotero-push --local")
    here.api.server = "another"
    [why] = here.run("zotero-undo --local")["kept"].values()
    assert why == "it is at another server"
    assert [*here.api.notes("users/0")] == [item_key(1)]


def test_local_is_what_a_library_without_an_account_needs(pushing: Pushing) -> None:
    pushing.annotations(from_zotero(1, LOCAL))
    with pytest.raises(InputError, match="`--local` writes into a Zotero 10"):
        pushing.run("zotero-push")


@pytest.fixture
def stop() -> StopToken:
    return StopToken()


@pytest.fixture
def library(stop: StopToken, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    """A library of the web API, at which a busy server has asked for a wait."""
    monkeypatch.setenv("ZOTERO_API_KEY", "key")
    with Library("users/1", stop) as library:
        yield library


def busy(library: Library, seconds: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, headers={"Retry-After": seconds})

    library._client = httpx.Client(transport=httpx.MockTransport(answer))


def test_a_stop_ends_the_wait(library: Library, stop: StopToken) -> None:
    busy(library, "200")
    threading.Timer(0.2, stop.request_stop).start()
    with pytest.raises(Interrupted):
        library.own_notes("tag")


def test_a_wait_that_is_too_long(library: Library) -> None:
    busy(library, str(zotero_api.LONGEST_WAIT + 2))
    with pytest.raises(SkillFailed, match=r"no request for 30[12] s"):
        library.own_notes("tag")


def test_a_date_in_the_past_is_no_wait(library: Library) -> None:
    busy(library, "Fri, 27 Nov 2015 12:00:00 GMT")
    with pytest.raises(SkillFailed, match=r"it was busy 5 times"):
        library.own_notes("tag")
