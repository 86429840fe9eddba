"""The panel at work: five personas of one model, each with one vote on one annotation.

A vote is the mean of the answers' values, weighted by the probability that the model gives each of
them as its next token. Nothing is sampled and no prose is parsed. A server that returns no token
probabilities is asked for its answer as JSON under a schema instead.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.errors import InvalidReply
from harness.models.backends.base import Message, Reply
from harness.models.pool import ServedModel
from skills.curate.inputs.items import Item
from skills.curate.panel.panel import Panel, Persona
from skills.nanda.framework import Framework

TOP = 100
"""Alternatives asked for at the one token; servers give 20 at most. An answer beyond them has too
little probability to count."""
FEWEST_MASS = 0.5
"""Probability that must lie on the answers: below it the model was about to say something else, and
the vote counts neither way."""
JSON_TOKENS = 24
"""Completion tokens of {"answer": "4"} and some blanks."""
EXPLANATION_TOKENS = 60


@dataclass(frozen=True, slots=True)
class VoteForm:
    """How a judge votes.

    Attributes:
        kind: asked by the probabilities of one token, or as JSON.
        prefill: the beginning of the reply to a question.
        mass: what lay on the answers after it, on average; None for JSON.
        measured: the same for every prefill that was tried.
    """

    kind: Literal["logprobs", "json"]
    prefill: str = ""
    mass: float | None = None
    measured: Mapping[str, float] = field(default_factory=dict)

    @property
    def can_answer(self) -> bool:
        """False if too little probability lies on the answers: the gates decide alone then."""
        return self.mass is None or self.mass >= FEWEST_MASS


@dataclass(frozen=True, slots=True)
class Vote:
    """What one persona said of one annotation.

    Attributes:
        score: within the values of the panel's answers; None: invalid, neither pass nor fail.
        mass: the probability on all answers; None for JSON.
        answers: the probability of each, or the one that was given as JSON with 1.0.
        prompt_tokens, cached_tokens, seconds: as of `Reply`.
    """

    persona: str
    score: float | None
    mass: float | None
    answers: Mapping[str, float]
    prompt_tokens: int
    cached_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Judge:
    """A model that sits as the panel.

    Args:
        form: how it votes; `skills.curate.panel.vote_mode` measures it.
    """

    panel: Panel
    model: ServedModel
    framework: Framework
    form: VoteForm

    def votes(
        self,
        item: Item,
        slot: int | None = None,
        known: Mapping[str, Vote] | None = None,
        on_vote: Callable[[Vote], None] = lambda _: None,
    ) -> tuple[Vote, ...]:
        """Ask every persona about an annotation, one after another.

        In one slot, the second to the last find the beginning of their prompt evaluated.

        Args:
            known: votes by persona that need not be asked for again.
            on_vote: told each other one as it comes.

        Raises:
            InvalidReply: in none of them is there an answer.
            Whatever `ServedModel.generate` raises.
        """
        known, found = known or {}, []
        for persona in self.panel.personas:
            vote = known.get(persona.name)
            if vote is None:
                vote = self.vote(item, persona, slot)
                on_vote(vote)
            found.append(vote)
        votes = tuple(found)
        if self.form.kind == "logprobs" and not any(any(vote.answers.values()) for vote in votes):
            raise InvalidReply(
                "the judge told no probability of any token, for none of the personas",
                hint="Does the server still tell the probabilities of tokens?",
            )
        return votes

    def explain(self, item: Item, persona: Persona) -> str:
        """A persona's reason in a sentence, which is shown and decides nothing.

        Raises: what `ServedModel.generate` raises.
        """
        messages = self.panel.ask_why(item.paper, item.moves, self.framework, persona)
        request = self.model.request(
            messages=messages, max_tokens=EXPLANATION_TOKENS, temperature=0.0
        )
        self.model.check_fits(request)
        return " ".join(self.model.generate(request).text.split())

    def vote(self, item: Item, persona: Persona, slot: int | None = None) -> Vote:
        """The vote of one persona; raises what `ServedModel.generate` raises."""
        messages = self.panel.ask(item.paper, item.moves, self.framework, persona)
        reply = ask(self.model, messages, self.panel, self.form, slot)
        found = answers_of(reply, self.panel, self.form)
        mass = sum(found.values())
        is_valid = mass >= FEWEST_MASS
        return Vote(
            persona.name,
            _score(found, self.panel) if is_valid else None,
            round(mass, 6) if self.form.kind == "logprobs" else None,
            {answer: round(p, 6) for answer, p in found.items()},
            reply.prompt_tokens,
            reply.cached_tokens,
            round(reply.seconds, 3),
        )


def ask(
    model: ServedModel,
    messages: tuple[Message, ...],
    panel: Panel,
    form: VoteForm,
    slot: int | None,
) -> Reply:
    """Put one question; raises what `ServedModel.generate` raises."""
    how: dict[str, Any] = {"temperature": 0.0, "slot": slot}
    if form.kind == "json":
        how |= {"max_tokens": JSON_TOKENS, "json_schema": _schema(panel)}
    else:
        how |= {"max_tokens": 1, "prefill": form.prefill, "top_logprobs": TOP}
    request = model.request(messages=messages, **how)
    model.check_fits(request)
    return model.generate(request)


def answers_of(reply: Reply, panel: Panel, form: VoteForm) -> dict[str, float]:
    """The probability of each answer; blanks around a token and its case do not matter."""
    if form.kind == "json":
        given = _given(reply, panel)
        return {answer: float(answer == given) for answer in panel.answers}
    # None are told where the token is but a part of a character: no answer, either.
    first = reply.logprobs[0] if reply.logprobs else {}
    return {answer: math.fsum(_variants(first.items(), answer)) for answer in panel.answers}


def _variants(alternatives: Iterable[tuple[str, float]], answer: str) -> Iterable[float]:
    return (
        math.exp(logprob)
        for token, logprob in alternatives
        if token.strip().casefold() == answer.strip().casefold()
    )


def _score(found: Mapping[str, float], panel: Panel) -> float:
    """sum(value * p) / sum(p): the mean of the judgment's distribution, which serves better than
    its most likely answer (Wang et al. 2025, arXiv 2503.03064)."""
    weighted = math.fsum(panel.answers[answer] * p for answer, p in found.items())
    return round(weighted / math.fsum(found.values()), 6)


def _given(reply: Reply, panel: Panel) -> str | None:
    """The answer in a reply as JSON; None where there is none, which makes the vote invalid."""
    try:
        said = json.loads(reply.text)
    except (ValueError, RecursionError):
        return None
    given = said.get("answer") if isinstance(said, dict) else None
    return next((answer for answer in panel.answers if answer == given), None)


def _schema(panel: Panel) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"answer": {"type": "string", "enum": list(panel.answers)}},
        "required": ["answer"],
        "additionalProperties": False,
    }
