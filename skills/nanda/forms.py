"""Reply formats: write the prompt that requests the moves, and parse the reply.

The registry entry of a model names its format: `json`, `tagged` or `quotes`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import ValidationError

from harness.models.backend import Message, Reply, Request
from harness.models.served import ServedModel
from skills.nanda.anchors import Anchor, anchors_of
from skills.nanda.framework import Framework, problems
from skills.nanda.paper import Paper
from skills.nanda.sentences import heading_end

CHARS_PER_TOKEN = 3
"""Low estimate of the characters per token: prose has 4 or 5, names and numbers have fewer."""
TOKENS_AROUND = 12
"""Number of tokens of a reply for each move in addition to its text: key, quotes, line break."""


class UnusableReply(ValueError):
    """Raised if a reply is not an annotation; the repair request quotes the error message."""


@dataclass(frozen=True, slots=True)
class Example:
    """An abstract with its moves, for a few-shot prompt."""

    abstract: str
    moves: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Form(ABC):
    """A format in which a model returns the moves of a framework.

    Attributes:
        examples: few-shot examples for a general model.
    """

    framework: Framework
    examples: tuple[Example, ...] = ()
    name: ClassVar[Literal["json", "tagged", "quotes"]]
    tokens_around: ClassVar[int] = TOKENS_AROUND

    @abstractmethod
    def messages(self, paper: Paper) -> tuple[Message, ...]:
        """Return the prompt for a paper."""

    @abstractmethod
    def constraint(self, *, takes_grammar: bool) -> dict[str, Any]:
        """Return the fields of a `Request` that constrain the reply to the format."""

    @abstractmethod
    def parse(self, text: str) -> dict[str, Any]:
        """Return the values of a reply by move, in any order and without validation.

        Raises:
            UnusableReply: the text does not have this format.
        """

    def moves(self, text: str, abstract: str) -> dict[str, Any]:
        """Return the result of `parse`; a format with positions in the abstract checks them first.

        Raises:
            UnusableReply: the text does not have this format, or a position is wrong.
        """
        return self.parse(text)

    def read(self, reply: Reply, abstract: str) -> dict[str, str]:
        """Return the validated moves of a reply, without headings, in the order of the framework.

        Raises:
            UnusableReply: the reply was cut off or does not have this format, or a move is missing,
                empty or too long.
        """
        if reply.finish_reason == "length":
            raise UnusableReply(f"it was cut off after {reply.completion_tokens} tokens")
        found = self.moves(reply.text, abstract)
        try:
            moves = self.framework.annotation_model().model_validate(found).model_dump()
        except ValidationError as exc:
            raise UnusableReply(problems(exc)) from exc
        return {name: text[heading_end(text) :] or text for name, text in moves.items()}

    def anchors(self, text: str, abstract: str, stated: Mapping[str, str]) -> dict[str, Anchor]:
        """Return the anchors of the stated moves of a reply."""
        return anchors_of(abstract, stated, self.sentences(text))

    def sentences(self, text: str) -> dict[str, list[int]]:
        """Return the sentence numbers in a reply by move; {} for a format without such numbers.

        Sentences are numbered from 1. The numbers are not validated. `parse` must accept the reply.
        """
        return {}

    def stating(self, request: Request, moves: Sequence[str]) -> Request:
        """Return the request, extended by the names of moves that are known to be stated.

        A format that cannot name moves returns the request unchanged.
        """
        return request

    def hashed(self, content: str) -> str:
        """Return the content of a message in the form that is hashed for "prompt_sha256"."""
        return content

    def confidence(self, text: str) -> dict[str, float] | None:
        """Return the confidence of each move of a reply that `parse` accepts; None if unknown."""
        return None

    def suggestions(self, text: str) -> dict[str, Any]:
        """Return the suggestions, by move, of a reply that `parse` accepts."""
        return {}

    def request(self, paper: Paper, model: ServedModel, max_tokens: int | None = None) -> Request:
        """Return the request for the annotation of a paper.

        Args:
            max_tokens: maximum number of tokens of the reply; by default, `Form.max_tokens`.
        """
        return model.request(
            messages=self.messages(paper),
            max_tokens=max_tokens or self.max_tokens,
            **self.constraint(takes_grammar=model.takes_grammar),
        )

    def repair(self, request: Request, answer: str, problem: str) -> Request | None:
        """Return the request that follows an unusable reply.

        The result is None for a format in which a second request would get the same reply.

        Args:
            request: the request to which the model gave the reply.
            answer: the text of the reply.
        """
        return None

    def problem_of(self, moves: Mapping[str, str], abstract: str) -> str:
        """Return the reason why the stated moves of a reply are not usable, or ""."""
        return ""

    @property
    def max_tokens(self) -> int:
        """The estimated number of tokens of a reply in which every move has its maximum length."""
        per_move = -(-self.framework.max_chars // CHARS_PER_TOKEN) + self.tokens_around
        return per_move * len(self.framework.moves) + TOKENS_AROUND
