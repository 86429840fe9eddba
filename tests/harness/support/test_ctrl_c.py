"""Ctrl-C takes effect whatever code is running: each case is a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from harness.settings import CODE_ROOT
from harness.support.calls import in_thread

START = """
import gc, hashlib, os, signal, sys, threading, time
from harness.support import ctrl_c
from harness.support.stop_token import StopToken

def ready():
    print("ready", flush=True)
"""
WORK = {
    "swallowed": """
        while True:
            try:
                ready()
                time.sleep(60)
            except KeyboardInterrupt:
                continue
    """,
    "in native code": """
        try:
            ready()
        finally:
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)
    """,
    "waits in a finally": """
        try:
            ready()
            time.sleep(60)
        finally:
            try:
                threading.Event().wait(60)
            finally:
                threading.Event().wait(60)
    """,
    "does not look at its token": """
        with StopToken().on_signals():
            ready()
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)
    """,
}


def start(work: str, last: str = "end") -> subprocess.Popen[str]:
    """Start a process that does `work` in the guarded block, and wait until it is ready."""
    body = textwrap.indent(textwrap.dedent(work), "    ")
    process = subprocess.Popen(
        [sys.executable, "-c", f"{START}\nwith ctrl_c.taking_effect({last!r}):\n{body}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=CODE_ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def pressed(process: subprocess.Popen[str], times: int = 1) -> tuple[int, str, str]:
    """Press Ctrl-C, and return the exit code, stdout and stderr."""
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_a_process_ends_although_its_work_goes_on(work: str) -> None:
    code, _, err = pressed(start(work))
    assert (code, err) == (130, "Interrupted.\n")


def test_an_interruption_in_a_destructor_is_requested_again() -> None:
    process = start("""
        class Slow:
            def __del__(self):
                ready()
                time.sleep(60)

        try:
            Slow()
            time.sleep(60)
        except KeyboardInterrupt:
            print("interrupted")
    """)
    assert pressed(process) == (0, "interrupted\n", "")


def test_in_a_session_the_work_is_interrupted_again() -> None:
    process = start(
        """
        for _ in range(3):
            try:
                ready()
                time.sleep(60)
            except KeyboardInterrupt:
                continue
        print("the prompt")
        """,
        "interrupt",
    )
    assert pressed(process) == (0, "ready\nready\nthe prompt\n", "")


def test_ctrl_c_counts_just_after_a_block_that_ended_with_one() -> None:
    script = f"""{START}
with ctrl_c.taking_effect("interrupt"):
    os.write(ctrl_c._watch().writer, bytes([signal.SIGINT]))  # as one that is read late
with ctrl_c.taking_effect("interrupt"):
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        print("ready", flush=True)
    try:
        time.sleep(30)
    except KeyboardInterrupt:
        print("interrupted again")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=CODE_ROOT, timeout=60
    )
    assert (done.stdout, done.stderr) == ("ready\ninterrupted again\n", "")


def test_a_step_that_must_be_completed_takes_its_time() -> None:
    process = start("""
        token = StopToken()
        with token.on_signals(unlimited=True):
            ready()
            token.wait()
            time.sleep(ctrl_c.GRACE + 2 * ctrl_c.AGAIN)
        print("completed")
    """)
    assert pressed(process) == (0, "completed\n", "")


def test_a_second_ctrl_c_ends_it_nevertheless() -> None:
    process = start("""
        with StopToken().on_signals(unlimited=True):
            ready()
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)
    """)
    assert pressed(process, times=2) == (130, "", "Interrupted.\n")


def test_ctrl_c_leaves_a_thread_that_loads_and_drops_its_result() -> None:
    freed, go = threading.Event(), threading.Event()

    class Loaded:
        def __del__(self) -> None:
            freed.set()

    def load() -> Loaded:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        go.wait(30)
        return Loaded()

    with pytest.raises(KeyboardInterrupt):
        in_thread(load, "loading")
    assert not freed.is_set()
    go.set()
    assert freed.wait(30)


def test_a_thread_that_loads_returns_and_raises() -> None:
    assert in_thread(lambda: 5, "loading") == 5
    with pytest.raises(ZeroDivisionError):
        in_thread(lambda: 1 / 0, "loading")
