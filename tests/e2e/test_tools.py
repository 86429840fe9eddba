"""Tools in a session on a terminal and in one-shot commands, with a model at a server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol_server import ProtocolServer
from terminal_session import terminal_session

from harness.settings import CODE_ROOT
from harness.testing import FakeModel, calling, tool_call

ENTER = "\r"
REGISTRY = """\
version: 1
models:
  producer:
    tasks: [chat]
    serve: [{{backend: ollama, model: smollm2, url: "{url}", context: 16384}}]
"""


@pytest.fixture
def server() -> Iterator[ProtocolServer]:
    with ProtocolServer(names=("smollm2",)) as started:
        yield started


@pytest.fixture
def environment(tmp_path: Path, server: ProtocolServer) -> dict[str, str]:
    own = tmp_path / "own"
    (own / "CONFIG").mkdir(parents=True)
    (own / "CONFIG" / "registry.yaml").write_text(REGISTRY.format(url=server.url))
    (tmp_path / "project").mkdir()
    return {**os.environ, **{f"HARNESS_{name}": str(own / name) for name in ("DATA", "CONFIG")}}


def started(project: Path, environment: dict[str, str], *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(CODE_ROOT / "agent.py"), *words],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_session_asks_shows_differences_and_keeps_an_answer(
    tmp_path: Path, server: ProtocolServer, environment: dict[str, str]
) -> None:
    project = tmp_path / "project"
    (project / "a.txt").write_text("one\ntwo\n")
    server.model = FakeModel(
        calling(tool_call("write_file", path="a.txt", content="one\n2\n")),
        calling(tool_call("run", command="cat a.txt")),
        calling(tool_call("run", command="cat ./a.txt")),
        "The file is changed.",
        takes_tools=True,
    )
    with terminal_session(project, 100, environment) as session:
        session.press("write 2 for two", ENTER)
        session.wait_for("-two", "+2", "Allow it?", "1 yes", "2 no")
        assert (project / "a.txt").read_text() == "one\ntwo\n"
        session.press("1", ENTER)
        session.wait_for("wants to run `cat a.txt`", "3 always")
        session.press("3", ENTER)
        session.wait_for("-> run cat ./a.txt", "The file is changed.")
        session.press("/permissions", ENTER)
        session.wait_for("run `cat`, which only reads")
        session.press("/exit", ENTER)
        assert session.end() == 0
    assert (project / "a.txt").read_text() == "one\n2\n"
    stored = json.loads((tmp_path / "own" / "CONFIG" / "permissions.json").read_text())
    assert stored == {str(project): [{"kind": "run", "subject": "cat"}]}


def test_a_one_shot_refuses_with_an_exit_code_and_a_hint(
    tmp_path: Path, server: ProtocolServer, environment: dict[str, str]
) -> None:
    project = tmp_path / "project"
    script = calling(tool_call("run", command="touch made")), "I could not."
    server.model = FakeModel(*script, takes_tools=True)
    process = started(project, environment, "make it")
    out, err = process.communicate(timeout=170)
    assert (process.returncode, out) == (2, "I could not.\n")
    assert "nobody is here to allow that. `--yes` before the line allows the action." in err
    assert not (project / "made").exists()
    server.model = FakeModel(*script, takes_tools=True)
    process = started(project, environment, "--yes", "make it")
    assert process.wait(170) == 0
    process.communicate()
    assert (project / "made").exists()


def test_ctrl_c_kills_the_command_of_a_one_shot(
    tmp_path: Path, server: ProtocolServer, environment: dict[str, str]
) -> None:
    project = tmp_path / "project"
    command = "touch begun; sleep 4321; touch over"
    server.model = FakeModel(calling(tool_call("run", command=command)), "?", takes_tools=True)
    process = started(project, environment, "--yes", "wait")
    for _ in range(1000):
        if (project / "begun").exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130
    assert "Interrupted." in err
    for _ in range(100):  # a killed process may still be listed for a moment
        if not (left := _running(b"sleep\x004321", command.encode())):
            break
        time.sleep(0.1)
    assert not left


def _running(*commands: bytes) -> list[Path]:
    entries = (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [entry for entry in entries if any(one in _command(entry) for one in commands)]


def _command(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""
