"""Ctrl-C while the embedded model is loaded."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness import settings

pytestmark = pytest.mark.model

DELAYS = 20
SECONDS = 10.0
"""Time allowed on a busy machine."""
SCRIPT = """
import sys, time
from harness import settings
from harness.models import registry
from harness.models.backend import Message, Request
from harness.models.backends.llamacpp import LlamaCppBackend
from harness.models.weights import FileStore

configured = settings.from_environment()
files = FileStore(registry.load(configured.shipped_registry).files, configured.cache_dir, print)
entry = registry.ServeEntry(backend="llamacpp", gguf="smollm2-135m-instruct", context=512)
backend = LlamaCppBackend(files)
backend.load(entry).close()  # the first one also imports the engine
started = time.monotonic()
backend.load(entry).close()
print(time.monotonic() - started, flush=True)
for _ in sys.stdin:
    model = None
    try:
        print("loading", flush=True)
        model = backend.load(entry)
        time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    # Not freed by the next assignment: Python would run no handler between its native destructor
    # and `sleep`.
    if model is not None:
        model.close()
model = backend.load(entry)
print(model.generate(Request((Message("user", "Hi"),), max_tokens=4)).completion_tokens)
model.close()
"""


LARGE = """
import sys, threading
from harness.models.backends import llamacpp as engine
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
def test_ctrl_c_is_soon_and_the_model_can_be_loaded_again() -> None:
    # In another process, since the engine stops the Python code of its process while it loads.
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=settings.CODE_ROOT,
    )
    guard = threading.Timer(150, process.kill)
    guard.start()
    assert process.stdin is not None
    assert process.stdout is not None
    whole = float(process.stdout.readline())
    for number in range(DELAYS):
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "loading\n"
        time.sleep(whole * number / DELAYS)
        process.send_signal(signal.SIGINT)
        pressed = time.monotonic()
        assert process.stdout.readline() == "interrupted\n", number
        assert time.monotonic() - pressed < SECONDS
    out, err = process.communicate()
    guard.cancel()
    assert (process.returncode, out, err) == (0, "4\n", "")
