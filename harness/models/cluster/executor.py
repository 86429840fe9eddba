"""The executor that loads models on the nodes of a Ray cluster, as actors."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace

from harness.models.backends.base import Availability
from harness.models.cluster import probe
from harness.models.cluster.actors import Actors
from harness.models.cluster.address import Placement
from harness.models.cluster.connection import Connection
from harness.models.cluster.model import ClusterModel
from harness.models.cluster.node import Assignment, MakeBackends
from harness.models.cluster.probe import Node, Room
from harness.models.cluster.rates import Rates
from harness.models.resolution import Candidate
from harness.models.schema import FileEntry
from harness.settings import CODE_ROOT

KEPT_HERE = {"HARNESS_ON", "HARNESS_DATA", "HARNESS_CONFIG", "HARNESS_REGISTRY"}
"""Variables that nodes have no use for."""


class RayExecutor:
    """Loads each candidate once per actor; this process needs no weights.

    It connects on first use, and stops its actors, and a Ray of its own, in `close`.

    Args:
        files: returns the registry's entries of files.
        make_backends: a function of a module, called on the nodes.
        notice: receives a line about the actors, and one for each that is left out later.
        check: called while waiting for the cluster; may raise.
    """

    def __init__(
        self,
        placement: Placement,
        files: Callable[[], Mapping[str, FileEntry]],
        make_backends: MakeBackends,
        notice: Callable[[str], None],
        check: Callable[[], None],
    ) -> None:
        self._placement = placement
        self._files = files
        self._make_backends = make_backends
        self._notice, self._check = notice, check
        self._connection = Connection(placement.address)
        self._room: Room | None = None
        self.rates = Rates()

    def probe(self, candidate: Candidate) -> Availability:
        room, where = self._connected(), str(self._placement.address)
        sent = self._assignment(candidate, room)
        return probe.available(sent, room.nodes, where, self._check, self._leave_out)

    def load(self, candidate: Candidate, slots: int | None) -> ClusterModel:
        """Load `candidate` on all actors.

        Args:
            slots: number of concurrent generations of all actors together.

        Raises:
            Errors of `Actors.begin`.
        """
        room = self._connected()
        count, each = room.actors, self._placement.slots
        if each is None and slots is not None:
            count = min(count, slots)
            each = -(-slots // count)
        actors = Actors(
            self._assignment(candidate, room, each), self._placement, count, self._notice
        )
        try:
            report = actors.begin(self._check)
        except BaseException:
            actors.close()
            raise
        self._announce(actors, report.slots)
        return ClusterModel(actors, report, self.rates)

    def close(self) -> None:
        self._connection.close()

    def _leave_out(self, node: Node) -> None:
        """Start no actor for a node that was lost, which Ray itself notices later."""
        room = self._connected()
        fewer = 0 if self._placement.actors else node.actors(room.cpus, self._placement.gpus)
        others = tuple(one for one in room.nodes if one != node)
        self._room = replace(room, nodes=others, actors=room.actors - fewer)

    def _connected(self) -> Room:
        if self._room is None:
            self._connection.open()
            self._room = probe.room(self._placement)
        return self._room

    def _assignment(self, candidate: Candidate, room: Room, slots: int | None = None) -> Assignment:
        return assignment(candidate, self._files(), self._make_backends, slots, room.cpus)

    def _announce(self, actors: Actors, slots: int) -> None:
        ready, count = len(actors.ready), len(actors.all)
        nodes = len({actor.report.node for actor in actors.ready if actor.report})
        parts = f"{_counted(ready, 'actor')} on {_counted(nodes, 'node')}, {slots} slots each"
        missing = f"; {count - ready} more when nodes have room" if ready < count else ""
        self._notice(f"cluster {self._placement.address}: {parts}{missing}")


def assignment(
    candidate: Candidate,
    files: Mapping[str, FileEntry],
    make_backends: MakeBackends,
    slots: int | None,
    threads: int,
) -> Assignment:
    """Return what a node is sent for a candidate, of the registry's `files`."""
    return Assignment(
        candidate,
        {file_id: files[file_id] for file_id in candidate.serve.files.values()},
        CODE_ROOT,
        {
            name: value
            for name, value in os.environ.items()
            if name.startswith("HARNESS_") and name not in KEPT_HERE
        },
        make_backends,
        slots,
        threads,
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
