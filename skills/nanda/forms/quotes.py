"""The form `quotes`, of an annotator that selects passages and writes nothing.

The first message, with the role "system", is the title if there is one. The next one is the
abstract as it is; each further one names a move that it certainly states. The reply is a JSON
object with the passages of each move that is stated, their places in the abstract, and the
probability that the choice is right. A passage that is probably wrong is a suggestion:

    {"claim": {"text": "It halts.", "spans": [[20, 29]], "confidence": 0.8},
     "limitation": {"confidence": 0.9},
     "method": {"confidence": 0.1,
                "suggestion": {"text": "It runs.", "spans": [[30, 38]], "confidence": 0.2}}, ...}

A name of the abstract may replace the words that refer to it, in brackets: "[DryRun] halts." with
`"referent": {"span": [3, 9], "at": [20, 22]}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.models.backends.base import Message, Request
from skills.nanda.anchors.lexical import Anchor
from skills.nanda.anchors.stored import read_anchors
from skills.nanda.forms.base import Form, UnusableReply
from skills.nanda.framework import problems
from skills.nanda.paper import Paper
from skills.nanda.text import flatten

Span = tuple[int, int]


class Referent(BaseModel):
    """The name that the first words of a move refer to.

    Attributes:
        span: the place of the name in the abstract.
        at: the place of the words that it replaces.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    span: Span
    at: Span


class Quote(BaseModel):
    """A move of a reply; without a text, the abstract does not state it.

    Attributes:
        spans: the places of its passages in the abstract, in order.
        confidence: the probability that the choice is right.
        suggestion: passages of a move that is not stated, which are probably wrong.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str | None = None
    spans: tuple[Span, ...] = ()
    referent: Referent | None = None
    confidence: Annotated[float, Field(ge=0, le=1)]
    suggestion: Quote | None = None

    def stands_in(self, abstract: str) -> bool:
        """Return True if the text has the words of its places; marks between may differ."""
        words = "".join(_letters(_part(abstract, *span)) for span in self.spans)
        if self.referent is not None:
            replaced = _letters(_part(abstract, *self.referent.at))
            if not words.startswith(replaced):
                return False
            words = _letters(_part(abstract, *self.referent.span)) + words[len(replaced) :]
        return bool(words) and _letters(self.text or "") == words

    def anchor(self) -> dict[str, Any]:
        """Return the anchor as annotations store it, without its sentences."""
        found: dict[str, Any] = {"spans": [[*span] for span in self.spans], "by": "model"}
        if self.referent is not None:
            found["referent"] = {"span": [*self.referent.span], "at": [*self.referent.at]}
        return found


_REPLY = TypeAdapter(dict[str, Quote])


class QuotesForm(Form):
    """The reply of an annotator that selects the passages of the moves."""

    name = "quotes"
    retry = "Write the whole JSON object again, correctly, and nothing else."

    def messages(self, paper: Paper) -> tuple[Message, ...]:
        """Return title and abstract, not sanitized, since the reply has places in it."""
        title = (Message("system", flatten(paper.title)),) if paper.title.strip() else ()
        return (*title, Message("user", paper.abstract))

    def stating(self, request: Request, moves: Sequence[str]) -> Request:
        named = (Message("user", move) for move in moves)
        return replace(request, messages=(*request.messages, *named))

    def hashed(self, content: str) -> str:
        """Return the abstract on one line, as content keys have it."""
        return flatten(content)

    def constraint(self, *, takes_grammar: bool) -> dict[str, Any]:
        return {}

    def parse(self, text: str) -> dict[str, Any]:
        unstated = self.framework.not_stated
        return {move: quote.text or unstated for move, quote in _read(text).items()}

    def moves(self, text: str, abstract: str) -> dict[str, Any]:
        """Return the text of each move, "Not stated." included.

        Raises:
            UnusableReply: the text does not have this format, or a move is not what stands at its
                place.
        """
        for move, quote in _read(text).items():
            for one in filter(None, (quote, quote.suggestion)):
                if (one.text is not None or one.spans) and not one.stands_in(abstract):
                    raise UnusableReply(f"{move} is not the text of the abstract at {one.spans}")
        return self.parse(text)

    def anchors(self, text: str, abstract: str, stated: Mapping[str, str]) -> dict[str, Anchor]:
        """Return the places of each stated move."""
        given = {move: quote.anchor() for move, quote in _read(text).items() if quote.text}
        return read_anchors(abstract, stated, given)

    def confidence(self, text: str) -> dict[str, float]:
        return {move: quote.confidence for move, quote in _read(text).items()}

    def suggestions(self, text: str) -> dict[str, Any]:
        found = {move: quote.suggestion for move, quote in _read(text).items()}
        return {
            move: {"text": one.text, "confidence": one.confidence, "spans": one.anchor()["spans"]}
            for move, one in found.items()
            if one
        }


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()


def _part(abstract: str, start: int, end: int) -> str:
    return abstract[start:end] if start >= 0 else ""


def written(quotes: Mapping[str, Quote]) -> str:
    """Return the reply with these quotes."""
    return _REPLY.dump_json(dict(quotes), exclude_defaults=True).decode()


def _read(text: str) -> dict[str, Quote]:
    try:
        return _REPLY.validate_json(text)
    except ValidationError as exc:
        raise UnusableReply(problems(exc)) from exc
