"""A reply format: the prompt that requests the moves, and the parser of the reply."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pydantic import ValidationError

from harness.models.backends.base import Message, Reply, Request
from harness.models.served import ServedModel
from skills.nanda.anchors.lexical import Anchor
from skills.nanda.anchors.stored import anchors_of
from skills.nanda.framework import Framework, problems
from skills.nanda.paper import Paper
from skills.nanda.sanitize import sanitize
from skills.nanda.sentences import heading_end

CHARS_PER_TOKEN = 3
"""English prose has four to five characters per token; three allow for figures and names."""
TOKENS_AROUND = 12
"""Tokens around the value of a move: its key or label, quotes, line breaks."""
QUOTED_CHARS = 1200
"""Characters of an unusable reply that the repair request quotes: about one usual annotation, so
that a runaway reply does not exceed the context."""


class UnusableReply(ValueError):
    """A reply that is not an annotation. The message is part of the repair request."""


@dataclass(frozen=True, slots=True)
class Example:
    """An annotated abstract: its moves by name."""

    abstract: str
    moves: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Decision:
    """A place in a completion where a model decides about a move.

    Attributes:
        place: where the deciding token begins.
        stated: whether the move is stated.
        unstated: what would stand there, and after it, if the move were not stated.
    """

    move: str
    place: int
    stated: bool
    unstated: str = ""


@dataclass(frozen=True, slots=True)
class Form(ABC):
    """A format in which a model returns the moves of `framework`.

    Attributes:
        examples: few-shot examples for a general model; a tuned one needs none.
    """

    framework: Framework
    examples: tuple[Example, ...] = ()
    name: ClassVar[Literal["json", "tagged", "quotes"]]
    retry: ClassVar[str]
    tokens_around: ClassVar[int] = TOKENS_AROUND

    @abstractmethod
    def messages(self, paper: Paper) -> tuple[Message, ...]:
        """Return the prompt, with the abstract sanitized."""

    @abstractmethod
    def constraint(self, *, takes_grammar: bool) -> dict[str, Any]:
        """Return the fields of a `Request` that constrain the reply to the format."""

    @abstractmethod
    def parse(self, text: str) -> dict[str, Any]:
        """Parse the moves of a reply by name, unordered and not yet validated.

        Raises:
            UnusableReply: the text does not have this format.
        """

    def moves(self, text: str, abstract: str) -> dict[str, Any]:
        """Return the texts of the moves of a reply about an abstract, as `parse` does.

        Raises:
            UnusableReply: the text does not have this format.
        """
        return self.parse(text)

    def read(self, reply: Reply, abstract: str) -> dict[str, str]:
        """Return all moves of an answer, normalized, without headings, in the framework's order.

        Raises:
            UnusableReply: it was cut off, is in another form, or a move is missing, empty or too
                long.
        """
        if reply.finish_reason == "length":
            raise UnusableReply(f"it was cut off after {reply.completion_tokens} tokens")
        found = self.moves(reply.text, abstract)
        try:
            moves = self.framework.annotation_model().model_validate(found).model_dump()
        except ValidationError as exc:
            raise UnusableReply(problems(exc)) from exc
        return {name: text[heading_end(text) :] or text for name, text in moves.items()}

    def decisions(self, text: str) -> Iterator[Decision]:
        """Yield the decisions of a completion, in order; none unless the form has such places.

        Raises:
            UnusableReply: the text is not a completion.
        """
        return iter(())

    def anchors(self, text: str, abstract: str, stated: Mapping[str, str]) -> dict[str, Anchor]:
        """Return where each of the stated moves of a reply comes from."""
        return anchors_of(abstract, stated, self.sentences(text))

    def sentences(self, text: str) -> dict[str, list[int]]:
        """Return the sentence numbers that a reply, which `parse` accepts, gives for moves.

        They count from 1, and are not yet validated.
        """
        return {}

    def stating(self, request: Request, moves: Sequence[str]) -> Request:
        """Return a request that names moves which the text certainly states, if the form can."""
        return request

    def hashed(self, content: str) -> str:
        """Return the part of a message that determines the content key."""
        return content

    def confidence(self, text: str) -> dict[str, float] | None:
        """Return by move how probably a reply, which `parse` accepts, is right; None if unknown."""
        return None

    def suggestions(self, text: str) -> dict[str, Any]:
        """Return, by move, the passages whose confidence is too low to state them."""
        return {}

    def request(self, paper: Paper, model: ServedModel, max_tokens: int | None = None) -> Request:
        """Return the request for `paper`.

        Args:
            max_tokens: instead of what a complete reply can need.
        """
        return model.request(
            messages=self.messages(paper),
            max_tokens=max_tokens or self.max_tokens,
            **self.constraint(takes_grammar=model.takes_grammar),
        )

    def repair(self, request: Request, answer: str, problem: str) -> Request:
        """Return a second request, which quotes the unusable reply and the problem.

        The reply may contain text that the abstract injected, so it is sanitized, too.
        """
        shown = sanitize(answer)[:QUOTED_CHARS] or "(nothing)"
        complaint = f"That answer cannot be used: {sanitize(problem)}. {self.retry}"
        return replace(
            request,
            messages=(
                *request.messages,
                Message("assistant", shown),
                Message("user", complaint),
            ),
        )

    @property
    def max_tokens(self) -> int:
        """Enough tokens for every move at its maximum length."""
        per_move = -(-self.framework.max_chars // CHARS_PER_TOKEN) + self.tokens_around
        return per_move * len(self.framework.moves) + TOKENS_AROUND
