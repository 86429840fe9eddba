"""Generate an anchored annotation move by move: choose the sentence, then quote from it.

A move takes two short generations that continue the same answer. The first one gives the model's
probabilities that the move is stated and that it comes from each sentence; they are mixed with
those of the selector. The second one, under a grammar, quotes from the chosen sentence, and may add
a later sentence. The engine keeps the prompt, so that each step evaluates a few tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.models.backends.base import OnText, Reply, Request
from harness.models.served import ServedModel
from skills.nanda.forms.anchored import AnchoredForm
from skills.nanda.forms.base import UnusableReply
from skills.nanda.framework import OPEN_TAG
from skills.nanda.quoting.grammars import number_grammar, passage_grammar
from skills.nanda.quoting.numbered import Sentence

ALTERNATIVES = 20
"""Alternatives requested for a token: two decide whether a move is stated, up to ten are digits."""
LIKELY = 0.02
"""Probability of a first digit from which numbers of two digits that begin with it are examined."""
FLOOR = 1e-4
"""Probability of a token that is not among the alternatives."""


@dataclass
class Decoder:
    """The generation of one annotation.

    Attributes:
        request: the request of the paper, without prefill.
        on_text: receives the text of all steps as it is generated, for progress only.
        answer: the answer so far.
        replies: of all steps.
    """

    form: AnchoredForm
    sentences: Sequence[Sentence]
    model: ServedModel
    request: Request
    on_text: OnText | None = None
    answer: str = OPEN_TAG + "\n"
    replies: list[Reply] = field(default_factory=list)

    def probabilities(self, label: str) -> list[float]:
        """Return the model's probabilities of "not stated" and of each sentence, for a move.

        Numbers have at most two digits: sentences from the hundredth on have the probability 0.

        Raises:
            UnusableReply: the engine does not report the probabilities of digits.
        """
        grammar = number_grammar(len(self.sentences))
        opening, digits = self._alternatives(self.answer + label, 2, grammar)
        stated, unstated = _probability(opening, " ["), _probability(opening, ":")
        share = stated / (stated + unstated)
        numbers = {digit: _probability(digits, str(digit)) for digit in range(1, 10)}
        of_number = {n: p for n, p in numbers.items() if n <= len(self.sentences)}
        for digit in range(1, min(len(self.sentences) // 10, 9) + 1):
            if numbers[digit] >= LIKELY:
                of_number |= self._with_two_digits(label, digit, numbers[digit])
        total = sum(of_number.values())
        found = (of_number.get(number, 0.0) for number in range(1, len(self.sentences) + 1))
        return [1 - share, *(share * one / total for one in found)]

    def _with_two_digits(self, label: str, digit: int, probability: float) -> dict[int, float]:
        """Divide the probability of a first digit among the numbers that begin with it."""
        (following,) = self._alternatives(f"{self.answer}{label} [{digit}", 1)
        ends = sum(_probability(following, text) for text in ("]:", "]", ","))
        numbers = {digit: ends} | {
            10 * digit + last: _probability(following, str(last))
            for last in range(10)
            if 10 * digit + last <= len(self.sentences)
        }
        total = sum(numbers.values())
        return {number: probability * one / total for number, one in numbers.items()}

    def line(self, label: str, number: int, temperature: float | None = None) -> str:
        """Generate the line of a move, which quotes sentence `number`, and perhaps a later one.

        The answer does not change until the line is passed to `write`.

        Args:
            temperature: instead of the request's.

        Raises:
            UnusableReply: the line was cut off.
        """
        begun = f"{label} [{number}"
        reply = self._generate(
            self.answer + begun,
            grammar=passage_grammar(self.sentences, number, self.form.limit),
            stop=("\n",),
            temperature=self.request.temperature if temperature is None else temperature,
        )
        if reply.finish_reason == "length":
            raise UnusableReply(f"{label} was cut off after {reply.completion_tokens} tokens")
        return begun + reply.text

    def unstated(self, label: str) -> str:
        """Return the line of a move that is not stated."""
        return f"{label}: {self.form.framework.not_stated}"

    def write(self, line: str) -> None:
        """Add a line to the answer."""
        self.answer += line + "\n"

    def _alternatives(
        self, prefill: str, count: int, grammar: str | None = None
    ) -> Sequence[Mapping[str, float]]:
        """Return the most probable alternatives of each of the next `count` tokens."""
        reply = self._generate(
            prefill, grammar=grammar, max_tokens=count, top_logprobs=ALTERNATIVES
        )
        if len(reply.logprobs) < count:
            raise UnusableReply("the engine does not report the probabilities of sentence numbers")
        return reply.logprobs

    def _generate(self, prefill: str, **fields: Any) -> Reply:
        step = replace(self.request, prefill=prefill, **{"stop": (), **fields})
        reply = self.model.generate(step, self.on_text)
        self.replies.append(reply)
        return reply


def _probability(logprobs: Mapping[str, float], text: str) -> float:
    return math.exp(logprobs[text]) if text in logprobs else FLOOR
