"""The nodes of a cluster: check each node before any work, and load the model on a node."""

from __future__ import annotations

import math
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness._version import __version__
from harness.errors import ClusterUnavailable, HarnessError
from harness.models.backend import Availability, Backend, Model, Reply, Request
from harness.models.cluster.address import Placement
from harness.models.cluster.connection import last_line, wait_for
from harness.models.pool import Candidate, LocalExecutor, by_reason
from harness.models.registry import FileEntry
from harness.models.served import LoopDetector
from harness.models.weights import FileStore
from harness.settings import CODE_ROOT, from_environment
from harness.support import process

MakeBackends = Callable[[FileStore], Mapping[str, Backend]]
COPIES = 2
"""Space that a node needs for a downloaded file, as a multiple of the file's size.

The file may be stored twice: in the harness's cache, and in a wheel or in the cache of the Hub.
"""
CPUS = 4
"""Default number of CPUs of an actor; small models are not faster with more threads."""
PROBE_SECONDS = 60.0
"""Time limit in seconds for the probe of a node: starting a process on a busy node takes seconds.
"""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The data that is sent to a node: a candidate, the entries of its files, and settings.

    Attributes:
        files: the registry's entries of the files, by id.
        code_root: the code folder of the job's process. A file below this folder is read from the
            same relative path in the code folder of the node.
        environment: HARNESS_ variables of the job's process; variables of the node take precedence.
        make_backends: makes the backends on a node; the function is pickled by name.
        slots: number of concurrent generations; None for the slots of the serve entry.
        threads: number of CPUs that the actor reserves, and of threads that its model uses.
    """

    candidate: Candidate
    files: Mapping[str, FileEntry]
    code_root: Path
    environment: Mapping[str, str]
    make_backends: MakeBackends
    slots: int | None = None
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Report:
    """The report on a model that was loaded on a node.

    Attributes:
        node: the address and the id of the node.
        version: the version of the harness on the node.
    """

    node: tuple[str, str]
    version: str
    digests: Mapping[str, str]
    slots: int
    context: int | None
    place: str
    takes_grammar: bool
    continues_prefill: bool

    @property
    def identity(self) -> tuple[str, Mapping[str, str], int]:
        """The version, digests and slots, which must be equal on all nodes."""
        return self.version, self.digests, self.slots

    def __str__(self) -> str:
        files = ", ".join(f"{role} {digest[:12]}" for role, digest in self.digests.items())
        return f"node {self.node[0]}: nanda-harness {self.version}, {files}, slots: {self.slots}"


def available(assignment: Assignment) -> Availability:
    """Return whether this node could serve the candidate of an assignment.

    The backend, the files, and the free space and write permission of the cache are checked.
    """
    store = _store(assignment)
    found = LocalExecutor(assignment.make_backends(store)).probe(assignment.candidate)
    if not found.available:
        return found
    needed = COPIES * store.to_fetch(*assignment.candidate.serve.files.values())
    cache = store.cache_dir
    folder = next(one for one in (cache, *cache.parents) if one.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        return Availability(
            False, f"{needed / 1e6:.0f} MB are needed in {folder}, and {free / 1e6:.0f} MB are free"
        )
    if not os.access(folder, os.W_OK):
        return Availability(False, f"the cache {cache} cannot be written")
    return found


def load(assignment: Assignment) -> Model:
    """Load and return an assignment's model; limit this process to `assignment.threads` cores.

    Raises:
        Errors of `LocalExecutor.load`.
    """
    process.limit_cores(assignment.threads)
    backends = assignment.make_backends(_store(assignment))
    return LocalExecutor(backends).load(assignment.candidate, assignment.slots)


class NodeModel:
    """The code of an actor, which loads the model of an assignment on first use.

    Several threads may call the methods. The methods return errors of the harness, since Ray would
    wrap a raised error.
    """

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._model: Model | None = None
        self._loading = threading.Lock()
        self._stops: dict[int, threading.Event] = {}

    def placed(self) -> None:
        """Do nothing; the end of the call shows that the actor has a node."""

    def load(self) -> Report | HarnessError:
        """Load the model, and return a report on it, or the error."""
        import ray

        try:
            model = self._loaded()
            here = ray.util.get_node_ip_address(), ray.get_runtime_context().get_node_id()
            return Report(
                node=here,
                version=__version__,
                digests=dict(model.digests),
                slots=model.slots,
                context=model.context,
                place=str(getattr(model, "place", "")),
                takes_grammar=model.takes_grammar,
                continues_prefill=getattr(model, "continues_prefill", True),
            )
        except HarnessError as exc:
            return exc

    def generate(self, call: int, request: Request) -> Reply | Exception:
        """Generate and return a reply, or return the error; a looping answer is stopped.

        Args:
            call: the number with which `stop` ends this call.
        """
        stop = self._stops.setdefault(call, threading.Event())
        try:
            return self._loaded().generate(request, LoopDetector(None).add, stop)
        except (HarnessError, ValueError) as exc:
            return exc
        finally:
            del self._stops[call]

    def stop(self, call: int) -> None:
        """End the call of `generate` with the number `call`, even if the call has not begun."""
        self._stops.setdefault(call, threading.Event()).set()

    def count_tokens(self, request: Request) -> int | HarnessError | None:
        """Return the number of tokens of the prompt (see `Model.count_tokens`), or the error."""
        try:
            return self._loaded().count_tokens(request)
        except HarnessError as exc:
            return exc

    def _loaded(self) -> Model:
        with self._loading:
            if self._model is None:
                self._model = load(self._assignment)
            return self._model


def _store(assignment: Assignment) -> FileStore:
    """Set the missing environment variables of an assignment, and return its file store.

    A file below the code folder of the job's process is read from the code folder of this node.
    """
    for name, value in assignment.environment.items():
        os.environ.setdefault(name, value)
    files = {file_id: file.model_copy() for file_id, file in assignment.files.items()}
    for file in files.values():
        if file._root.is_relative_to(assignment.code_root):
            file._root = CODE_ROOT / file._root.relative_to(assignment.code_root)
    return FileStore(files, from_environment().cache_dir, lambda _: None)


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster, with its total resources."""

    id: str
    name: str
    cpus: int
    gpus: float

    def actors(self, cpus: int, gpus: float) -> int:
        """Return the number of actors that fit on the node.

        Args:
            cpus, gpus: the resources that each actor reserves.
        """
        by_gpus = math.floor(self.gpus / gpus) if gpus else self.cpus
        return min(self.cpus // cpus, by_gpus)


@dataclass(frozen=True, slots=True)
class Room:
    """The nodes and the number of actors that a job uses, and the CPUs of each actor."""

    nodes: tuple[Node, ...]
    actors: int
    cpus: int


def find_room(placement: Placement) -> Room:
    """Return the nodes and the number of actors for a job on the connected cluster.

    Raises:
        ClusterUnavailable: no node has the resources for an actor.
    """
    import ray

    wanted, gpus = placement.cpus, placement.gpus
    alive = ((one, one["Resources"]) for one in ray.nodes() if one["Alive"])
    nodes = (
        Node(one["NodeID"], one["NodeManagerAddress"], int(has.get("CPU", 0)), has.get("GPU", 0.0))
        for one, has in alive
    )
    found = [node for node in nodes if node.actors(wanted or 1, gpus)]
    if not found:
        raise ClusterUnavailable(
            f"no node has {wanted or 1} CPUs" + f" and {gpus:g} GPUs" * bool(gpus),
            where=str(placement.address),
            hint="`ray status` on the head shows all resources.",
        )
    cpus = wanted or min(CPUS, *(node.cpus for node in found))
    actors = placement.actors or sum(node.actors(cpus, gpus) for node in found)
    return Room(tuple(found), actors, cpus)


def probe_nodes(
    assignment: Assignment,
    on: Iterable[Node],
    where: str,
    check: Callable[[], None],
    lost: Callable[[Node], None],
) -> Availability:
    """Return whether all the given nodes can serve.

    If all nodes give the same answer, this answer is returned. Otherwise `Availability.reason` has
    the name and the reason of each node that cannot serve, or the remarks of the nodes if all nodes
    can serve.

    Args:
        on: the nodes to probe.
        where: the address of the cluster, for messages.
        check: called while waiting; may raise an error.
        lost: called with each node that does not answer; the result ignores such nodes.

    Raises:
        ClusterUnavailable: a node does not have this version of the harness, a probe raised an
            error, or no node answers.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    examine = ray.remote(_examination(ray.cloudpickle.dumps(assignment)))
    pending = {}
    for node in on:
        there = NodeAffinitySchedulingStrategy(node_id=node.id, soft=False)
        options = examine.options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        pending[node] = options.remote().future()
    answers: list[tuple[str, Availability]] = []
    broken: list[tuple[str, str]] = []
    for node, future in pending.items():
        name = f"node {node.name}"
        try:
            answer = wait_for(future, check, PROBE_SECONDS)
        except RayTaskError as exc:
            answer = last_line(exc)
        except (RayError, TimeoutError):
            lost(node)
            continue
        if isinstance(answer, str):
            broken.append((name, answer))
        else:
            answers.append((name, answer))
    if broken:
        raise ClusterUnavailable(
            by_reason(broken),
            where=where,
            hint=f"Install nanda-harness {__version__} on every node.",
        )
    if not answers:
        raise ClusterUnavailable(
            "no node answers", where=where, hint="Check `ray status` on the head."
        )
    if len({found for _, found in answers}) == 1:  # for example, if all nodes are on one machine
        return answers[0][1]
    failing = [(name, found) for name, found in answers if not found.available]
    reasons = ((name, found.reason) for name, found in failing or answers if found.reason)
    absent = all(found.absent for _, found in answers)
    return Availability(not failing, by_reason(reasons), absent)


def _examination(pickled: bytes) -> Callable[[], str | Availability]:
    """Return a function that probes the node on which it is called.

    The node may have no harness, or another version of the harness. Then the function returns a
    message about the problem; otherwise it returns the result of `available`. The function is
    nested, since Ray pickles a nested function with its code.

    Args:
        pickled: the pickled assignment.
    """
    version = __version__

    def examine() -> str | Availability:
        import importlib.util
        import pickle

        if importlib.util.find_spec("harness") is None:
            return "nanda-harness is not installed"
        from harness._version import __version__ as found

        if found != version:
            return f"nanda-harness {found} is installed, here it is {version}"
        from harness.models.cluster import node

        return node.available(pickle.loads(pickled))  # noqa: S301  from the job's process

    return examine
