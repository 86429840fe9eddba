"""/serve as a process: the address, and how it ends."""

from __future__ import annotations

import http.client
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from agent_process import environment_of, start_agent

from harness.cli import main

pytest.importorskip("starlette", reason="needs the extra web")

from served_app import Served

from skills.serve import server


def environment(folder: Path) -> dict[str, str]:
    """Return an environment with data and configuration in `folder`."""
    given = environment_of(folder)
    return {name: value for name, value in given.items() if name != "HARNESS_REGISTRY"}


@pytest.fixture
def folder(tmp_path: Path, database: Path) -> Path:
    """A folder with the corpus of the user."""
    (tmp_path / "data").mkdir()
    shutil.copy(database, tmp_path / "data" / "corpus.db")
    return tmp_path


@pytest.fixture
def process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    running = start_agent(folder, "serve --no-open", environment(folder))
    yield running
    running.kill()
    running.communicate()


def test_it_prints_the_address_and_ends_with_ctrl_c(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    with httpx.Client(trust_env=False, follow_redirects=True, timeout=60) as client:
        assert "papers</h1>" in client.get(address).text
        events = str(httpx.URL(address).copy_with(path="/jobs/events", query=None))
        with client.stream("GET", events) as live:  # a stream without an end
            assert next(live.iter_lines()).startswith("data: ")
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "Ctrl-C ends it" in errors


def test_it_opens_the_address_in_the_browser(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import uvicorn

    for name, value in environment(folder).items():
        monkeypatch.setenv(name, value)
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: sockets[0].close())
    assert main.main(["/serve"]) == 0
    assert opened == [capsys.readouterr().out.strip()]
    assert main.main(["/serve --no-open"]) == 0
    assert main.main(["--json", "/serve --no-open"]) == 0
    assert len(opened) == 1
    assert main.main(["serve"]) == 0  # as `nanda serve`
    assert len(opened) == 2
    assert "?token=" in capsys.readouterr().err  # with --json, stdout has only the JSON


def test_without_a_corpus_it_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    assert main.main(["/serve --no-open"]) == 2
    assert "there is no corpus yet" in capsys.readouterr().err


def test_a_folder_of_parts_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    parts = tmp_path / "annotated.parts"
    parts.mkdir()
    assert main.main([f"/serve --no-open --db {parts}"]) == 4
    message = capsys.readouterr().err
    assert "is a folder of parts" in message
    assert f"/corpus add {parts} --db corpus.db" in message


def test_a_port_in_use_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(folder).items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main.main([f"/serve --no-open --port {port}"]) == 2
    assert f"port {port} cannot be used" in capsys.readouterr().err


def test_another_port_than_the_usual_one_is_stated(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from skills.serve import server

    for name, value in environment(folder).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: sockets[0].close())
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr(server, "PORT", other.getsockname()[1])
        assert main.main(["/serve --no-open"]) == 0
        assert f"Port {server.PORT} is in use" in capsys.readouterr().err


def test_the_demo_is_removed_at_its_end(folder: Path) -> None:
    environment_ = {**environment(folder), "TMPDIR": str(folder)}
    running = start_agent(folder, "/serve --demo --no-open", environment_)
    assert running.stdout is not None
    with httpx.Client(trust_env=False, follow_redirects=True, timeout=60) as client:
        assert "30 papers</h1>" in client.get(running.stdout.readline().strip()).text
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=30)
    assert running.returncode == 130
    assert not list(folder.glob("nanda-demo-*"))


def test_the_demo_has_no_other_database(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(folder).items():
        monkeypatch.setenv(name, value)
    assert main.main(["/serve --demo --no-open --db other.db"]) == 2
    assert "Leave out --db" in capsys.readouterr().err


def exchange(app: Served, *parts: str, wait: float = 0.0) -> list[int]:
    """Send parts of requests over one connection; return the status of each, 0 if it is closed."""
    with socket.create_connection(("127.0.0.1", int(app.origin.rpartition(":")[2])), 30) as sent:
        statuses = []
        for part in parts:
            sent.sendall(part.replace("\n", "\r\n").encode())
            response = http.client.HTTPResponse(sent)
            try:
                response.begin()
                response.read()
                statuses.append(response.status)
            except http.client.RemoteDisconnected:
                statuses.append(0)
            time.sleep(wait)
        return statuses


def test_a_request_that_is_half_sent_ends(
    app: Served, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.3)
    host, token = app.origin.removeprefix("http://"), app.state.sessions.new_token()
    session = f"Cookie: nanda-{host.partition(':')[2]}={app.state.sessions.redeem(token)}"
    post = f"POST /review HTTP/1.1\nHost: {host}\nOrigin: {app.origin}\n{session}\n"
    form = "Content-Type: application/x-www-form-urlencoded\nContent-Length: 100\n\nname="
    for half in ("", "GET /pap", f"GET /papers HTTP/1.1\nHost: {host}\n", post + form):
        assert exchange(app, half) == [0]
    whole = f"GET /papers HTTP/1.1\nHost: {host}\n{session}\n\n"
    assert exchange(app, whole, whole, wait=0.5) == [200, 200]
    assert "Traceback" not in capfd.readouterr().err
