"""Start the actors of a job, watch them, and use a lost actor again after its restart.

An actor is lost if its process or its node dies. Ray starts the actor again as soon as a node has
resources, and the actor loads its model again. Meanwhile, the job continues with the other actors.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from harness.errors import ChecksumMismatch, ClusterUnavailable, HarnessError
from harness.models.cluster.address import Placement
from harness.models.cluster.connection import TICK
from harness.models.cluster.node import Assignment, NodeModel, Report

FEWER_SECONDS = 30.0
"""Seconds after which a job begins even if some actors still wait for a node."""
NONE_SECONDS = 60.0
"""Seconds after which a job ends if no node has resources for an actor."""
LOST_SECONDS = 40.0
"""Seconds without a ready actor after which the cluster counts as lost. If a job runs on a node and
the head is lost, Ray ends the job's process after 60 seconds. The job must store its results
earlier.
"""
RETRY_SECONDS = 1.0
"""Interval in seconds at which a lost actor is requested to load its model again."""
MOST_SLOTS = 64
"""Assumed number of slots of an actor if the number is known only after the model is loaded."""

State = Literal["waiting", "loading", "ready", "gone", "left out"]


@dataclass(slots=True)
class Actor:
    """An actor of Ray, which loads a model on a node.

    Attributes:
        handle: Ray's handle of the actor.
        state: "waiting" for a node, "loading" its model, "ready", "gone" if the actor is lost, or
            "left out" until the end of the job.
        report: the report on the loaded model; None before the model is loaded.
        free: the numbers of the unused slots.
    """

    handle: Any
    state: State = "waiting"
    report: Report | None = None
    free: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The address of the actor's node, for messages; "?" before the model is loaded."""
        return self.report.node[0] if self.report else "?"

    def stop(self, call: int) -> None:
        """Request the end of a call of `generate`, without waiting for the end."""
        with contextlib.suppress(Exception):  # the actor or the cluster may be unavailable
            self.handle.stop.remote(call)


class Actors:
    """All actors of a job. Several threads may call the methods.

    Args:
        assignment: the data with which each actor loads its model.
        placement: the cluster, and the GPUs that each actor reserves.
        count: the number of actors.
        left_out: called with a line for each actor that is left out after the job has begun.

    Attributes:
        all: the actors in every state.
        first: the report of the first loaded actor, with which other reports are compared; None
            before a model is loaded.
    """

    def __init__(
        self,
        assignment: Assignment,
        placement: Placement,
        count: int,
        left_out: Callable[[str], None],
    ) -> None:
        import ray

        slots = assignment.slots or assignment.candidate.serve.slots or MOST_SLOTS
        make = ray.remote(NodeModel).options(
            num_cpus=assignment.threads,
            num_gpus=placement.gpus,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=slots + 2,  # `load` and `stop` do not wait for generations
            scheduling_strategy="SPREAD",
        )
        self.all = [Actor(make.remote(assignment)) for _ in range(count)]
        self.first: Report | None = None
        self._where = str(placement.address)
        self._left_out = left_out
        self._error: HarnessError | None = None
        self._changed = threading.Condition()
        self._ready_at = time.monotonic()
        self._closed = threading.Event()
        self._begun = False
        for actor in self.all:
            self._start(actor)
        self._watch = threading.Thread(target=self._revive, name="cluster", daemon=True)
        self._watch.start()

    @property
    def ready(self) -> list[Actor]:
        """The actors that can generate now."""
        return [actor for actor in self.all if actor.state == "ready"]

    def begin(self, check: Callable[[], None]) -> Report:
        """Wait until the job can begin, and return the first report on the model.

        The job can begin when all actors are ready. After `FEWER_SECONDS`, the job can begin when
        at least one actor is ready and no actor is loading.

        Args:
            check: called while waiting; may raise an error.

        Raises:
            ClusterUnavailable: no node has taken an actor within `NONE_SECONDS`.
            ChecksumMismatch: the nodes have different files, slots, or versions of the harness.
            HarnessError: a node cannot load the model.
        """
        started = time.monotonic()
        with self._changed:
            while not self._is_complete(time.monotonic() - started):
                check()
                if self._error is not None:
                    raise self._error
                self._changed.wait(TICK)
            self._begun = True
            assert self.first is not None
            return self.first

    def _is_complete(self, seconds: float) -> bool:
        states = [actor.state for actor in self.all]
        if self._error is not None:
            return False
        if "ready" in states and not {"waiting", "gone", "loading"} & {*states}:
            return True
        if seconds > NONE_SECONDS and not {"ready", "loading"} & {*states}:
            raise ClusterUnavailable(
                f"no node has taken an actor within {NONE_SECONDS:.0f} s",
                where=self._where,
                hint="`ray status` on the head shows free resources; reduce --cpus and --gpus.",
            )
        return seconds > FEWER_SECONDS and "ready" in states and "loading" not in states

    @contextlib.contextmanager
    def slot(self, number: int | None, check: Callable[[], None]) -> Iterator[tuple[Actor, int]]:
        """Reserve a slot for the block; yield the slot's actor, and the slot's number on the actor.

        Args:
            number: the number of the preferred slot, counted over all actors. If the preferred slot
                is not free, or `number` is None, a slot of the actor with the most free slots is
                reserved.
            check: called while waiting; may raise an error.

        Raises:
            ClusterUnavailable: no actor has been ready for `LOST_SECONDS`.
        """
        check()
        with self._changed:
            while (found := self._free(number)) is None:
                check()
                self._check_lost()
                self._changed.wait(TICK)
            actor, taken = found
            actor.free.discard(taken)
        report = actor.report
        try:
            yield actor, taken
        finally:
            with self._changed:
                # After the actor has loaded its model again, all its slots are free already.
                if actor.report is report:
                    actor.free.add(taken)
                self._changed.notify_all()

    def _free(self, number: int | None) -> tuple[Actor, int] | None:
        candidates = [actor for actor in self.ready if actor.free]
        if number is not None:
            assert self.first is not None
            index, slot = divmod(number, self.first.slots)
            wanted = self.all[index] if index < len(self.all) else None
            if wanted in candidates and slot in wanted.free:
                return wanted, slot
        if not candidates:
            return None
        actor = max(candidates, key=lambda one: len(one.free))
        return actor, min(actor.free)

    def _check_lost(self) -> None:
        if self.ready:
            self._ready_at = time.monotonic()
        elif time.monotonic() - self._ready_at > LOST_SECONDS:
            raise ClusterUnavailable(
                f"all actors are lost, and none has come back within {LOST_SECONDS:.0f} s",
                where=self._where,
                hint="The same line continues the job when the cluster is back.",
            )

    def lose(self, actor: Actor) -> None:
        """Mark an actor as lost; the actor is used again after it has reloaded its model."""
        with self._changed:
            if actor.state == "ready":
                actor.state = "gone"
                actor.free = set()
                self._ready_at = time.monotonic()
            self._changed.notify_all()

    def close(self) -> None:
        """Stop all actors and their generations."""
        import ray

        self._closed.set()
        for actor in self.all:
            with contextlib.suppress(Exception):  # the actor or the cluster may be unavailable
                ray.kill(actor.handle, no_restart=True)

    def _start(self, actor: Actor) -> None:
        """Request that an actor loads its model as soon as the actor has a node."""
        actor.state = "waiting"
        try:
            placed = actor.handle.placed.remote().future()
            placed.add_done_callback(partial(self._on_placed, actor))
            loaded = actor.handle.load.remote().future()
            loaded.add_done_callback(partial(self._on_loaded, actor))
        except Exception:  # noqa: BLE001 an error of Ray; `_revive` tries again
            actor.state = "gone"

    def _on_placed(self, actor: Actor, future: Any) -> None:
        with self._changed:
            if future.exception() is None and actor.state == "waiting":
                actor.state = "loading"
            self._changed.notify_all()

    def _on_loaded(self, actor: Actor, future: Any) -> None:
        with self._changed:
            self._changed.notify_all()
            if future.exception() is not None:
                actor.state = "gone"
                return
            report = future.result()
            if (error := self._error_of(report)) is None:
                self.first = self.first or report
                actor.state, actor.report, actor.free = "ready", report, {*range(report.slots)}
                return
            actor.state = "left out"
            if self._begun:
                self._left_out(f"an actor is left out: {error}")
            else:
                self._error = self._error or error

    def _error_of(self, report: Report | HarnessError) -> HarnessError | None:
        """Return the reason for leaving an actor out, or None if the actor can be used.

        The reason is the error that the actor reports, or ChecksumMismatch if the `identity` of its
        report differs from the `identity` of the first report.
        """
        if isinstance(report, HarnessError):
            return report
        if self.first is None or report.identity == self.first.identity:
            return None
        return ChecksumMismatch(
            f"the nodes have different models: {self.first}; {report}",
            where=self._where,
            hint="Give the files a sha256 in the registry, or the same content on every node.",
        )

    def _revive(self) -> None:
        """Request repeatedly that lost actors load their model again, until the job ends."""
        while not self._closed.wait(RETRY_SECONDS):
            for actor in self.all:
                if actor.state == "gone":
                    self._start(actor)
