"""Real processes that judge by a server, killed and interrupted."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from curate_process import GOOD, LINE, PERSONAS, ROWS, WORKERS, Slow, Workspace
from curate_workspace import ids
from protocol_server import ProtocolServer

from skills.curate import panel
from skills.curate.panel import form_sample

pytestmark = pytest.mark.slow


@pytest.fixture
def model() -> Slow:
    return Slow()


@pytest.fixture
def server(model: Slow) -> Iterator[ProtocolServer]:
    with ProtocolServer(model) as server:
        server.owner = "vllm"
        yield server


def measured() -> int:
    """Return the number of requests that measure the form."""
    return len(form_sample(GOOD)) * len(panel.shipped().prefills)


def kill(workspace: Workspace, judged: int) -> None:
    """Start the command, and kill it after so many ballots."""
    process = workspace.start()
    workspace.wait_until_judged(judged)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def asked_again(workspace: Workspace, model: Slow) -> int:
    """Return the number of requests without a stored vote."""
    ballots = workspace.judged()
    assert workspace.query("SELECT count(DISTINCT key) FROM ballots") == [(ballots,)]
    assert workspace.query("SELECT count(*) FROM votes") == [(ballots * PERSONAS,)]
    assert workspace.query("PRAGMA integrity_check") == [("ok",)]
    return model.asked.total() - ballots * PERSONAS - measured()


def test_killed_nothing_is_lost_and_nothing_judged_twice(
    tmp_path: Path, model: Slow, server: ProtocolServer
) -> None:
    workspace = Workspace(tmp_path, server)
    kill(workspace, 8)
    assert not (tmp_path / "agent_curated.csv").exists()
    [(kind, mass)] = workspace.query("SELECT kind, mass FROM judge_forms")
    assert (kind, mass) == ("logprobs", pytest.approx(0.95))
    code, _, stderr = workspace.run()
    assert code == 0, stderr
    assert workspace.ids() == ids(*GOOD)
    assert workspace.ids("agent_rejected.csv") == ids(*sorted({*range(ROWS + 1)} - {*GOOD}))
    # Only votes that were in work when a process died were requested again.
    assert 0 <= asked_again(workspace, model) <= WORKERS * 2 * PERSONAS


def test_a_second_process_is_refused_and_ctrl_c_loses_no_vote(
    tmp_path: Path, model: Slow, server: ProtocolServer
) -> None:
    workspace = Workspace(tmp_path, server)
    model.most = measured() + 6 * PERSONAS
    first = workspace.start()
    workspace.wait_until_judged(4)
    code, _, stderr = workspace.run(LINE.replace("agent.csv", "./agent.csv"))
    assert code == 2
    assert f"the curation of {tmp_path / 'agent.csv'} is locked by process {first.pid}" in stderr
    first.send_signal(signal.SIGINT)
    _, stderr = first.communicate(timeout=60)
    model.most = None
    model.go.set()
    assert first.returncode == 130
    assert "Traceback" not in stderr
    # On a busy machine the process may end before it has saved: test_resume.py tests that.
    assert 4 <= workspace.judged() < ROWS
    code, _, stderr = workspace.run("/curate --force" + LINE.removeprefix("/curate"))
    assert code == 0, stderr
    assert workspace.ids() == ids(*GOOD)
    assert 0 <= asked_again(workspace, model) <= WORKERS * 2 * PERSONAS


def test_a_killed_process_is_continued_with_ollama(
    tmp_path: Path, model: Slow, server: ProtocolServer
) -> None:
    workspace = Workspace(tmp_path, server, "ollama")
    kill(workspace, 1)
    code, shown, stderr = workspace.run(LINE.replace("--probes", "--json --probes"))
    assert code == 0, stderr
    assert 0 <= asked_again(workspace, model) <= WORKERS * 2 * PERSONAS
    found = json.loads(shown)
    assert (found["kept"], found["rejected"]) == (len(GOOD), ROWS + 1 - len(GOOD))
    assert found["judge"]["form"]["kind"] == "logprobs"
    assert [Path(path).name for path in found["saved"]] == [
        "agent_curated.csv",
        "agent_rejected.csv",
        "agent_curation_log.jsonl",
        "agent_curation_report.html",
    ]
    assert workspace.ids() == ids(*GOOD)
