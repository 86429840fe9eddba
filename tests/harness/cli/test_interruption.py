"""Ctrl-C in a whole command, wherever it is: bench/interrupt.py with a few delays, and by phase."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import psutil
import pytest
from agent_process import environment_of, start_agent

from bench import interrupt
from harness import Call, Interrupted, Result, Skill
from harness.cli.main import main
from harness.runs.frontend import guarded
from harness.settings import CODE_ROOT
from harness.testing import fake_app

pytestmark = pytest.mark.slow

DELAYS = (0.2, 1.0, 3.0)
SECONDS = 10.0
"""Time allowed on a busy machine; bench/interrupt.py measures it on an idle one."""


@pytest.mark.model
@pytest.mark.usefixtures("model_files")
@pytest.mark.parametrize(
    "name", ["help", "annotate", "table", "corpus", "curate", "evaluate", "finetune", "session"]
)
def test_a_command_ends_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(interrupt, "LIMIT", SECONDS)
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    interrupt.write_inputs(inputs, 2)
    corpus = tmp_path / "corpus.db"
    if name == "corpus":
        from skills.corpus.db.connection import open_corpus

        with open_corpus(corpus):
            pass
    [command] = [one for one in interrupt.COMMANDS if one.name == name]
    trials = interrupt.Bench(inputs, corpus, SECONDS)
    for delay in DELAYS:
        outcome = trials.trial(command, delay, 0)
        assert outcome.faults == [], delay


def interrupted(process: subprocess.Popen[str]) -> str:
    """Press Ctrl-C, and return stderr of the process, which must end soon."""
    pressed = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert time.monotonic() - pressed < SECONDS
    return err


@pytest.mark.parametrize("module", ["harness.cli.app", "harness.runs.runner"])
def test_in_an_import(tmp_path: Path, module: str) -> None:
    code = f"""
        import sys, time
        class Slow:
            def find_spec(self, name, *_):
                if name == {module!r}:
                    print("importing", flush=True)
                    time.sleep(60)
        sys.meta_path.insert(0, Slow())
        import agent
        sys.argv = ["agent.py", "/models"]
        sys.exit(agent.main())
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=CODE_ROOT,
        env={**os.environ, "HARNESS_DATA": str(tmp_path), "HARNESS_CONFIG": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    reported = process.stdout if module == "harness.cli.app" else process.stderr
    assert reported is not None
    assert reported.readline() == "importing\n"
    assert interrupted(process) == "Interrupted.\n"


class Interrupting:
    def __set_name__(self, owner: type, name: str) -> None:
        raise KeyboardInterrupt


def work(*_: object) -> None:
    type("Record", (), {"field": Interrupting()})


class Importing(Skill):
    name = "importing"
    summary = "imports a dataclass"
    text = "none"

    def run(self, call: Call) -> Result:
        work()
        return Result("imported")


def test_in_the_import_of_a_dataclass(tmp_path: Path) -> None:
    """Its fields have a `__set_name__`, whose errors Python 3.11 replaces."""
    with pytest.raises(KeyboardInterrupt):
        guarded("/models", work)
    with pytest.raises(Interrupted):
        fake_app(tmp_path, None, Importing()).dispatch("/importing")
    with mock.patch("harness.cli.main._run", work):
        assert main(["/models"]) == Interrupted.exit_code


@pytest.fixture
def silent() -> Iterator[tuple[str, threading.Event]]:
    """A server that accepts connections and never answers; the event reports the first one."""
    asked = threading.Event()
    connections = []

    def accept() -> None:
        while True:
            try:
                connections.append(server.accept())
            except OSError:
                return
            asked.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", asked
        for connection, _ in connections:
            connection.close()


def start(folder: Path, line: str, **variables: str) -> subprocess.Popen[str]:
    (folder / "tmp").mkdir()
    return start_agent(
        folder, line, {**environment_of(folder), "TMPDIR": str(folder / "tmp"), **variables}
    )


def test_in_a_download(tmp_path: Path, silent: tuple[str, threading.Event]) -> None:
    url, asked = silent
    cache = tmp_path / "cache"
    process = start(
        tmp_path,
        f"/annotate {CODE_ROOT / 'examples' / 'abstract.txt'} --model producer",
        HARNESS_REGISTRY="",
        HARNESS_CACHE=str(cache),
        PIP_INDEX_URL=f"{url}/simple",
        PIP_CONFIG_FILE=os.devnull,
    )
    assert asked.wait(60)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    assert interrupted(process).endswith("\nInterrupted.\n")
    assert psutil.wait_procs(children, 10)[1] == []
    assert [path.name for path in cache.rglob("fetch-*")] == []
    assert list((tmp_path / "tmp").iterdir()) == []


REGISTRY = """\
version: 1
models:
  producer: {{tasks: [chat, judge], serve: [{{backend: openai, model: m, url: "{url}/v1"}}]}}
"""


@pytest.mark.parametrize("line", ["/chat Hello.", "/curate gold.csv save to out.csv"])
def test_while_a_server_is_silent(
    tmp_path: Path, silent: tuple[str, threading.Event], line: str
) -> None:
    url, asked = silent
    (tmp_path / "registry.yaml").write_text(REGISTRY.format(url=url), encoding="utf-8")
    gold = (CODE_ROOT / "examples" / "gold.csv").read_text(encoding="utf-8")
    (tmp_path / "gold.csv").write_text(gold, encoding="utf-8")
    process = start(tmp_path, line)
    assert asked.wait(60)
    assert interrupted(process).splitlines()[-1].startswith("Interrupted.")
