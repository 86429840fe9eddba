"""Actors of a cluster that only the test has: when a job begins, goes on, and ends."""

from __future__ import annotations

import sys
import time
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from harness.errors import ChecksumMismatch, ClusterUnavailable, Interrupted, ModelUnavailable
from harness.models.cluster import actors
from harness.models.cluster.actors import Actors
from harness.models.cluster.address import Address, Placement
from harness.models.cluster.node import Assignment, Report
from harness.models.pool import Candidate
from harness.models.registry import ServeEntry
from harness.settings import CODE_ROOT

ENTRY = ServeEntry(backend="fake", model="m", slots=2)
PLACEMENT = Placement(Address("node", "head", 6379))


def report(name, digest="0" * 64):
    return Report(
        node=(name, name),
        version="1",
        digests={"gguf": digest},
        slots=2,
        context=100,
        place="m",
        takes_grammar=True,
        continues_prefill=True,
    )


class Handle:
    """An actor of Ray whose answers are prepared; None: it waits for a node."""

    def __init__(self, answer):
        self.answer = answer
        self.killed = False
        self.loads = 0
        self.placed = SimpleNamespace(remote=lambda: self._future(None))
        self.load = SimpleNamespace(remote=self._load)

    def _load(self):
        self.loads += 1
        return self._future(self.answer)

    def _future(self, value):
        future = Future()
        if isinstance(self.answer, OSError):
            future.set_exception(self.answer)
        elif self.answer is not None:
            future.set_result(value)
        return SimpleNamespace(future=lambda: future)


@pytest.fixture
def started(monkeypatch):
    """Start actors with these answers; those of a test are closed at its end."""
    opened = []

    def start(*answers):
        handles = [Handle(answer) for answer in answers]
        given = iter(handles)
        made = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda _: next(given)))
        ray = SimpleNamespace(
            remote=lambda _: made, kill=lambda handle, no_restart: setattr(handle, "killed", True)
        )
        monkeypatch.setitem(sys.modules, "ray", ray)
        assignment = Assignment(Candidate("m", ENTRY), {}, CODE_ROOT, {}, lambda _: {})
        lines = []
        found = Actors(assignment, PLACEMENT, len(handles), lines.append)
        opened.append(found)
        return found, handles, lines

    for name in ("FEWER_SECONDS", "NONE_SECONDS", "LOST_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(actors, name, 0.2)
    yield start
    for one in opened:
        one.close()


def never():
    """Never stop the work."""


def test_a_job_begins_when_all_actors_are_ready(started):
    found, _, _ = started(report("a"), report("b"))
    assert found.begin(never) == report("a")
    assert [actor.state for actor in found.all] == ["ready", "ready"]


def test_fewer_actors_begin_after_a_while_and_others_are_taken_up(started):
    found, handles, _ = started(report("a"), None)
    began = time.monotonic()
    found.begin(never)
    assert time.monotonic() - began >= 0.2
    assert len(found.ready) == 1
    handles[1].answer = report("b")
    found._start(found.all[1])
    assert len(found.ready) == 2


def test_no_node_with_room_ends_the_job(started):
    found, _, _ = started(None, None)
    with pytest.raises(ClusterUnavailable, match="head:6379: no node has taken an actor"):
        found.begin(never)


def test_waiting_can_be_interrupted(started):
    def stop():
        raise Interrupted("interrupted")

    found, _, _ = started(None)
    with pytest.raises(Interrupted):
        found.begin(stop)


def test_different_weights_are_refused_before_any_work(started):
    found, _, _ = started(report("a"), report("b", "1" * 64))
    with pytest.raises(ChecksumMismatch, match=r"node a: .*0000.*; node b: .*1111"):
        found.begin(never)


def test_a_node_that_cannot_load_the_model_is_reported(started):
    found, _, _ = started(report("a"), ModelUnavailable("no such file"))
    with pytest.raises(ModelUnavailable, match="no such file"):
        found.begin(never)


def test_later_an_actor_with_other_weights_is_left_out(started):
    found, handles, lines = started(report("a"), report("b"))
    found.begin(never)
    handles[1].answer = report("b", "1" * 64)
    found.lose(found.all[1])
    found._start(found.all[1])
    assert [actor.state for actor in found.all] == ["ready", "left out"]
    assert "an actor is left out" in lines[0]


def test_numbers_of_slots_count_over_all_actors(started):
    found, _, _ = started(report("a"), report("b"))
    found.begin(never)
    for number, expected in enumerate([("a", 0), ("a", 1), ("b", 0), ("b", 1)]):
        with found.slot(number, never) as (actor, slot):
            assert (actor.name, slot) == expected
    with found.slot(0, never), found.slot(0, never) as (actor, _):
        assert actor.name == "b", "another one serves while the slot is in use"


def test_work_goes_to_the_actor_with_the_most_free_slots(started):
    found, _, _ = started(report("a"), report("b"))
    found.begin(never)
    with found.slot(None, never) as (first, _), found.slot(None, never) as (second, _):
        assert {first.name, second.name} == {"a", "b"}


def test_a_lost_actor_is_replaced_by_others_and_used_again(started):
    found, handles, _ = started(report("a"), report("b"))
    found.begin(never)
    handles[0].answer = OSError("gone")
    with found.slot(0, never) as (actor, _):
        found.lose(actor)
    with found.slot(0, never) as (actor, _):
        assert actor.name == "b"
    handles[0].answer = report("c")
    limit = time.monotonic() + 10
    while len(found.ready) < 2 and time.monotonic() < limit:
        time.sleep(0.01)
    with found.slot(0, never) as (actor, _):
        assert actor.name == "c"
    assert found.all[0].free == {0, 1}


def test_a_cluster_without_actors_is_lost_after_a_while(started):
    found, handles, _ = started(report("a"))
    found.begin(never)
    handles[0].answer = OSError("gone")
    found.lose(found.all[0])
    with pytest.raises(ClusterUnavailable, match="all actors are lost"), found.slot(None, never):
        pass


def test_all_actors_are_stopped_at_the_end(started):
    found, handles, _ = started(report("a"), None)
    found.close()
    assert all(handle.killed for handle in handles)
