"""Ctrl-C while the embedded model is loaded."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from harness import settings

pytestmark = pytest.mark.model

DELAYS = 20
SCRIPT = """
import os, signal, sys, threading, time
from harness import settings
from harness.models import registry
from harness.models.backends.base import Message, Request
from harness.models.backends.llamacpp import LlamaCppBackend
from harness.models.weights import FileStore

configured = settings.from_environment()
files = FileStore(registry.load(configured.shipped_registry).files, configured.cache_dir, print)
entry = registry.ServeEntry(backend="llamacpp", gguf="smollm2-135m-instruct", context=512)
backend = LlamaCppBackend(files)
backend.load(entry).close()  # the first one also imports the engine
started = time.monotonic()
backend.load(entry).close()
whole = time.monotonic() - started

slowest, interrupted = 0.0, 0
for number in range(int(sys.argv[1])):
    pressed = []

    def press():
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(whole * number / int(sys.argv[1]), press)
    try:
        timer.start()
        model = backend.load(entry)
        timer.join()
        model.close()
    except KeyboardInterrupt:
        interrupted += 1
        slowest = max(slowest, time.monotonic() - pressed[0])
model = backend.load(entry)
reply = model.generate(Request((Message("user", "Hi"),), max_tokens=4))
model.close()
print(interrupted, slowest, reply.completion_tokens)
"""


LARGE = """
import sys, threading
from harness.models.backends import engine
from harness.support import ctrl_c

engine.LARGE = 0
loading = threading.Event()
engine._start = lambda *_: (print("loading", flush=True), loading.wait(60))
with ctrl_c.taking_effect("end"):
    engine.start({"gguf": engine.Path(sys.argv[1])}, 512)
"""


def test_a_large_model_that_stops_python_is_killed_by_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "large.gguf").write_bytes(b"GGUF")
    process = subprocess.Popen(
        [sys.executable, "-c", LARGE, str(tmp_path / "large.gguf")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=settings.CODE_ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (-signal.SIGINT, "")


@pytest.mark.usefixtures("model_files")
def test_ctrl_c_is_immediate_and_the_model_can_be_loaded_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(DELAYS)],
        capture_output=True,
        text=True,
        timeout=150,
        cwd=settings.CODE_ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    interrupted, slowest, tokens = done.stdout.split()
    assert int(interrupted) >= DELAYS // 2
    assert float(slowest) < 2
    assert tokens == "4"
