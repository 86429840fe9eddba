"""Choosing the model for a task: candidates in order, and the result with what was skipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import ModelUnavailable

if TYPE_CHECKING:
    from harness.models.registry import Registry
    from harness.models.schema import ServeEntry


LARGER = (
    "Pull a model named here with Ollama, or add one of llama-server or any other "
    "OpenAI-compatible server to your registry.yaml (docs/models.md). Commands such as /annotate "
    "and /corpus work without it; `--model {unfit}` before the line, or `/model {unfit}` in a "
    "session, uses the unfit one."
)
"""Hint for a task for which the available models are unfit."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The user's choice of model: `--model NAME`, `--no-fallback`."""

    model: str | None = None
    fallback: bool = True


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model together with one of the entries that could serve it."""

    model_id: str
    serve: ServeEntry


@dataclass(frozen=True, slots=True)
class Skipped:
    candidate: Candidate
    reason: str


@dataclass(frozen=True, slots=True)
class Resolution:
    """The model chosen for a task, and the candidates that were skipped.

    Attributes:
        requested: the id of the model that the task asks for.
        chosen: the candidate that serves it.
    """

    task: str
    requested: str
    chosen: Candidate
    skipped: tuple[Skipped, ...] = ()

    @property
    def resolved(self) -> str:
        return self.chosen.model_id

    @property
    def fell_back(self) -> bool:
        return self.requested != self.resolved

    @property
    def reason(self) -> str:
        """Why places of the requested model do not serve; "" if its first place does."""
        return self.reason_of(self.requested)

    def reason_of(self, model_id: str) -> str:
        """Return why places of a model were skipped; places with the same reason share it."""
        labels: dict[str, list[str]] = {}
        for skipped in self.skipped:
            if skipped.candidate.model_id == model_id:
                labels.setdefault(skipped.reason, []).append(skipped.candidate.serve.label)
        return "; ".join(f"{', '.join(places)}: {reason}" for reason, places in labels.items())


def candidates(
    registry: Registry, task: str, *, model: str | None = None, fallback: bool = True
) -> Iterator[Candidate]:
    """Yield the candidates for `task`, best first.

    Args:
        model: yield only the candidates of this model.
        fallback: include the fallbacks of the task's model.
    """
    if model is not None:
        model_id, entries = registry.named(model)
        yield from (Candidate(model_id, entry) for entry in entries)
        return
    chain = registry.chain(registry.serving(task))
    for model_id in chain if fallback else chain[:1]:
        yield from (Candidate(model_id, entry) for entry in registry.models[model_id].serve)


def resolve(
    registry: Registry,
    task: str,
    unavailable: Mapping[Candidate, str],
    *,
    model: str | None = None,
    fallback: bool = True,
) -> Resolution:
    """Choose the first candidate for `task` that is fit for it and not in `unavailable`.

    Args:
        unavailable: the candidates that cannot serve, each with the reason.
        model: the user's choice, which may be unfit.

    Raises:
        ModelUnavailable: there is none; the message lists every candidate with its reason.
        UsageError: `model` is unknown.
    """
    skipped: list[Skipped] = []
    requested = ""
    unfit = ""
    for candidate in candidates(registry, task, model=model, fallback=fallback):
        requested = requested or candidate.model_id
        reason = unavailable.get(candidate)
        if reason is None and model is None and task in candidate.serve.unfit_for:
            reason, unfit = f"unfit for {task}", candidate.model_id
        if reason is None:
            return Resolution(task, requested, candidate, tuple(skipped))
        skipped.append(Skipped(candidate, reason))
    reasons = "; ".join(
        f"{s.candidate.model_id} ({s.candidate.serve.label}): {s.reason}" for s in skipped
    )
    raise ModelUnavailable(
        f"no model could serve {task}: {reasons}",
        hint=LARGER.format(unfit=unfit) if unfit else "`/models` shows what is available.",
    )
