"""Draft a paper's moves: the model's answer, samples of it, and the probabilities of decisions."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from harness.errors import LoopingReply
from harness.models.backends.base import OnText, Reply, Request
from harness.models.served import ServedModel
from skills.nanda.forms.base import Form, UnusableReply

SAMPLES = 6
"""Further answers with `--effort best`."""
TEMPERATURE = 0.7
"""Of those answers."""
ALTERNATIVES = 20
"""Tokens reported at a decision; those that begin "Not stated." decide."""


@dataclass
class Drafts:
    """What a model wrote about one abstract.

    Attributes:
        request: the request of the paper.
        answers: the moves of each valid answer by name; the first one is the model's annotation.
        stated: by move, the model's probability that it is stated, where the engine reports it.
        replies: all replies but the first answer's.
    """

    form: Form
    model: ServedModel
    request: Request
    answers: list[Mapping[str, str]]
    stated: dict[str, float] = field(default_factory=dict)
    replies: list[Reply] = field(default_factory=list)

    def of(self, move: str) -> list[str]:
        """Return the drafts of a move in the answers that state it."""
        unstated = self.form.framework.not_stated
        return [answer[move] for answer in self.answers if answer[move] != unstated]

    def decide(self, text: str, moves: Collection[str]) -> None:
        """Request the probability that each of `moves` is stated, given the moves before it.

        Each is a request of one token, whose prompt the engine has kept.

        Args:
            text: the first answer as the model wrote it.
        """
        if not self.model.continues_prefill:
            return
        for decision in self.form.decisions(text):
            if decision.move in moves:
                reply = self._generate(
                    prefill=text[: decision.place].rstrip(" "),
                    grammar=None,
                    json_schema=None,
                    stop=(),
                    max_tokens=1,
                    top_logprobs=ALTERNATIVES,
                )
                if reply.logprobs:
                    unstated = _probability(reply.logprobs[0], f" {decision.unstated}")
                    self.stated[decision.move] = 1 - unstated

    def sample(self, abstract: str, on_text: OnText | None = None) -> None:
        """Add `SAMPLES` answers at `TEMPERATURE`; one that is invalid or loops is left out."""
        for number in range(1, SAMPLES + 1):
            seed = self.request.seed + number
            with contextlib.suppress(UnusableReply, LoopingReply):
                reply = self._generate(on_text, temperature=TEMPERATURE, seed=seed)
                self.answers.append(self.form.read(reply, abstract))

    def _generate(self, on_text: OnText | None = None, **fields: object) -> Reply:
        reply = self.model.generate(replace(self.request, **fields), on_text)  # type: ignore[arg-type]
        self.replies.append(reply)
        return reply


def _probability(logprobs: Mapping[str, float], text: str) -> float:
    """Return the probability of the tokens with which `text` begins."""
    beginnings = (token for token in logprobs if token.strip() and text.startswith(token))
    return min(sum(math.exp(logprobs[token]) for token in beginnings), 1.0)
