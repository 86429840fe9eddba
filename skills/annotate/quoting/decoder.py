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
        """Return the model's probabilities of "not stated" and of each sentence, for a move."""
        reply = self._generate(
            self.answer + label,
            grammar=number_grammar(len(self.sentences)),
            max_tokens=2,
            top_logprobs=ALTERNATIVES,
        )
        opening, digits = reply.logprobs[0], reply.logprobs[1]
        stated, unstated = _probability(opening, " ["), _probability(opening, ":")
        share = stated / (stated + unstated)
        numbers = {digit: _probability(digits, str(digit)) for digit in range(1, 10)}
        of_number = {n: p for n, p in numbers.items() if n <= len(self.sentences)}
        for digit in range(1, len(self.sentences) // 10 + 1):
            if numbers[digit] >= LIKELY:
                of_number |= self._with_two_digits(label, digit, numbers[digit])
        total = sum(of_number.values())
        found = (of_number.get(number, 0.0) for number in range(1, len(self.sentences) + 1))
        return [1 - share, *(share * one / total for one in found)]

    def _with_two_digits(self, label: str, digit: int, probability: float) -> dict[int, float]:
        """Divide the probability of a first digit among the numbers that begin with it."""
        reply = self._generate(
            f"{self.answer}{label} [{digit}", max_tokens=1, top_logprobs=ALTERNATIVES
        )
        following = reply.logprobs[0]
        ends = sum(_probability(following, text) for text in ("]:", "]", ","))
        numbers = {digit: ends} | {
            10 * digit + last: _probability(following, str(last))
            for last in range(10)
            if 10 * digit + last <= len(self.sentences)
        }
        total = sum(numbers.values())
        return {number: probability * one / total for number, one in numbers.items()}

    def line(self, label: str, number: int, temperature: float = 0.0) -> str:
        """Generate the line of a move, which quotes sentence `number`, and perhaps a later one.

        The answer does not change until the line is passed to `write`.
        """
        begun = f"{label} [{number}"
        reply = self._generate(
            self.answer + begun,
            grammar=passage_grammar(self.sentences, number, self.form.limit),
            stop=("\n",),
            temperature=temperature,
        )
        return begun + reply.text

    def unstated(self, label: str) -> str:
        """Return the line of a move that is not stated."""
        return f"{label}: {self.form.framework.not_stated}"

    def write(self, line: str) -> None:
        """Add a line to the answer."""
        self.answer += line + "\n"
        if self.on_text:
            self.on_text(line + "\n")

    def _generate(self, prefill: str, **fields: Any) -> Reply:
        step = replace(self.request, prefill=prefill, **{"stop": (), **fields})
        reply = self.model.generate(step)
        self.replies.append(reply)
        return reply


def _probability(logprobs: Mapping[str, float], text: str) -> float:
    return math.exp(logprobs[text]) if text in logprobs else FLOOR
