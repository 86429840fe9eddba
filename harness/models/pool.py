"""Choose a model for a task, load it, and run work with it.

A skill calls `Models.run(task, work)`, which resolves the task to a candidate, loads the model and
passes it to `work`. If the model is unavailable, or becomes unavailable during `work`, `work` is
called with the next candidate.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeVar

from harness.errors import HarnessError, ModelChanged, ModelUnavailable
from harness.models.backend import Availability, Backend, Model
from harness.models.served import ServedModel, Usage, label

if TYPE_CHECKING:
    from harness.models.registry import ModelEntry, Registry, ServeEntry

LARGER = (
    "Get a larger model with Ollama (`/models get qwen2.5:7b`), or add a llama-server or another "
    "OpenAI-compatible server to your registry.yaml (docs/models.md; `/models` shows the models "
    "that are found). Commands such as /annotate and /corpus work without a chat model (`/help` "
    "lists all commands); `--model {unfit}` before the line (in a session, `/model {unfit}`) uses "
    "the small model, whose answers are poor."
)
"""The hint for a task for which all available models are unfit."""
T = TypeVar("T")


class Executor(Protocol):
    """An executor probes and loads candidates, in this process or on the nodes of a cluster.

    All other work of a job is done in this process: selecting rows, retries, storing, and progress.
    """

    def probe(self, candidate: Candidate) -> Availability:
        """Return whether `candidate` could serve now.

        Raises:
            ClusterUnavailable: the cluster cannot be used, so that no candidate can serve.
        """

    def load(self, candidate: Candidate, slots: int | None) -> Model:
        """Load `candidate` and return its model; see `Backend.load`.

        Raises:
            ClusterUnavailable: the cluster cannot be used, so that no candidate can serve.
        """


class LocalExecutor:
    """An executor that loads models with backends of this process."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self._backends = backends

    def probe(self, candidate: Candidate) -> Availability:
        backend = self._backends.get(candidate.serve.backend)
        if backend is None:
            return Availability(False, f"there is no backend {candidate.serve.backend!r}")
        try:
            return backend.probe(candidate.serve)
        except Exception as exc:  # noqa: BLE001 the backend of a plugin may raise any exception
            return Availability(False, f"the probe failed: {type(exc).__name__}: {exc}")

    def load(self, candidate: Candidate, slots: int | None) -> Model:
        """Load `candidate` with its backend, and return the model.

        Raises:
            ModelUnavailable: the candidate cannot be loaded, or the backend raises an exception
                that is not a HarnessError.
            HarnessError: any other error of the backend, such as ChecksumMismatch if a file does
                not match the SHA-256 in the registry.
        """
        try:
            return self._backends[candidate.serve.backend].load(candidate.serve, slots)
        except HarnessError:
            raise
        except Exception as exc:
            raise ModelUnavailable(f"cannot be loaded: {type(exc).__name__}: {exc}") from exc


@dataclass(frozen=True, slots=True)
class Choice:
    """The user's choice of model.

    Attributes:
        model: the NAME of `--model NAME`; None without the option.
        fallback: False if the user gave `--no-fallback`.
    """

    model: str | None = None
    fallback: bool = True


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model, together with a serve entry that could serve it."""

    model_id: str
    serve: ServeEntry


@dataclass(frozen=True, slots=True)
class Resolution:
    """The model chosen for a task, and the candidates that were skipped.

    Attributes:
        requested: the id of the model that the user chose, or else of the first model for the
            task.
        chosen: the candidate that serves the task.
        skipped: the skipped candidates, with the reason why each candidate cannot serve.
    """

    task: str
    requested: str
    chosen: Candidate
    skipped: Mapping[Candidate, Availability]

    @property
    def resolved(self) -> str:
        return self.chosen.model_id

    @property
    def fell_back(self) -> bool:
        return self.requested != self.resolved

    @property
    def reason(self) -> str:
        """The reasons why serve entries of the requested model were skipped (see `reason_of`)."""
        return self.reason_of(self.requested)

    def reason_of(self, model_id: str, *, absent: bool = True) -> str:
        """Return the reasons why serve entries of a model were skipped, in the form of `by_reason`.

        The text is "" if no entry was skipped.

        Args:
            absent: True to include entries with `Availability.absent`.
        """
        return by_reason(
            (candidate.serve.label, found.reason)
            for candidate, found in self.skipped.items()
            if candidate.model_id == model_id and (absent or not found.absent)
        )


def by_reason(reasons: Iterable[tuple[str, str]]) -> str:
    """Return pairs of a name and a reason as a text: "A, B: reason; C: another reason"."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons:
        names.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(found)}: {reason}" for reason, found in names.items())


def candidates(registry: Registry, task: str, *, fallback: bool = True) -> Iterator[Candidate]:
    """Yield the candidates for `task`, best first.

    Args:
        fallback: True to include the fallbacks of the task's model.

    Raises:
        ModelUnavailable: no model in the registry serves the task.
    """
    chain = registry.chain(registry.serving(task))
    for model_id in chain if fallback else chain[:1]:
        yield from (Candidate(model_id, entry) for entry in registry.models[model_id].serve)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model of the pool, and the number of concurrent generations to use."""

    model: Model
    slots: int


class ModelPool:
    """The loaded models of a process, which are kept until `drop` or `close`.

    If a call of `load` requests more slots than the loaded model has, the model is loaded again.

    Args:
        registry: the registry, or a function that reads it, which is called on first use.
        backends: the backends of this process, by name.
        preferred: the name of the model that the user has chosen in the session, by task. All names
            that `--model` accepts are possible.
        executor: the executor that loads models; by default, `backends` load them in this process.

    Attributes:
        last: the latest resolution; None before a model was chosen.
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
        """Return whether `candidate` could serve now; a loaded model is not probed."""
        if candidate in self._loaded:
            return Availability(True, "loaded")
        return self._executor.probe(candidate)

    def load(self, candidate: Candidate, slots: int | None = 1) -> Loaded:
        """Return the loaded model of `candidate`; load it if it is missing or has too few slots.

        Args:
            slots: number of concurrent generations, 1 or more; None for the best number, which is
                `Loaded.slots` of the result.

        Raises:
            ModelUnavailable: the candidate cannot be loaded.
            ChecksumMismatch: a file does not match the SHA-256 in the registry.
            ClusterUnavailable: the executor is a cluster that cannot be used.
        """
        loaded = self._loaded.get(candidate)
        wanted = self._best_slots.get(candidate) if slots is None else slots
        if loaded is None or wanted is None or wanted > loaded.slots:
            self.drop(candidate)  # freed first, since memory may be too small for both models
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
    """The models of a run.

    Args:
        choice: the user's choice of model for the run.
        notice: called with a line about the model that serves, with another line if this model is a
            fallback, and with a line about each change of the model's servers.
        usage: receives the tokens and seconds of each generation.
        cancel: is set when the run must end.
        announced: the lines about serving models that `notice` has received; they are not repeated.
        on_served: called with each model before it is used, for the run log.
    """

    pool: ModelPool
    choice: Choice = field(default_factory=Choice)
    notice: Callable[[str], None] = lambda _: None
    usage: Usage = field(default_factory=Usage)
    cancel: threading.Event | None = None
    announced: set[str] = field(default_factory=set)
    on_served: Callable[[ServedModel], None] = lambda _: None

    @property
    def registry(self) -> Registry:
        return self.pool.registry

    def candidates(self, task: str) -> list[Candidate]:
        """Return the candidates for `task`, best first.

        If the user chose a model, the candidates are the serve entries that its name selects.

        Raises:
            ModelUnavailable: no model in the registry serves the task.
            UsageError: the chosen model is unknown.
        """
        if (model := self._chosen(task)) is not None:
            model_id, entries = self.registry.named(model)
            return [Candidate(model_id, entry) for entry in entries]
        return list(candidates(self.registry, task, fallback=self.choice.fallback))

    def _chosen(self, task: str) -> str | None:
        """Return the name of the model that the user chose for the line or the session, or None."""
        return self.choice.model or self.pool.preferred.get(task)

    def run(self, task: str, work: Callable[[ServedModel], T], *, slots: int | None = 1) -> T:
        """Return `work(model)` with the best model for `task` that can be loaded and reached.

        Args:
            slots: the number of generations that `work` runs concurrently, 1 or more; None for the
                best number, which is then `ServedModel.slots`.

        Raises:
            ModelUnavailable: no candidate can serve (see `resolve`). If `work` raises
                ModelUnavailable, `work` is called again with the next candidate.
            ModelError: `work` found that the server replaced the model; the next run loads the
                new model.
            Exception: any other exception of `resolve`, `ModelPool.load` or `work`.
        """
        unavailable: dict[Candidate, Availability] = {}
        while True:
            resolution = self.resolve(task, unavailable)
            try:
                served = self._served(resolution, self.pool.load(resolution.chosen, slots))
                self._announce(served)
                return work(served)
            except ModelChanged:
                self.pool.drop(resolution.chosen)  # the next run loads the changed model
                raise
            except ModelUnavailable as exc:
                self.pool.drop(resolution.chosen)
                if self.cancel is not None:
                    self.cancel.clear()  # a job may have set this event to stop its threads
                unavailable[resolution.chosen] = Availability(False, exc.message)

    def again(self, served: ServedModel) -> ServedModel:
        """Return `served` with a loaded model, since other runs may have freed its model.

        Raises:
            ModelUnavailable, ChecksumMismatch: raised by `ModelPool.load`.
        """
        resolution = self.pool.last = served.resolution
        return self._served(resolution, self.pool.load(resolution.chosen))

    def resolve(self, task: str, unavailable: dict[Candidate, Availability]) -> Resolution:
        """Return the first fit and available candidate for `task`, and the skipped candidates.

        A model that the user chose is used even if it is unfit.

        Args:
            unavailable: candidates that cannot serve, with the reason. The method adds each
                candidate whose probe fails.

        Raises:
            ModelUnavailable: no candidate can serve. The message lists the candidates with reasons.
                If a candidate is unfit for the task, the message omits unfit candidates and absent
                candidates (`Availability.absent`).
            UsageError: the chosen model is unknown.
        """
        skipped: dict[Candidate, Availability] = {}
        unfit = ""
        ordered = self.candidates(task)
        for candidate in ordered:
            if candidate not in unavailable:
                if task in candidate.serve.unfit_for and self._chosen(task) is None:
                    unfit = candidate.model_id
                    skipped[candidate] = Availability(False, f"unfit for {task}")
                    continue
                found = self.pool.probe(candidate)
                if found.available:
                    return Resolution(task, ordered[0].model_id, candidate, skipped)
                unavailable[candidate] = found
            skipped[candidate] = unavailable[candidate]
        problem = f"no model could serve {task}"
        hint = "`/models` shows which models are available."
        if unfit:
            problem, hint = f"no available model is fit for {task}", LARGER.format(unfit=unfit)
        failing = "; ".join(
            f"{candidate.model_id} ({candidate.serve.label}): {found.reason}"
            for candidate, found in skipped.items()
            if not unfit or (candidate in unavailable and not found.absent)
        )
        raise ModelUnavailable(f"{problem}: {failing}" if failing else problem, hint=hint)

    def _announce(self, served: ServedModel) -> None:
        """Report the model that serves the task; equal lines are reported only once in a run."""
        resolution = self.pool.last = served.resolution
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

    def entry_of(self, resolution: Resolution) -> ModelEntry:
        """Return the entry of the resolved model, with the reply format of the serve entry."""
        from harness.models.registry import ModelEntry

        entry = self.registry.models.get(resolution.resolved) or ModelEntry(
            tasks=(resolution.task,), serve=(resolution.chosen.serve,)
        )
        if form := resolution.chosen.serve.form:
            entry = entry.model_copy(update={"form": form})
        return entry

    def _served(self, resolution: Resolution, loaded: Loaded) -> ServedModel:
        entry = self.entry_of(resolution)
        return ServedModel(resolution, entry, loaded.model, self.usage, self.cancel, loaded.slots)
