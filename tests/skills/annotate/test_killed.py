"""Processes that annotate a table, killed and interrupted, with a model server."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_process import environment_of, start_agent
from annotate_workspace import Annotator, paper, write_registry, write_table
from protocol_server import ProtocolServer

pytestmark = pytest.mark.slow

ROWS = 24
WORKERS = 2


class Workspace:
    """A folder with a table, and processes that annotate it."""

    def __init__(self, folder: Path, server: ProtocolServer, model: Annotator) -> None:
        self.folder = folder
        self.model = model
        write_table(folder / "papers.csv", *(paper(number) for number in range(ROWS)))
        write_registry(folder, server.url)
        self.environ = environment_of(folder)

    def start(self, line: str = "/annotate papers.csv save to out.jsonl") -> subprocess.Popen[str]:
        line = line.replace(" save", f" --workers {WORKERS} save")
        return start_agent(self.folder, line, self.environ)

    def run(self) -> tuple[int, str]:
        """Run the line to its end; returns the exit code and stderr."""
        process = self.start()
        _, stderr = process.communicate(timeout=60)
        return process.returncode, stderr

    def kept(self) -> int:
        """The number of stored annotations."""
        path = self.folder / "data" / "corpus.db"
        if not path.exists():
            return 0
        db = sqlite3.connect(path, timeout=10)
        try:
            return int(db.execute("SELECT count(*) FROM annotations").fetchone()[0])
        except sqlite3.OperationalError:  # the tables do not exist yet
            return 0
        finally:
            db.close()

    def wait_until_kept(self, count: int) -> None:
        until = time.monotonic() + 30
        while self.kept() < count:
            assert time.monotonic() < until, f"only {self.kept()} are kept"
            time.sleep(0.02)

    def ids(self) -> list[str]:
        text = (self.folder / "out.jsonl").read_text(encoding="utf-8")
        return [json.loads(line)["arxiv_id"] for line in text.splitlines()]


ALL = [paper(number)["arxiv_id"] for number in range(ROWS)]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    model = Annotator(seconds=0.1, slots=WORKERS)
    with ProtocolServer(model) as server:
        yield Workspace(tmp_path, server, model)


def test_a_killed_job_loses_and_repeats_nothing(workspace: Workspace) -> None:
    kills = 0
    for kept in (1, 7, 15):
        process = workspace.start()
        workspace.wait_until_kept(kept)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        kills += 1
        assert not (workspace.folder / "out.jsonl").exists()
    before = workspace.kept()
    code, stderr = workspace.run()
    assert code == 0, stderr
    assert workspace.ids() == ALL
    assert f"{before} done before" in stderr
    # Only the requests that were running when the process died were repeated.
    again = sum(workspace.model.counts.values()) - ROWS
    assert 0 <= again <= kills * WORKERS * 2
    db = sqlite3.connect(workspace.folder / "data" / "corpus.db")
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert db.execute("SELECT count(*), count(DISTINCT key) FROM annotations").fetchone() == (
        ROWS,
        ROWS,
    )
    assert db.execute("SELECT count(*) FROM moves").fetchone() == (ROWS * 8,)
    db.close()


def test_ctrl_c_saves_and_the_same_line_continues(workspace: Workspace) -> None:
    process = workspace.start()
    workspace.wait_until_kept(5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    done = len(workspace.ids())
    assert 5 <= done < ROWS
    assert workspace.ids() == [i for i in ALL if i in workspace.ids()]
    assert stderr.endswith(
        f"Interrupted. {done} of {ROWS} are done and kept; the same line continues the job.\n"
    )
    code, stderr = workspace.run()
    assert (code, workspace.ids()) == (0, ALL)
    assert f"{done} done before" in stderr


def test_a_second_process_on_a_table_is_refused(workspace: Workspace) -> None:
    workspace.model.seconds = 0.5
    first = workspace.start()
    workspace.wait_until_kept(1)
    code, stderr = workspace.run()
    assert code == 2
    assert f"is locked by process {first.pid}" in stderr
    assert first.communicate(timeout=60)[1]
    assert first.returncode == 0
    assert workspace.ids() == ALL
    assert max(workspace.model.counts.values()) == 1


def test_two_processes_share_a_corpus(workspace: Workspace) -> None:
    other = (paper(number) for number in range(ROWS // 2, ROWS + 8))
    write_table(workspace.folder / "other.csv", *other)
    first, second = workspace.start(), workspace.start("/annotate other.csv save to other.jsonl")
    for process in (first, second):
        stderr = process.communicate(timeout=60)[1]
        assert process.returncode == 0, stderr
    assert workspace.ids() == ALL
    assert workspace.kept() == ROWS + 8


def test_a_job_stops_when_its_server_goes_away(tmp_path: Path) -> None:
    model = Annotator(seconds=0.1, slots=WORKERS)
    with ProtocolServer(model) as server:
        workspace = Workspace(tmp_path, server, model)
        process = workspace.start()
        workspace.wait_until_kept(4)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 3, stderr
    assert "cannot be reached" in stderr
    assert "the same line continues the job" in stderr
    assert 4 <= len(workspace.ids()) < ROWS
