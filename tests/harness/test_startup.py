"""What the first moments import: no engine, no training library, no client of a server."""

import json
import subprocess
import sys

import pytest

from harness.settings import CODE_ROOT

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "xllamacpp",
    "llguidance",
    "ollama",
    "openai",
    "arxiv",
    "requests",
    "httpx",
    "rapidfuzz",
    "numpy",
    "scipy",
    "krippendorff",
    "datasketch",
    "pyarrow",
    "sqlite_utils",
    "rich",
)

HELP = "from harness.cli import main; main.main(['--help'])"
PROMPT = """
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from harness import settings
from harness.cli import repl
from harness.cli.app import App
from harness.runs.runner import Frontend
app = App(settings.from_environment(), Frontend("repl"))
with create_pipe_input() as keys:
    keys.send_text("\\x04")
    repl.Repl(app, keys, DummyOutput()).run()
"""


@pytest.mark.parametrize("code", [HELP, PROMPT], ids=["help", "first-prompt"])
def test_nothing_heavy_is_imported(tmp_path, code, monkeypatch):
    for name in ("CACHE", "DATA", "CONFIG"):
        monkeypatch.setenv(f"HARNESS_{name}", str(tmp_path / name))
    tail = "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail],
        capture_output=True,
        text=True,
        cwd=CODE_ROOT,
        check=True,
    )
    modules = set(json.loads(done.stdout.splitlines()[-1]))
    assert "harness.cli.app" in modules
    assert modules.isdisjoint(HEAVY)
