"""Running work with the best available model: probing, loading, fallback, token counts.

A skill calls `Models.run(task, work)`. It resolves the task, loads the model and passes it to
`work`. If the model is unavailable, `work` starts again with the next candidate.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from harness.errors import HarnessError, InputError, ModelUnavailable
from harness.models.backends.base import Availability, Backend, Model, OnText, Reply, Request
from harness.models.repetition import LoopDetector
from harness.models.resolution import Candidate, Choice, Resolution, candidates, resolve
from harness.models.tokens import Usage, estimated_tokens

if TYPE_CHECKING:
    from harness.models.registry import Registry
    from harness.models.schema import ModelEntry

T = TypeVar("T")


@dataclass(slots=True)
class ServedModel:
    """A loaded model and why it was chosen; the argument of `work`.

    Attributes:
        slots: the number of generations that `work` should run concurrently, in threads.
    """

    resolution: Resolution
    entry: ModelEntry
    model: Model
    usage: Usage
    cancel: threading.Event | None = None
    slots: int = 1

    @property
    def context(self) -> int:
        """The context for prompt and answer together, in tokens, from the registry."""
        return self.resolution.chosen.serve.context

    @property
    def takes_grammar(self) -> bool:
        return self.model.takes_grammar

    @property
    def takes_tools(self) -> bool:
        """Whether the model can call tools; False if its backend does not state it."""
        return getattr(self.model, "takes_tools", False)

    @property
    def tools_refused(self) -> str:
        """The message of a server that refused tools, or ""."""
        return str(getattr(self.model, "tools_refused", ""))

    @property
    def digests(self) -> Mapping[str, str]:
        return self.model.digests

    def generate(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Generate and count tokens.

        Raises:
            LoopingReply: the model repeats the same text.
            Errors of `backends.base.Model.generate`.
        """
        reply = self.model.generate(request, LoopDetector(on_text).add, self.cancel)
        self.usage.add(reply)
        return reply

    def check_fits(self, request: Request) -> None:
        """Refuse a request whose prompt and answer do not fit into the model's context.

        The prompt is counted if the model can, else estimated with `tokens.BYTES_PER_TOKEN`. If the
        context is unknown, nothing is refused. Servers may silently truncate a longer prompt.

        Raises:
            InputError: it does not fit.
            SkillFailed, GenerationFailed: raised by `backends.base.Model.count_tokens`.
        """
        context = self.model.context
        if context is None:
            return
        counted = self.model.count_tokens(request)
        tokens = estimated_tokens(request) if counted is None else counted
        if tokens + request.max_tokens > context:
            about = "about " if counted is None else ""
            raise InputError(
                f"the prompt has {about}{tokens} tokens and leaves no room for an answer of "
                f"{request.max_tokens} in the model's context of {context}",
                hint="Shorten the input, or raise `context` of the model in the registry.",
            )

    def request(self, **fields: Any) -> Request:
        """Return a request with these fields and the model's default options."""
        return Request(**{**self.entry.options.model_dump(exclude_none=True), **fields})


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
    """

    def __init__(
        self, registry: Registry | Callable[[], Registry], backends: Mapping[str, Backend]
    ) -> None:
        self._registry = registry
        self.backends = backends
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
        backend = self.backends.get(candidate.serve.backend)
        if backend is None:
            return Availability(False, f"there is no backend {candidate.serve.backend!r}")
        try:
            return backend.probe(candidate.serve)
        except Exception as exc:  # noqa: BLE001  the backend of a plugin may raise anything
            return Availability(False, f"the probe failed: {type(exc).__name__}: {exc}")

    def load(self, candidate: Candidate, slots: int | None = 1) -> Loaded:
        """Load `candidate`, or return the loaded model if it has enough slots.

        Args:
            slots: number of concurrent generations, 1 or more; None for the best number.

        Raises:
            ModelUnavailable: it cannot be loaded, for any reason.
            ChecksumMismatch: a file does not match the SHA-256 in the registry.
        """
        loaded = self._loaded.get(candidate)
        wanted = self._best_slots.get(candidate) if slots is None else slots
        if loaded is None or wanted is None or wanted > loaded.slots:
            self.drop(candidate)  # first, since both may not fit into the memory
            model = self._load(candidate, slots)
            wanted = model.slots if slots is None else slots
            if slots is None:
                self._best_slots[candidate] = wanted
            loaded = self._loaded[candidate] = Loaded(model, wanted)
        return Loaded(loaded.model, wanted)

    def _load(self, candidate: Candidate, slots: int | None) -> Model:
        try:
            return self.backends[candidate.serve.backend].load(candidate.serve, slots)
        except HarnessError:
            raise
        except Exception as exc:
            raise ModelUnavailable(f"cannot be loaded: {type(exc).__name__}: {exc}") from exc

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
        notice: receives one line if another model than the requested one serves.
        on_resolved: receives each resolution before it is used, for the run log.
    """

    pool: ModelPool
    choice: Choice = field(default_factory=Choice)
    notice: Callable[[str], None] = lambda _: None
    on_resolved: Callable[[Resolution], None] = lambda _: None
    usage: Usage = field(default_factory=Usage)
    cancel: threading.Event | None = None

    @property
    def registry(self) -> Registry:
        return self.pool.registry

    def candidates(self, task: str) -> list[Candidate]:
        """Return the candidates for `task`, best first."""
        chosen = self.choice
        return list(candidates(self.registry, task, model=chosen.model, fallback=chosen.fallback))

    def run(self, task: str, work: Callable[[ServedModel], T], *, slots: int | None = 1) -> T:
        """Return `work(model)` with the best model for `task` that can be loaded and reached.

        Args:
            slots: the number of generations that `work` runs concurrently, 1 or more; None for the
                best number, which is then `ServedModel.slots`.

        Raises:
            ModelUnavailable: no candidate can serve; the message names each with its reason.
            Exception: whatever `work` raises, except ModelUnavailable while candidates remain.
        """
        unavailable: dict[Candidate, str] = {}
        while True:
            resolution = self.resolve(task, unavailable)
            try:
                loaded = self.pool.load(resolution.chosen, slots)
                self._announce(resolution)
                return work(self._served(resolution, loaded))
            except ModelUnavailable as exc:
                self.pool.drop(resolution.chosen)
                if self.cancel is not None:
                    self.cancel.clear()  # a job sets it to stop its own threads
                unavailable[resolution.chosen] = exc.message

    def again(self, served: ServedModel) -> ServedModel:
        """Return the same model after other runs, one of which may have reloaded it.

        Raises:
            ModelUnavailable, ChecksumMismatch: raised by `ModelPool.load`.
        """
        resolution = self.pool.last = served.resolution
        return self._served(resolution, self.pool.load(resolution.chosen))

    def resolve(self, task: str, unavailable: dict[Candidate, str]) -> Resolution:
        """Probe the candidates until one is available, recording why the others are not.

        Raises:
            ModelUnavailable: no candidate is available.
        """
        model, fallback = self.choice.model, self.choice.fallback
        while True:
            found = resolve(self.registry, task, unavailable, model=model, fallback=fallback)
            availability = self.pool.probe(found.chosen)
            if availability.available:
                return found
            unavailable[found.chosen] = availability.reason

    def _announce(self, resolution: Resolution) -> None:
        self.pool.last = resolution
        self.on_resolved(resolution)
        if resolution.fell_back:
            self.notice(
                f"{resolution.task}: {resolution.requested} unavailable ({resolution.reason}); "
                f"using {resolution.resolved} ({resolution.chosen.serve.label})"
            )

    def _served(self, resolution: Resolution, loaded: Loaded) -> ServedModel:
        from harness.models.schema import ModelEntry

        entry = self.registry.models.get(resolution.resolved) or ModelEntry(
            tasks=(resolution.task,), serve=(resolution.chosen.serve,)
        )
        return ServedModel(resolution, entry, loaded.model, self.usage, self.cancel, loaded.slots)
