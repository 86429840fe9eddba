"""Jobs on a cluster of two nodes: real actors, with a fake model that writes down what it does."""

from __future__ import annotations

import contextlib
import json
import signal
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import curate_workspace
import psutil
import pytest
from agent_process import environment_of, start_agent
from annotate_workspace import Workspace, paper, write_table
from ray_nodes import RayNodes

from harness.errors import ClusterUnavailable
from harness.testing import FAKE_REGISTRY
from skills.nanda.framework import nanda

pytestmark = pytest.mark.ray


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_FAKE_LOG", str(tmp_path / "generated"))
    monkeypatch.chdir(tmp_path)
    work = Workspace(tmp_path)
    yield work
    work.app.close()


def generated(folder):
    """Return how often each paper was annotated on the cluster."""
    path = folder / "generated"
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(int(line.split()[1]) for line in lines)


def processes(folder):
    """Return the processes that have generated, each with the slots of their requests."""
    slots: dict[str, set[str]] = {}
    for line in (folder / "generated").read_text().splitlines():
        process, _, slot = line.split()
        slots.setdefault(process, set()).add(slot)
    return slots


def wait_for(condition, seconds=60):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


def records(path):
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for record in found:
        for name in ("created", "seconds"):
            del record["provenance"][name]
        # The number of cached tokens depends on the earlier requests of the slot.
        record["provenance"]["tokens"].pop("cached", None)
    return found


@pytest.fixture
def start(tmp_path):
    """Start a line in a process of its own, which ends with the test."""
    started = []

    def run(line, **environment):
        own = environment_of(tmp_path) | {"HARNESS_FAKE_LOG": str(tmp_path / "generated")}
        process = start_agent(tmp_path, line, own | environment)
        started.append(process)
        return process

    (tmp_path / "registry.yaml").write_text(FAKE_REGISTRY)
    write_table(tmp_path / "papers.csv", *map(paper, range(30)))
    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_annotations_are_the_same_as_on_one_machine(workspace: Workspace, access: RayNodes):
    folder, handler = workspace.folder, signal.getsignal(signal.SIGTERM)
    workspace.rows(*range(40))
    workspace.annotate(f"save to cluster.jsonl --db c.db --on {access.address}")
    workspace.annotate("save to local.jsonl --db l.db")
    assert records(folder / "cluster.jsonl") == records(folder / "local.jsonl")
    assert generated(folder) == Counter(range(40))
    assert "2 actors on 2 nodes, 2 slots each" in workspace.stderr
    assert not access.workers("NodeModel")
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.parametrize("victim", ["actor", "node"])
def test_what_is_killed_costs_no_paper(workspace: Workspace, access: RayNodes, monkeypatch, victim):
    monkeypatch.setenv("HARNESS_FAKE_SECONDS", "0.4")
    extra = access.add_node() if victim == "node" else None
    workspace.rows(*range(80))

    def kill():
        wait_for(lambda: len(generated(workspace.folder)) > 10)
        if extra is not None:
            access.kill(extra)
        else:
            access.workers("NodeModel")[0].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        outcome = workspace.annotate(f"save to out.jsonl --on {access.address}")
    finally:
        killer.join()
    counts = generated(workspace.folder)
    assert outcome.result.code == 0
    assert workspace.ids() == [paper(n)["arxiv_id"] for n in range(80)]
    assert {*counts} == {*range(80)}
    assert counts.total() <= 80 + 2, "at most what was in work is generated again"
    if victim == "actor":
        assert len(processes(workspace.folder)) == 3, "the actor is used again"


def test_annotations_are_judged_on_the_nodes(access: RayNodes, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_FAKE_LOG", str(tmp_path / "generated"))
    monkeypatch.chdir(tmp_path)
    work = curate_workspace.Workspace(tmp_path)
    work.rows(*range(12))
    work.curate(f"--on {access.address}")
    work.app.close()
    assert {*generated(tmp_path)} == {*range(12)}
    assert [*processes(tmp_path).values()] == [{"0", "1"}, {"0", "1"}]


def test_models_are_evaluated_on_the_nodes(workspace: Workspace, access: RayNodes):
    moves = dict.fromkeys(nanda().names, "Not stated.")
    write_table(workspace.table, *({**paper(n), **moves} for n in range(6)))
    line = f"/evaluate {workspace.table} --consistency 0 --models nanda-annotator save to e.json"
    outcome = workspace.app.dispatch(f"{line} --on {access.address}")
    assert outcome.result.code == 0
    assert generated(workspace.folder) == Counter(range(6))


@pytest.mark.model
def test_the_embedded_model_gives_the_same_on_two_nodes(
    tmp_path, model_files, cluster: RayNodes, start
):
    for name, rest in (("cluster", f"--on {cluster.address} --cpus 1 --actors 2"), ("local", "")):
        line = f"/annotate papers.csv --limit 8 --db {name}.db save to {name}.jsonl {rest}"
        running = start(line, **cluster.access, HARNESS_REGISTRY="")
        _, stderr = running.communicate(timeout=150)
        assert running.returncode == 0, stderr
    assert records(tmp_path / "cluster.jsonl") == records(tmp_path / "local.jsonl")


def test_actors_that_fit_nowhere_are_reported(workspace: Workspace, access: RayNodes):
    workspace.rows(1)
    with pytest.raises(ClusterUnavailable, match="no node has 64 CPUs"):
        workspace.annotate(f"--on {access.address} --cpus 64")


def test_another_version_of_ray_is_named(workspace: Workspace, access: RayNodes, monkeypatch):
    import ray

    monkeypatch.setattr(ray, "__version__", "2.59.1")
    workspace.rows(1)
    with pytest.raises(ClusterUnavailable) as found:
        workspace.annotate(f"--on {access.address}")
    assert "2.59.1" in str(found.value)
    assert f"{access.address}: Ray cannot connect: Version mismatch" in str(found.value)


def test_ctrl_c_leaves_no_actor(tmp_path, cluster: RayNodes, start):
    line = f"/annotate papers.csv save to out.jsonl --on {cluster.client_address}"
    running = start(line, **cluster.access, HARNESS_FAKE_SECONDS="1")
    wait_for(lambda: len(generated(tmp_path)) > 3)
    running.send_signal(signal.SIGINT)
    pressed = time.monotonic()
    _, stderr = running.communicate()
    assert running.returncode == 130, stderr
    wait_for(lambda: not cluster.workers("NodeModel"), seconds=5)
    assert time.monotonic() - pressed < 7
    counts = generated(tmp_path)
    running = start(line, **cluster.access)
    _, stderr = running.communicate()
    assert running.returncode == 0, stderr
    again = generated(tmp_path)
    assert {*again} == {*range(30)}
    assert again.total() <= 30 + 4
    assert len(counts) < 30


@pytest.mark.parametrize("kind", ["client_address", "address"])
def test_wrong_token_is_named_and_not_shown(cluster: RayNodes, start, kind):
    wrong = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "ab" * 32}
    line = f"/annotate papers.csv --on {getattr(cluster, kind)}"
    _, stderr = start(line, **wrong).communicate(timeout=60)
    assert "the cluster refuses the token" in stderr
    assert "RAY_AUTH_MODE" in stderr
    assert "Traceback" not in stderr
    assert "ab" * 32 not in stderr


def test_a_ray_of_its_own_is_stopped_at_the_end(tmp_path, cluster: RayNodes, start):
    line = "/annotate papers.csv --limit 8 save to out.jsonl --on ray --cpus 1 --slots 1"
    code = {"PYTHONPATH": cluster.environment["PYTHONPATH"]}
    with tempfile.TemporaryDirectory(prefix="own") as folder:
        running = start(line, TMPDIR=folder, **code)
        _, stderr = running.communicate(timeout=120)
        assert running.returncode == 0, stderr
        assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 8
        wait_for(lambda: not with_variable("TMPDIR", folder), seconds=10)
        assert not [*Path(folder).iterdir()]


def with_variable(name, value):
    """Return the processes with a variable of this value."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found += [process] * (process.environ().get(name) == value)
    return found
