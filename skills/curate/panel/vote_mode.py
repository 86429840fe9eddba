"""How a vote is requested from a model: by the probabilities of one token, or as JSON.

The mode and the beginning of the reply are measured once per judge, on a few annotations.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

from harness.errors import InputError, SkillFailed
from harness.models.backends.base import Message, Reply
from harness.models.served import ServedModel
from skills.curate.inputs.items import Item
from skills.curate.panel.panel import Panel
from skills.nanda.framework import Framework

FORM_ITEMS = 10
"""Most annotations on which the beginnings of a reply are compared, one persona each, in turn."""
TOP = 100
"""Alternatives requested for the one token; servers return 20 at most. The probability of an answer
beyond them is too small to count."""
FEWEST_MASS = 0.5
"""Least probability that must lie on the answers for a valid vote: below it, the model was about to
write something else."""
JSON_TOKENS = 24
"""Completion tokens of {"answer": "4"} and some blanks."""


@dataclass(frozen=True, slots=True)
class VoteForm:
    """How a judge votes.

    Attributes:
        kind: by the probabilities of one token, or as JSON.
        prefill: the beginning of the reply to a question.
        mass: the mean probability of all answers after it; None for JSON.
        measured: the same for every prefill that was tried.
        items: number of annotations it was measured on; 0 if that was not stored.
    """

    kind: Literal["logprobs", "json"]
    prefill: str = ""
    mass: float | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    items: int = 0

    @property
    def can_answer(self) -> bool:
        """False if too little probability lies on the answers; then the gates decide alone."""
        return self.mass is None or self.mass >= FEWEST_MASS


def form_sample(items: Sequence[Item]) -> Sequence[Item]:
    """Return the annotations to measure the form on: the first half, at most `FORM_ITEMS`."""
    return items[: min(FORM_ITEMS, -(-len(items) // 2))]


def choose_form(
    panel: Panel,
    model: ServedModel,
    framework: Framework,
    items: Sequence[Item],
    on_item: Callable[[Item, int], None] = lambda *_: None,
) -> VoteForm:
    """Measure how a model votes best.

    Each of `items` is put to one persona with every prefill, or without any to a model that does
    not continue a begun answer; of equally good ones, the first of the panel is taken. Items that
    are too long or at which the judge fails are skipped: the job reports them. A server without
    token probabilities votes as JSON.

    Args:
        on_item: called with each measured item and the prompt tokens that were evaluated for it.

    Returns:
        a form without `mass` if all items are too long.

    Raises:
        SkillFailed: the judge fails at all of them.
    """
    prefills = panel.prefills if model.continues_prefill else ("",)
    masses: dict[str, list[float]] = {prefill: [] for prefill in prefills}
    failed: SkillFailed | None = None
    for index, item in enumerate(items):
        persona = panel.personas[index % len(panel.personas)]
        messages = panel.question(item.paper, item.moves, framework, persona)
        try:
            replies = _replies(model, messages, panel, prefills)
        except InputError:
            continue
        except SkillFailed as error:
            failed = error
            continue
        if not any(reply.logprobs for reply in replies.values()):
            return VoteForm("json")
        for prefill, reply in replies.items():
            form = VoteForm("logprobs", prefill)
            masses[prefill].append(math.fsum(answers_of(reply, panel, form).values()))
        evaluated = (reply.prompt_tokens - reply.cached_tokens for reply in replies.values())
        on_item(item, sum(evaluated))
    measured = {prefill: round(fmean(found), 4) for prefill, found in masses.items() if found}
    if failed is not None and not measured:
        raise failed
    best = max(measured, key=lambda prefill: measured[prefill], default=prefills[0])
    return VoteForm("logprobs", best, measured.get(best), measured, len(masses[best]))


def request_vote(
    model: ServedModel,
    messages: tuple[Message, ...],
    panel: Panel,
    form: VoteForm,
    slot: int | None,
) -> Reply:
    """Put one question to the model."""
    how: dict[str, Any] = {"temperature": 0.0, "slot": slot}
    if form.kind == "json":
        how |= {"max_tokens": JSON_TOKENS, "json_schema": _schema(panel)}
    else:
        how |= {"max_tokens": 1, "prefill": form.prefill, "top_logprobs": TOP}
    request = model.request(messages=messages, **how)
    model.check_fits(request)
    return model.generate(request)


def answers_of(reply: Reply, panel: Panel, form: VoteForm) -> dict[str, float]:
    """Return the probability of each answer; blanks around a token and its case are ignored."""
    if form.kind == "json":
        given = _json_answer(reply)
        return {answer: float(answer == given) for answer in panel.answers}
    # A server returns none where the token is only a part of a character: not an answer either.
    first = reply.logprobs[0] if reply.logprobs else {}
    return {
        answer: math.fsum(
            math.exp(logprob)
            for token, logprob in first.items()
            if token.strip().casefold() == answer.strip().casefold()
        )
        for answer in panel.answers
    }


def _replies(
    model: ServedModel, messages: tuple[Message, ...], panel: Panel, prefills: Sequence[str]
) -> dict[str, Reply]:
    """Return the reply after each prefill."""
    forms = {prefill: VoteForm("logprobs", prefill) for prefill in prefills}
    return {
        prefill: request_vote(model, messages, panel, form, 0) for prefill, form in forms.items()
    }


def _json_answer(reply: Reply) -> Any:
    try:
        found = json.loads(reply.text)
    except (ValueError, RecursionError):
        return None
    return found.get("answer") if isinstance(found, dict) else None


def _schema(panel: Panel) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"answer": {"type": "string", "enum": list(panel.answers)}},
        "required": ["answer"],
        "additionalProperties": False,
    }
