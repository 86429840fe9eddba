"""The request to stop: who can make it, and how Ctrl-C makes it."""

from __future__ import annotations

import _thread
import signal
import threading
import time

import pytest

from harness.errors import DeadlineExceeded, Interrupted
from harness.support.stop_token import StopToken


def press_ctrl_c() -> None:
    _thread.interrupt_main()
    time.sleep(0.01)  # the signal handler runs in this thread


def test_a_requested_stop_is_an_interruption() -> None:
    token = StopToken()
    token.check()
    assert not token.wait(0)
    token.request_stop()
    assert token.is_set()
    with pytest.raises(Interrupted):
        token.check()


def test_a_parent_stops_its_children() -> None:
    parent = threading.Event()  # a plugin may pass an Event
    child = StopToken(parent)
    parent.set()
    with pytest.raises(Interrupted):
        child.check()
    assert not StopToken().is_set()


def test_a_time_limit_is_not_an_interruption() -> None:
    token = StopToken(seconds=0.01)
    time.sleep(0.02)
    assert token.remaining == 0
    assert token.elapsed > 0.01
    with pytest.raises(DeadlineExceeded, match=r"within 0\.01 s"):
        token.check()


def test_ctrl_c_requests_a_stop_and_a_second_one_raises() -> None:
    token, notified = StopToken(), []
    before = signal.getsignal(signal.SIGINT)
    with token.on_signals(notify=lambda: notified.append(1)):
        press_ctrl_c()
        assert token.is_set()
        with pytest.raises(KeyboardInterrupt):
            press_ctrl_c()
    assert notified == [1]
    assert signal.getsignal(signal.SIGINT) is before


def test_the_outer_block_keeps_its_token() -> None:
    outer, inner = StopToken(), StopToken()
    with outer.on_signals():
        with inner.on_signals():
            press_ctrl_c()
        assert outer.is_set()
        assert not inner.is_set()


def test_other_signals_can_have_the_same_effect() -> None:
    token = StopToken()
    with token.on_signals(signal.SIGTERM):
        signal.raise_signal(signal.SIGTERM)
        assert token.is_set()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_thread_without_signals_changes_nothing() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with StopToken().on_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
