"""Choosing the model for a task: candidates in order, and the result with what was skipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import ModelUnavailable
from harness.models.backends.base import Availability

if TYPE_CHECKING:
    from harness.models.registry import Registry
    from harness.models.schema import ServeEntry


LARGER = (
    "Get one with Ollama (`/models get qwen2.5:7b`), or add a llama-server or another "
    "OpenAI-compatible server to your registry.yaml (docs/models.md; `/models` shows what is "
    "found). The commands work without it (`/help` lists them), /annotate and /corpus among them; "
    "`--model {unfit}` before the line (in a session, `/model {unfit}`) uses the one whose answers "
    "are poor."
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
    absent: bool = False

    def __str__(self) -> str:
        return f"{self.candidate.model_id} ({self.candidate.serve.label}): {self.reason}"


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

    def reason_of(self, model_id: str, *, absent: bool = True) -> str:
        """Return why places of a model were skipped; places with the same reason share it.

        Args:
            absent: include places where there is nothing.
        """
        labels: dict[str, list[str]] = {}
        for skipped in self.skipped:
            if skipped.candidate.model_id == model_id and (absent or not skipped.absent):
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
    unavailable: Mapping[Candidate, Availability],
    *,
    model: str | None = None,
    fallback: bool = True,
) -> Resolution:
    """Choose the first candidate for `task` that is fit for it and not in `unavailable`.

    Args:
        unavailable: the candidates that cannot serve, each with the reason.
        model: the user's choice, which may be unfit.

    Raises:
        ModelUnavailable: there is none; the message lists every candidate with its reason, or if
            an unfit one is available, those that were expected to serve.
        UsageError: `model` is unknown.
    """
    skipped: list[Skipped] = []
    requested = ""
    unfit = ""
    for candidate in candidates(registry, task, model=model, fallback=fallback):
        requested = requested or candidate.model_id
        found = unavailable.get(candidate)
        if found is not None:
            skipped.append(Skipped(candidate, found.reason, found.absent))
        elif model is None and task in candidate.serve.unfit_for:
            unfit = candidate.model_id
            skipped.append(Skipped(candidate, f"unfit for {task}"))
        else:
            return Resolution(task, requested, candidate, tuple(skipped))
    if unfit:
        failing = [s for s in skipped if s.candidate in unavailable and not s.absent]
        what, hint = f"no available model is fit for {task}", LARGER.format(unfit=unfit)
    else:
        failing, what = skipped, f"no model could serve {task}"
        hint = "`/models` shows what is available."
    raise ModelUnavailable(": ".join(filter(None, (what, "; ".join(map(str, failing))))), hint=hint)
