"""Ctrl-C while the embedded model is loaded."""

from __future__ import annotations

import subprocess
import sys
import textwrap

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
