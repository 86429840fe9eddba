"""Running work with the best available model: probing, loading, fallback.

A skill calls `Models.run(task, work)`. It resolves the task, loads the model and passes it to
`work`. If the model is unavailable, `work` starts again with the next candidate.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from harness.errors import ModelUnavailable
from harness.models.backends.base import Availability, Backend, Model
from harness.models.executors import Executor, LocalExecutor
from harness.models.resolution import Candidate, Choice, Resolution, candidates, resolve
from harness.models.served import ServedModel, Usage, label

if TYPE_CHECKING:
    from harness.models.registry import Registry

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model of the pool, and the number of concurrent generations to use."""

    model: Model
    slots: int


class ModelPool:
    """The loaded models of a process, each loaded once and kept until closed.

    A model is loaded again only if `load` requests more slots than it has.

    Args:
        registry: the registry, or a function that reads it, which is called on first use.
        preferred: names of the models that the session uses for a task, as `--model` takes them.
        executor: loads the models; by default, `backends` do so in this process.
    """

    def __init__(
        self,
        registry: Registry | Callable[[], Registry],
        backends: Mapping[str, Backend],
        preferred: Mapping[str, str] | None = None,
        executor: Executor | None = None,
    ) -> None:
        self._registry = registry
        self.preferred = {} if preferred is None else preferred
        self.backends = backends
        self._executor = executor or LocalExecutor(backends)
        self.last: Resolution | None = None
        self._loaded: dict[Candidate, Loaded] = {}
        self._best_slots: dict[Candidate, int] = {}

    @cached_property
    def registry(self) -> Registry:
        return self._registry() if callable(self._registry) else self._registry

    def probe(self, candidate: Candidate) -> Availability:
        """Return whether `candidate` could serve now; a loaded one is not probed."""
        if candidate in self._loaded:
            return Availability(True, "loaded")
        return self._executor.probe(candidate)

    def load(self, candidate: Candidate, slots: int | None = 1) -> Loaded:
        """Load `candidate`, or return the loaded model if it has enough slots.

        Args:
            slots: number of concurrent generations, 1 or more; None for the best number.

        Raises:
            ModelUnavailable: it cannot be loaded, for any reason.
            ChecksumMismatch: a file does not match the SHA-256 in the registry.
            ClusterUnavailable: the executor is a cluster that cannot be used.
        """
        loaded = self._loaded.get(candidate)
        wanted = self._best_slots.get(candidate) if slots is None else slots
        if loaded is None or wanted is None or wanted > loaded.slots:
            self.drop(candidate)  # first, since both may not fit into the memory
            model = self._executor.load(candidate, slots)
            wanted = model.slots if slots is None else slots
            if slots is None:
                self._best_slots[candidate] = wanted
            loaded = self._loaded[candidate] = Loaded(model, wanted)
        return Loaded(loaded.model, wanted)

    def drop(self, candidate: Candidate) -> None:
        """Free the model of `candidate`, if it is loaded."""
        loaded = self._loaded.pop(candidate, None)
        if loaded is not None:
            loaded.model.close()

    def close(self) -> None:
        """Free all models."""
        for candidate in list(self._loaded):
            self.drop(candidate)


@dataclass(slots=True)
class Models:
    """The models, as one run may use them.

    Args:
        notice: receives one line about the model that serves, and another if it is not the
            requested one.
        on_resolved: receives each resolution before it is used.
        on_served: receives each model before it is used, for the run log.
        announced: the lines that `notice` has received.
    """

    pool: ModelPool
    choice: Choice = field(default_factory=Choice)
    notice: Callable[[str], None] = lambda _: None
    on_resolved: Callable[[Resolution], None] = lambda _: None
    usage: Usage = field(default_factory=Usage)
    cancel: threading.Event | None = None
    announced: set[str] = field(default_factory=set)
    on_served: Callable[[ServedModel], None] = lambda _: None

    @property
    def registry(self) -> Registry:
        return self.pool.registry

    def candidates(self, task: str) -> list[Candidate]:
        """Return the candidates for `task`, best first."""
        model, fallback = self._model(task), self.choice.fallback
        return list(candidates(self.registry, task, model=model, fallback=fallback))

    def _model(self, task: str) -> str | None:
        """Return the name of the model that the user chose, for the line or the session."""
        return self.choice.model or self.pool.preferred.get(task)

    def run(self, task: str, work: Callable[[ServedModel], T], *, slots: int | None = 1) -> T:
        """Return `work(model)` with the best model for `task` that can be loaded and reached.

        Args:
            slots: the number of generations that `work` runs concurrently, 1 or more; None for the
                best number, which is then `ServedModel.slots`.

        Raises:
            ModelUnavailable: no candidate can serve; the message names each with its reason.
            Exception: whatever `work` raises, except ModelUnavailable while candidates remain.
        """
        unavailable: dict[Candidate, Availability] = {}
        while True:
            resolution = self.resolve(task, unavailable)
            try:
                served = self._served(resolution, self.pool.load(resolution.chosen, slots))
                self._announce(served)
                return work(served)
            except ModelUnavailable as exc:
                self.pool.drop(resolution.chosen)
                if self.cancel is not None:
                    self.cancel.clear()  # a job sets it to stop its own threads
                unavailable[resolution.chosen] = Availability(False, exc.message)

    def again(self, served: ServedModel) -> ServedModel:
        """Return the same model after other runs, which may have reloaded it.

        Raises:
            ModelUnavailable, ChecksumMismatch: raised by `ModelPool.load`.
        """
        resolution = self.pool.last = served.resolution
        return self._served(resolution, self.pool.load(resolution.chosen))

    def resolve(self, task: str, unavailable: dict[Candidate, Availability]) -> Resolution:
        """Probe the candidates until one is available, recording why the others are not.

        Raises:
            ModelUnavailable: no candidate is available.
        """
        model, fallback = self._model(task), self.choice.fallback
        while True:
            found = resolve(self.registry, task, unavailable, model=model, fallback=fallback)
            availability = self.pool.probe(found.chosen)
            if availability.available:
                return found
            unavailable[found.chosen] = availability

    def _announce(self, served: ServedModel) -> None:
        """Report the model that serves, once for all its uses in the run."""
        resolution = self.pool.last = served.resolution
        self.on_resolved(resolution)
        self.on_served(served)
        if resolution.fell_back:
            self._notice_once(
                f"{resolution.task}: {resolution.requested} unavailable ({resolution.reason}); "
                f"using {resolution.resolved} ({resolution.chosen.serve.label})"
            )
        why = resolution.reason_of(resolution.resolved, absent=False)
        self._notice_once(f"model: {label(served.about)}" + f" ({why})" * bool(why))
        report_to = getattr(served.model, "report_to", None)
        if report_to is not None:
            report_to(self.notice)

    def _notice_once(self, line: str) -> None:
        if line not in self.announced:
            self.announced.add(line)
            self.notice(line)

    def _served(self, resolution: Resolution, loaded: Loaded) -> ServedModel:
        from harness.models.schema import ModelEntry

        entry = self.registry.models.get(resolution.resolved) or ModelEntry(
            tasks=(resolution.task,), serve=(resolution.chosen.serve,)
        )
        if form := resolution.chosen.serve.form:
            entry = entry.model_copy(update={"form": form})
        return ServedModel(resolution, entry, loaded.model, self.usage, self.cancel, loaded.slots)
