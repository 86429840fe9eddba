"""Test /annotate TABLE save to FOLDER/ --on ray-data, on a cluster of two nodes."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from agent_process import environment_of, start_agent
from annotate_workspace import Workspace, paper, write_table
from ray_nodes import RayNodes

from harness.errors import ChecksumMismatch, OutputError, UsageError
from harness.testing import FAKE_REGISTRY
from skills.annotate.parquet_output.parts_folder import PartsFolder

pytestmark = [
    pytest.mark.ray,
    # Ray itself sets options that Ray has deprecated.
    pytest.mark.filterwarnings("ignore:`use_.*` is deprecated:DeprecationWarning"),
]

ROWS = 96


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("HARNESS_FAKE_LOG", str(tmp_path / "generated"))
    work = Workspace(tmp_path)
    yield work
    work.app.close()


def line(nodes: RayNodes, *options: str) -> str:
    given = " ".join(options)
    return f"save to parts/ --on ray-data://{nodes.address} --cpus 1 {given}".strip()


def start(folder: Path, nodes: RayNodes, seconds: float = 0) -> subprocess.Popen[str]:
    """Start the line for `ROWS` papers in a process of its own."""
    (folder / "registry.yaml").write_text(FAKE_REGISTRY)
    write_table(folder / "papers.csv", *map(paper, range(ROWS)))
    fake = {"HARNESS_FAKE_LOG": str(folder / "generated"), "HARNESS_FAKE_SECONDS": str(seconds)}
    environment = {**environment_of(folder), **nodes.access, **fake}
    return start_agent(folder, f"/annotate papers.csv {line(nodes)}", environment)


def generated(folder: Path) -> Counter[str]:
    """Return how often each paper was annotated."""
    lines = (folder / "generated").read_text().splitlines()
    return Counter(paper(int(one.split()[1]))["arxiv_id"] for one in lines)


def kept(folder: Path, errors: bool = False) -> list[str]:
    """Return the ids in the parts: those of annotations, or of failures."""
    found = []
    for part in sorted(folder.glob("parts/part-*.parquet")):
        rows = pq.read_table(part).to_pylist()
        found += [row["arxiv_id"] for row in rows if bool(row["error"]) == errors]
    return found


def wait_for(condition: Callable[[], object], seconds: float = 90) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


ALL = sorted(paper(n)["arxiv_id"] for n in range(ROWS))


def test_parts_of_a_table_become_a_corpus(
    workspace: Workspace, access: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is refused for another job, and on nodes that do not share it."""
    workspace.rows(*range(40))
    outcome = workspace.annotate(line(access))
    summary = outcome.result.summary
    assert summary is not None
    assert (summary["done"], summary["made"], summary["pending"]) == (40, 40, 0)
    assert sorted(kept(workspace.folder)) == ALL[:40]
    assert len(list(workspace.folder.glob("parts/part-*"))) == 3  # 16, 16 and 8 papers
    wait_for(lambda: not access.workers("MapWorker"))
    workspace.annotate(line(access))
    assert ": 0 papers to do" in workspace.stderr
    added = workspace.app.dispatch("/corpus add parts")
    assert added.result.data["annotations"] == 40
    workspace.annotate("save to out.jsonl")
    assert workspace.stderr.count(": 0 papers to do") == 2
    assert sorted(workspace.ids()) == ALL[:40]
    names = sorted((workspace.folder / "parts").iterdir())
    with pytest.raises(UsageError, match="belongs to another job, with sampling"):
        workspace.annotate(line(access, "--max-tokens 900"))
    assert sorted((workspace.folder / "parts").iterdir()) == names
    # As on a node that cannot see the folder.
    monkeypatch.setattr(PartsFolder, "marked", lambda *_: contextlib.nullcontext())
    with pytest.raises(OutputError, match=r"node .* does not share the folder"):
        workspace.annotate(line(access))
    assert generated(workspace.folder) == Counter(ALL[:40])


def test_a_job_on_a_cluster_saves_parts(workspace: Workspace, access: RayNodes) -> None:
    """Ray's client cannot drive a pipeline: the corpus is the record, and parts are its copy."""
    workspace.rows(*range(20))
    on_client = f"save to parts/ --cpus 1 --on {access.client_address}"
    workspace.annotate(on_client + " --limit 8")
    assert sorted(kept(workspace.folder)) == ALL[:8]
    workspace.annotate(line(access))  # another executor goes on with the same folder
    assert sorted(kept(workspace.folder)) == ALL[:20]
    with pytest.raises(UsageError, match="belongs to another job"):
        workspace.annotate(on_client + " --max-tokens 900")


def test_a_killed_driver_loses_and_doubles_nothing(tmp_path: Path, cluster: RayNodes) -> None:
    running = start(tmp_path, cluster, seconds=0.2)
    wait_for(lambda: (tmp_path / "parts").exists() and kept(tmp_path))
    running.kill()
    running.communicate()
    before = kept(tmp_path)
    assert 0 < len(before) < ROWS
    running = start(tmp_path, cluster)
    _, stderr = running.communicate()
    assert running.returncode == 0, stderr
    assert sorted(kept(tmp_path)) == ALL
    counts = generated(tmp_path)
    assert {*counts} == {*ALL}
    assert all(counts[one] == 1 for one in before)
    assert max(counts.values()) <= 2  # papers in work may be repeated
    assert not list(tmp_path.glob("parts/*.tmp"))


def test_a_killed_actor_loses_and_doubles_nothing(
    workspace: Workspace, access: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_FAKE_SECONDS", "0.2")
    workspace.rows(*range(ROWS))

    def kill() -> None:
        wait_for(lambda: kept(workspace.folder))
        access.workers("MapWorker")[0].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    outcome = workspace.annotate(line(access))
    killer.join()
    assert outcome.result.code == 0, workspace.stderr
    assert sorted(kept(workspace.folder)) == ALL
    assert max(generated(workspace.folder).values()) <= 2


def test_ctrl_c_stops_the_nodes(tmp_path: Path, cluster: RayNodes) -> None:
    running = start(tmp_path, cluster, seconds=1)
    wait_for(lambda: (tmp_path / "generated").exists() and len(generated(tmp_path)) > 3)
    running.send_signal(signal.SIGINT)
    pressed = time.monotonic()
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 130, stderr
    wait_for(lambda: not cluster.workers("MapWorker"), seconds=5)
    assert time.monotonic() - pressed < 7
    assert "the same line continues the job" in stderr
    assert "Traceback" not in stderr


def test_failures_keep_their_reason_and_are_repeated(
    workspace: Workspace, access: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.rows(*range(20))
    monkeypatch.setenv("HARNESS_FAKE_FAULT", "7")
    outcome = workspace.annotate(line(access))
    assert (outcome.result.code, outcome.result.summary["errors"]) == (1, {"InvalidReply": 1})  # type: ignore[index]
    assert kept(workspace.folder, errors=True) == [paper(7)["arxiv_id"]]
    monkeypatch.delenv("HARNESS_FAKE_FAULT")
    outcome = workspace.annotate(line(access, "--retry-failed"))
    assert outcome.result.code == 0
    assert sorted(kept(workspace.folder)) == ALL[:20]


def test_nodes_with_another_model_are_refused(
    workspace: Workspace, access: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_FAKE_DIGEST", "of the process")
    workspace.rows(*range(3))
    outcome = workspace.annotate(line(access))
    assert isinstance(outcome.result.stopped, ChecksumMismatch)
    assert "this node has another model" in str(outcome.result.stopped)
    assert not kept(workspace.folder)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("--on ray-data", "saves to one folder of parts"),
        ("save to parts -o more --on ray-data", "saves to one folder of parts"),
        ("save to parts.jsonl --on ray-data", "saves to one folder of parts"),
        ("save to parts --on ray-data --workers 4", "--workers does not go with --on ray-data"),
        ("save to parts --on ray-data://h", "not a place where a job can run"),
        ("save to parts --on ray-data://ray://h:10001", "Ray Data does not work through"),
        ("save to parts", "cannot save to a name without a suffix"),
    ],
)
def test_lines_that_are_refused(workspace: Workspace, given: str, problem: str) -> None:
    workspace.rows(1)
    with pytest.raises(UsageError, match=problem):
        workspace.annotate(given)


def test_a_missing_extra_is_named(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace.rows(1)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r'ray, fsspec.*pip install "nanda-harness\[ray\]"'):
        workspace.annotate("save to parts --on ray-data")
    assert not (workspace.folder / "parts").exists()
