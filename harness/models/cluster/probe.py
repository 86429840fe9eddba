"""A task on each node before any work: has it this harness, the model, and room for it?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from harness._version import __version__
from harness.errors import ClusterUnavailable
from harness.models.backends.base import Availability
from harness.models.cluster.address import Placement
from harness.models.cluster.node import Assignment
from harness.models.cluster.waiting import last_line, result

CPUS = 4
"""CPUs of an actor by default; small models are not faster with more threads."""
PROBE_SECONDS = 60.0
"""Time limit for the nodes to answer; starting a process on a busy node takes seconds."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster that has the resources for an actor."""

    id: str
    name: str
    cpus: int
    gpus: float

    def actors(self, cpus: int, gpus: float) -> int:
        """Return how many actors with these resources fit on the node."""
        by_gpus = math.floor(self.gpus / gpus) if gpus else self.cpus
        return min(self.cpus // cpus, by_gpus)


def nodes(cpus: int = 1, gpus: float = 0.0) -> list[Node]:
    """Return the nodes that are alive and have room for an actor with these resources."""
    import ray

    found = (
        Node(
            one["NodeID"],
            one["NodeManagerAddress"],
            int(one["Resources"].get("CPU", 0)),
            one["Resources"].get("GPU", 0.0),
        )
        for one in ray.nodes()
        if one["Alive"]
    )
    return [node for node in found if node.actors(cpus, gpus)]


@dataclass(frozen=True, slots=True)
class Room:
    """The nodes that a job uses, the actors that fit on them, and the CPUs of each actor."""

    nodes: tuple[Node, ...]
    actors: int
    cpus: int


def room(placement: Placement) -> Room:
    """Return what a job takes of the cluster that this process is connected to.

    Raises:
        ClusterUnavailable: no node has room for an actor.
    """
    wanted, gpus = placement.cpus, placement.gpus
    found = nodes(wanted or 1, gpus)
    if not found:
        raise ClusterUnavailable(
            f"no node has {wanted or 1} CPUs" + f" and {gpus:g} GPUs" * bool(gpus),
            where=str(placement.address),
            hint="`ray status` on the head shows what there is.",
        )
    cpus = wanted or min(CPUS, *(node.cpus for node in found))
    actors = placement.actors or sum(node.actors(cpus, gpus) for node in found)
    return Room(tuple(found), actors, cpus)


def available(
    assignment: Assignment,
    on: Iterable[Node],
    where: str,
    check: Callable[[], None],
    lost: Callable[[Node], None] = lambda _: None,
) -> Availability:
    """Return whether all these nodes can serve, with the reasons of those that cannot.

    Args:
        where: the address, for messages.
        check: called while waiting; may raise.
        lost: receives each node that does not answer; it does not count.

    Raises:
        ClusterUnavailable: a node has no harness or another version of it, or no node answers.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    examine = ray.remote(_examination(ray.cloudpickle.dumps(assignment)))
    pending = {}
    for node in on:
        there = NodeAffinitySchedulingStrategy(node_id=node.id, soft=False)
        options = examine.options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        pending[node] = options.remote().future()
    found = {node: _answer(future, check) for node, future in pending.items()}
    for node in [node for node, answer in found.items() if answer is None]:
        lost(node)
    broken = {node: answer for node, answer in found.items() if isinstance(answer, str)}
    if broken:
        raise ClusterUnavailable(
            _listed(broken), where=where, hint="Install this version of nanda-harness there."
        )
    answers = {node: answer for node, answer in found.items() if isinstance(answer, Availability)}
    if not answers:
        raise ClusterUnavailable("no node answers", where=where, hint="See `ray status` there.")
    if len({*answers.values()}) == 1:  # as on one machine
        return next(iter(answers.values()))
    reasons = {node: one.reason for node, one in answers.items() if not one.available}
    if reasons:
        return Availability(False, _listed(reasons), all(one.absent for one in answers.values()))
    return Availability(True, _listed({n: a.reason for n, a in answers.items() if a.reason}))


def _answer(future: Any, check: Callable[[], None]) -> Availability | str | None:
    """Return what a node answers, why it cannot work at all, or None if it is gone."""
    from ray.exceptions import RayError, RayTaskError

    try:
        answer = result(future, check, PROBE_SECONDS)
    except RayTaskError as exc:
        return last_line(exc)
    except (RayError, TimeoutError):
        return None
    return answer if isinstance(answer, str) else Availability(*answer)


def _listed(by_node: dict[Node, str]) -> str:
    """Return "node A, node B: reason; node C: another reason"."""
    nodes_of: dict[str, list[str]] = {}
    for node, reason in by_node.items():
        nodes_of.setdefault(reason, []).append(f"node {node.name}")
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in nodes_of.items())


def _examination(pickled: bytes) -> Callable[[], str | tuple[bool, str, bool]]:
    """Return the task. As a nested function it is sent whole: a node may not have this module."""
    version = __version__

    def examine() -> str | tuple[bool, str, bool]:
        import importlib.util
        import pickle

        if importlib.util.find_spec("harness") is None:
            return "nanda-harness is not installed"
        from harness._version import __version__ as found

        if found != version:
            return f"nanda-harness {found} is installed, here it is {version}"
        from harness.models.cluster import node

        answer = node.available(pickle.loads(pickled))  # noqa: S301  from the driver
        return answer.available, answer.reason, answer.absent

    return examine
