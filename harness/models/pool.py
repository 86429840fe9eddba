"""Who serves a task, here and now: probing, loading, falling back, and counting tokens.

`Models.run(task, work)` is what a skill calls. It resolves the task, loads the model and hands it
to `work`; a model that turns out to be absent or unreachable is passed over, in the open, and
`work` starts again with the next one. A bad answer is never a reason to change the model.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from harness.errors import HarnessError, InputError, ModelUnavailable
from harness.models.backends.base import Availability, Backend, Model, OnText, Reply, Request
from harness.models.registry import Candidate, Registry, Resolution, candidates, resolve
from harness.models.schema import ModelEntry

T = TypeVar("T")

BYTES_PER_TOKEN = 3
"""UTF-8 bytes, where nobody counts: prose has more to a token, figures and other scripts about so
many, so that the estimate is rather too high than too low."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user said about the model: `--model NAME`, `--no-fallback`."""

    model: str | None = None
    fallback: bool = True


@dataclass(slots=True)
class Usage:
    """Tokens and seconds of all generations of one run; those at the same time each count whole."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    generations: int = 0
    seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, reply: Reply) -> None:
        """Count a reply; threads may do so at the same time."""
        with self._lock:
            self.prompt_tokens += reply.prompt_tokens
            self.completion_tokens += reply.completion_tokens
            self.generations += 1
            self.seconds += reply.seconds


@dataclass(slots=True)
class ServedModel:
    """A loaded model together with why it was chosen; what `work` is given.

    Attributes:
        slots: how many generations `work` does best to ask for at the same time, from threads.
    """

    resolution: Resolution
    entry: ModelEntry
    model: Model
    usage: Usage
    cancel: threading.Event | None = None
    slots: int = 1

    @property
    def context(self) -> int:
        """Tokens that a prompt and its answer may have together, as far as the registry tells."""
        return self.resolution.chosen.serve.context

    @property
    def takes_grammar(self) -> bool:
        return self.model.takes_grammar

    @property
    def takes_tools(self) -> bool:
        """Whether it can call tools. A stranger's backend may say nothing of it."""
        return getattr(self.model, "takes_tools", False)

    @property
    def tools_refused(self) -> str:
        """The words in which a server refused them, or ""."""
        return str(getattr(self.model, "tools_refused", ""))

    @property
    def digests(self) -> Mapping[str, str]:
        return self.model.digests

    def generate(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Generate and count; raises what `backends.base.Model.generate` raises."""
        reply = self.model.generate(request, on_text, self.cancel)
        self.usage.add(reply)
        return reply

    def check_fits(self, request: Request) -> None:
        """Refuse a request whose prompt and whole answer do not fit into the model's context.

        The prompt is counted where the model can tell, else estimated at `BYTES_PER_TOKEN`; where
        the context is not known either, nothing is refused. A server may cut what is too long
        without a word, so this is asked first.

        Raises:
            InputError: it cannot fit.
            SkillFailed, GenerationFailed: as `backends.base.Model.count_tokens` says.
        """
        context = self.model.context
        if context is None:
            return
        counted = self.model.count_tokens(request)
        tokens = _estimated_tokens(request) if counted is None else counted
        if tokens + request.max_tokens > context:
            about = "about " if counted is None else ""
            raise InputError(
                f"the prompt has {about}{tokens} tokens and leaves no room for an answer of "
                f"{request.max_tokens} in the model's context of {context}",
                hint="Shorten the input, or raise `context` of the model in the registry.",
            )

    def request(self, **fields: Any) -> Request:
        """A request with the registry's default options for this model under `fields`."""
        return Request(**{**self.entry.options.model_dump(exclude_none=True), **fields})


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model of the pool, and how many generations at once were asked for or are best."""

    model: Model
    slots: int


class ModelPool:
    """The loaded models of a process: each place is loaded once and kept until closed.

    It is loaded anew, by `load`, only where more slots are wanted than it has.
    """

    def __init__(self, registry: Registry, backends: Mapping[str, Backend]) -> None:
        self.registry = registry
        self.backends = backends
        self.last: Resolution | None = None
        self._loaded: dict[Candidate, Loaded] = {}
        self._best: dict[Candidate, int] = {}

    def probe(self, candidate: Candidate) -> Availability:
        """Whether `candidate` could serve now; one that is loaded needs no asking."""
        if candidate in self._loaded:
            return Availability(True, "loaded")
        backend = self.backends.get(candidate.serve.backend)
        if backend is None:
            return Availability(False, f"there is no backend {candidate.serve.backend!r}")
        try:
            return backend.probe(candidate.serve)
        except Exception as exc:  # noqa: BLE001  a plugin's backend may raise anything
            return Availability(False, f"the probe failed: {type(exc).__name__}: {exc}")

    def load(self, candidate: Candidate, slots: int | None = 1) -> Loaded:
        """Make `candidate` ready for that many generations at once.

        Args:
            slots: 1 or more; None: as many as the place is good for.

        Returns: the model, which may have more, and the number to use: `slots` or, for None, what
            the place is good for.

        Raises:
            ModelUnavailable: it cannot be, for whatever reason.
            ChecksumMismatch: a file is not the one the registry names.
        """
        loaded = self._loaded.get(candidate)
        wanted = self._best.get(candidate) if slots is None else slots
        if loaded is None or wanted is None or wanted > loaded.slots:
            self.drop(candidate)  # first: two at once may be too much for the memory
            model = self._load(candidate, slots)
            wanted = model.slots if slots is None else slots
            if slots is None:
                self._best[candidate] = wanted
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
        loaded = self._loaded.pop(candidate, None)
        if loaded is not None:
            loaded.model.close()

    def close(self) -> None:
        for candidate in list(self._loaded):
            self.drop(candidate)


@dataclass(slots=True)
class Models:
    """The models as one run sees them.

    Args:
        notice: told in one line when another model than the one asked for serves.
        on_resolved: told each resolution that is about to be used, for the run log.
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
        return list(
            candidates(self.registry, task, model=self.choice.model, fallback=self.choice.fallback)
        )

    def run(self, task: str, work: Callable[[ServedModel], T], *, slots: int | None = 1) -> T:
        """Return `work(model)` of the best model that can be loaded and reached for `task`.

        Args:
            slots: how many generations `work` will ask for at once, 1 or more; None: as many as
                the place is good for, which `ServedModel.slots` then tells.

        Raises:
            ModelUnavailable: nobody can serve; every candidate is named with its reason.
            Whatever `work` raises, except ModelUnavailable while candidates are left.
        """
        unavailable: dict[Candidate, str] = {}
        while True:
            resolution = self._resolve(task, unavailable)
            try:
                loaded = self.pool.load(resolution.chosen, slots)
                self._announce(resolution)
                return work(self._served(resolution, loaded))
            except ModelUnavailable as exc:
                self.pool.drop(resolution.chosen)
                if self.cancel is not None:
                    self.cancel.clear()  # a job whose model has gone calls off its own work by it
                unavailable[resolution.chosen] = exc.message

    def again(self, served: ServedModel) -> ServedModel:
        """The same model once more, after other runs: one of them may have had it loaded anew.

        Raises:
            ModelUnavailable, ChecksumMismatch: as `ModelPool.load` says.
        """
        resolution = self.pool.last = served.resolution
        return self._served(resolution, self.pool.load(resolution.chosen))

    def _resolve(self, task: str, unavailable: dict[Candidate, str]) -> Resolution:
        """Probe candidates, best first, until one is available; note why the others are not."""
        for candidate in self.candidates(task):
            if candidate in unavailable:
                continue
            availability = self.pool.probe(candidate)
            if availability.available:
                break
            unavailable[candidate] = availability.reason
        return resolve(
            self.registry,
            task,
            unavailable,
            model=self.choice.model,
            fallback=self.choice.fallback,
        )

    def _announce(self, resolution: Resolution) -> None:
        self.pool.last = resolution
        self.on_resolved(resolution)
        if resolution.fell_back:
            self.notice(
                f"{resolution.task}: {resolution.requested} unavailable ({resolution.reason}); "
                f"using {resolution.resolved} ({resolution.chosen.serve.label})"
            )

    def _served(self, resolution: Resolution, loaded: Loaded) -> ServedModel:
        entry = self.registry.models.get(resolution.resolved) or ModelEntry(
            tasks=(resolution.task,), serve=(resolution.chosen.serve,)
        )
        return ServedModel(resolution, entry, loaded.model, self.usage, self.cancel, loaded.slots)


def _estimated_tokens(request: Request) -> int:
    parts = [f"{t.name}{t.description}{json.dumps(dict(t.parameters))}" for t in request.tools]
    for message in request.conversation:
        parts += [message.content, *(c.name + c.arguments for c in message.tool_calls)]
    return -(-sum(len(part.encode()) for part in parts) // BYTES_PER_TOKEN)
