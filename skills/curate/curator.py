"""The curator: a panel of five personas of one model, each of which votes on each annotation.

The score of a vote is a weighted mean of the values of the answers. The weight of an answer is the
probability that the model gives it as its next token. Nothing is sampled, and no prose is parsed. A
server without token probabilities answers as JSON under a schema instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.errors import InvalidReply
from harness.models.served import ServedModel
from harness.support import traces
from skills.curate.items import Item
from skills.curate.panel import FEWEST_MASS, Panel, Persona, VoteForm, answers_of, request_vote
from skills.nanda.framework import Framework

EXPLANATION_TOKENS = 60


@dataclass(frozen=True, slots=True)
class Vote:
    """The vote of one persona on one annotation.

    Attributes:
        score: a number between the lowest and the highest value of an answer; None for an invalid
            vote, which counts neither as a pass nor as a fail.
        mass: the sum of the probabilities of all answers; None for a vote as JSON.
        answers: the probability of each answer; in a vote as JSON, 1.0 for the given answer.
        prompt_tokens, cached_tokens, seconds: as in `Reply`.
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
    """A model that votes as each persona of a panel.

    Attributes:
        form: the form of its votes, as measured by `panel.choose_form`.
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
        """Return the votes of all personas on an annotation, requested one after another.

        The prompts begin with the same text, which a server evaluates only once in a slot.

        Args:
            slot: the slot of the server.
            known: votes by persona that are not requested again.
            on_vote: called with each requested vote.

        Raises:
            InvalidReply: no persona got a reply with the probability of an answer.
        """
        found = dict(known or {})
        for persona in self.panel.personas:
            if persona.name not in found:
                found[persona.name] = self.vote(item, persona, slot)
                traces.evaluated(persona.name, found[persona.name].score)
                on_vote(found[persona.name])
        votes = tuple(found[name] for name in self.panel.names)
        if self.form.kind == "logprobs" and not any(any(vote.answers.values()) for vote in votes):
            raise InvalidReply(
                "the judge returned no probability of an answer, for any of the personas",
                hint="Check that the server returns token probabilities (logprobs), or select "
                "another judge with --model.",
            )
        return votes

    def vote(self, item: Item, persona: Persona, slot: int | None = None) -> Vote:
        """Return the vote of one persona."""
        messages = self.panel.question(item.paper, item.moves, self.framework, persona)
        reply = request_vote(self.model, messages, self.panel, self.form, slot)
        found = answers_of(reply, self.panel, self.form)
        mass = math.fsum(found.values())
        # The mean of the distribution is more accurate than the most likely answer (Wang et al.
        # 2025, arXiv 2503.03064).
        weighted = math.fsum(self.panel.answers[answer] * p for answer, p in found.items())
        return Vote(
            persona.name,
            round(weighted / mass, 6) if mass >= FEWEST_MASS else None,
            round(mass, 6) if self.form.kind == "logprobs" else None,
            {answer: round(p, 6) for answer, p in found.items()},
            reply.prompt_tokens,
            reply.cached_tokens,
            round(reply.seconds, 3),
        )

    def explain(self, item: Item, persona: Persona) -> str:
        """Return a sentence with the reason of a persona for its vote.

        It is for people; no decision depends on it.
        """
        messages = self.panel.question(item.paper, item.moves, self.framework, persona, why=True)
        request = self.model.request(
            messages=messages, max_tokens=EXPLANATION_TOKENS, temperature=0.0
        )
        self.model.check_fits(request)
        return " ".join(self.model.generate(request).text.split())
