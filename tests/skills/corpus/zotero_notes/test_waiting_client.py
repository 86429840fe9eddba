"""Waits that a server of Zotero requests."""

from __future__ import annotations

import time

import pytest

from harness.errors import Interrupted, SkillFailed
from harness.support.stop_token import StopToken
from skills.corpus.zotero_notes import zotero_api
from skills.corpus.zotero_notes.zotero_api import WaitingClient


@pytest.fixture
def stop() -> StopToken:
    return StopToken()


@pytest.fixture
def client(stop: StopToken) -> WaitingClient:
    return WaitingClient("1", "user", "key", stop)


def test_a_stop_ends_the_wait(client: WaitingClient, stop: StopToken) -> None:
    client._set_backoff("200")
    stop.request_stop()
    with pytest.raises(Interrupted):
        client._check_backoff()


def test_a_wait_is_over_after_it(client: WaitingClient) -> None:
    client._set_backoff("0.01")
    client._check_backoff()
    assert not client.backoff
    client._check_backoff()


def test_a_wait_that_is_too_long(client: WaitingClient) -> None:
    client._set_backoff(zotero_api.LONGEST_WAIT + 2)
    with pytest.raises(SkillFailed, match=r"no request for 30[12] seconds"):
        client._check_backoff()


def test_a_date_is_a_short_wait(client: WaitingClient) -> None:
    client._set_backoff("Fri, 27 Nov 2026 12:00:00 GMT")
    assert 0 < client.backoff_duration - time.monotonic() <= zotero_api.UNREADABLE_WAIT
