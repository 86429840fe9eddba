"""Load models on the nodes of a Ray cluster, and generate with the loaded models."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from harness.errors import ClusterUnavailable, GenerationFailed, HarnessError
from harness.models.backend import Availability, OnText, Reply, Request
from harness.models.cluster import node
from harness.models.cluster.actors import Actor, Actors
from harness.models.cluster.address import Placement
from harness.models.cluster.connection import Connection, last_line, wait_for
from harness.models.cluster.node import Assignment, MakeBackends, Node, Report, Room
from harness.models.pool import Candidate
from harness.models.registry import FileEntry
from harness.settings import CODE_ROOT
from harness.support.stop_token import StopToken

WINDOW = 60.0
"""Number of seconds over which `Rates` measures the speed."""


COUNT_SECONDS = 60.0
"""Time limit in seconds for counting the tokens of a prompt on an actor."""
GRACE = 10.0
"""Seconds to wait for the answer of an actor after the deadline of a request."""
KEPT_HERE = {"HARNESS_ON", "HARNESS_DATA", "HARNESS_CONFIG", "HARNESS_REGISTRY"}
"""The HARNESS_ variables that nodes do not need; all other HARNESS_ variables are sent to nodes."""


class Rates:
    """The completion tokens per second of each node over the last `WINDOW` seconds.

    Several threads may call the methods.

    Args:
        clock: returns the current time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._added: deque[tuple[float, tuple[str, str], int]] = deque()
        self._lock = threading.Lock()

    def add(self, node: tuple[str, str], tokens: int) -> None:
        """Count completion tokens of a node.

        Args:
            node: the address and the id of the node.
        """
        with self._lock:
            self._added.append((self._clock(), node, tokens))

    def __str__(self) -> str:
        """Return text such as "(10.0.0.1: 120, 10.0.0.2: 98 tokens/s)"; "" without tokens."""
        now = self._clock()
        with self._lock:
            while self._added and self._added[0][0] < now - WINDOW:
                self._added.popleft()
            tokens = Counter[tuple[str, str]]()
            for _, node, count in self._added:
                tokens[node] += count
        seconds = max(1.0, min(WINDOW, now - self._began))
        names = node_names(tokens)
        parts = [f"{names[node]}: {count / seconds:.0f}" for node, count in sorted(tokens.items())]
        return f"({', '.join(parts)} tokens/s)" if tokens.total() else ""


def node_names(nodes: Counter[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return a unique name for each node.

    The name of a node is its address, followed by the beginning of its id if several nodes have the
    same address.

    Args:
        nodes: a counter whose keys are pairs of a node's address and id; the counts are not used.
    """
    shared = Counter(address for address, _ in nodes)
    return {
        (address, node_id): address if shared[address] == 1 else f"{address} ({node_id[:6]})"
        for address, node_id in nodes
    }


class ClusterModel:
    """A model whose slots are the slots of all actors; an actor performs each generation.

    The callback `on_text` of `generate` receives the text of a reply as a whole.
    """

    takes_tools = False

    def __init__(self, actors: Actors, report: Report, rates: Rates) -> None:
        self._actors, self._rates = actors, rates
        self._calls = itertools.count()
        self.context = report.context
        self.digests: Mapping[str, str] = report.digests
        self.slots = report.slots * len(actors.all)
        self.place = report.place
        self.takes_grammar = report.takes_grammar
        self.continues_prefill = report.continues_prefill

    def count_tokens(self, request: Request) -> int | None:
        """Return the number of tokens of the prompt (see `backend.Model.count_tokens`)."""
        limit = StopToken(seconds=COUNT_SECONDS)
        sent = replace(request, slot=None, without_tools=None)
        with self._actors.slot(None, limit.check) as (actor, _):
            counted = self._answer(actor, limit, "count_tokens", sent)
        return None if counted is None else int(counted)

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """Generate a reply on an actor (see `backend.Model.generate`).

        Raises:
            GenerationFailed: the generation failed on the node, or the actor or its node is lost. A
                lost actor is used again only after it has reloaded its model.
            ClusterUnavailable: all actors are lost, or the connection to the cluster is lost.
        """
        if request.slot is not None and request.slot >= self.slots:
            raise ValueError(f"there is no slot {request.slot}: the model has {self.slots}")
        number = next(self._calls)
        with self._actors.slot(request.slot, StopToken(cancel).check) as (actor, slot):
            slot_there = None if request.slot is None else slot
            sent = replace(request, slot=slot_there, without_tools=None)
            limit = StopToken(cancel, request.deadline + GRACE)
            try:
                reply = self._answer(actor, limit, "generate", number, sent)
            except BaseException:
                actor.stop(number)
                raise
        assert isinstance(reply, Reply)
        if actor.report is not None:
            self._rates.add(actor.report.node, reply.completion_tokens)
        if on_text is not None:
            on_text(reply.text)
        return reply

    def _answer(self, actor: Actor, limit: StopToken, method: str, *arguments: Any) -> Any:
        """Return the answer of an actor; raise an error that the actor returns.

        Raises:
            GenerationFailed: the method failed on the node, or the actor is lost.
            ClusterUnavailable: the connection to the cluster is lost.
            HarnessError, ValueError: returned by the actor, or raised by `limit`.
        """
        from ray.exceptions import RayError, RayTaskError

        try:
            future = getattr(actor.handle, method).remote(*arguments).future()
            answer = wait_for(future, limit.check)
        except HarnessError:
            raise
        except RayTaskError as exc:
            raise GenerationFailed(f"node {actor.name} failed: {last_line(exc)}") from exc
        except RayError as exc:
            self._actors.lose(actor)
            raise GenerationFailed(
                f"the actor on node {actor.name} was lost",
                hint="Another actor takes over the work.",
            ) from exc
        except Exception as exc:  # grpc and Ray's client raise many types of connection errors
            raise ClusterUnavailable(
                f"the connection was lost: {last_line(exc)}",
                hint="The same line continues the job when the cluster is back.",
            ) from exc
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Stop the actors. The method may be called twice."""
        self._actors.close()


class RayExecutor:
    """An executor that loads each candidate on every actor; this process needs no weights.

    The executor connects to the cluster on first use. `close` ends the connection, and stops Ray if
    the executor has started Ray.

    Args:
        files: returns the entries of files in the registry, by id.
        make_backends: makes the backends on a node. The function must be defined at the top level
            of a module, since it is pickled by name.
        notice: called with a line about the actors, and later with a line for each actor that is
            left out.
        check: called while waiting for the cluster; may raise an error.
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
        sent = assignment(candidate, self._files(), self._make_backends, None, room.cpus)
        return node.probe_nodes(sent, room.nodes, where, self._check, self._leave_out)

    def load(self, candidate: Candidate, slots: int | None) -> ClusterModel:
        """Load `candidate` on all actors, and return a model that generates on the actors.

        Args:
            slots: minimum number of concurrent generations of all actors together. If it is None,
                each actor has the slots of the serve entry. If `Placement.slots` is set, `slots` is
                ignored.

        Raises:
            Errors of `Connection.open`, `find_room` and `Actors.begin`.
        """
        room = self._connected()
        count, each = room.actors, self._placement.slots
        if each is None and slots is not None:
            count = min(count, slots)
            each = -(-slots // count)
        sent = assignment(candidate, self._files(), self._make_backends, each, room.cpus)
        actors = Actors(sent, self._placement, count, self._notice)
        try:
            report = actors.begin(self._check)
        except BaseException:
            actors.close()
            raise
        nodes = len({actor.report.node for actor in actors.ready if actor.report})
        ready = len(actors.ready)
        missing = f"; {count - ready} more when nodes have room" if ready < count else ""
        self._notice(
            f"cluster {self._placement.address}: {ready} actor{'s' * (ready != 1)} on "
            f"{nodes} node{'s' * (nodes != 1)}, {report.slots} slot{'s' * (report.slots != 1)} "
            f"each{missing}"
        )
        return ClusterModel(actors, report, self.rates)

    def close(self) -> None:
        self._connection.close()

    def _leave_out(self, node: Node) -> None:
        """Remove a lost node from the nodes of the job, since Ray itself notices the loss later."""
        room = self._connected()
        fewer = 0 if self._placement.actors else node.actors(room.cpus, self._placement.gpus)
        others = tuple(one for one in room.nodes if one != node)
        self._room = replace(room, nodes=others, actors=room.actors - fewer)

    def _connected(self) -> Room:
        if self._room is None:
            self._connection.open()
            self._room = node.find_room(self._placement)
        return self._room


def assignment(
    candidate: Candidate,
    files: Mapping[str, FileEntry],
    make_backends: MakeBackends,
    slots: int | None,
    threads: int,
) -> Assignment:
    """Return the assignment with which a node loads a candidate; see `Assignment`.

    Args:
        files: the entries of all files in the registry, by id.
    """
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
