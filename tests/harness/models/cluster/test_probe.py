"""What a node answers before any work; the task is run in this process."""

import importlib.util
import pickle

from harness import _version
from harness.models.cluster import node, probe
from harness.models.cluster.node import Assignment
from harness.models.resolution import Candidate
from harness.models.schema import ServeEntry
from harness.settings import CODE_ROOT
from harness.testing import FakeBackend, FakeModel


def backends(_):
    return {"fake": FakeBackend(FakeModel(), "it is off")}


ASSIGNMENT = Assignment(
    Candidate("m", ServeEntry(backend="fake", model="m")), {}, CODE_ROOT, {}, backends
)


def examine(monkeypatch):
    monkeypatch.setattr(pickle, "loads", lambda _: ASSIGNMENT)
    return probe._examination(b"")()


def test_a_node_states_whether_it_can_serve(monkeypatch):
    assert examine(monkeypatch) == (False, "it is off", False)
    monkeypatch.setattr(node, "available", lambda _: node.Availability(True, "98 MB to download"))
    assert examine(monkeypatch) == (True, "98 MB to download", False)


def test_a_node_without_the_harness_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert examine(monkeypatch) == "nanda-harness is not installed"


def test_another_version_of_the_harness_is_named(monkeypatch):
    here = probe.__version__
    examination = probe._examination(b"")
    monkeypatch.setattr(_version, "__version__", "0.0.9")
    assert examination() == f"nanda-harness 0.0.9 is installed, here it is {here}"


def test_nodes_with_the_same_reason_share_it():
    a, b, c = (probe.Node(f"id-{n}", f"10.0.0.{n}", 4, 0.0) for n in (1, 2, 3))
    reasons = {a: "off", b: "on fire", c: "off"}
    assert probe._listed(reasons) == "node 10.0.0.1, node 10.0.0.3: off; node 10.0.0.2: on fire"
