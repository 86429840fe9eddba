"""The form `quotes`, of an annotator that selects passages and writes nothing.

The first message is the abstract as it is; each further one names a move that it certainly states.
The reply is a JSON object with the passage of each move that is stated, its place in the abstract,
and the probability that the choice is right. A passage that is probably wrong is a suggestion:

    {"claim": {"text": "It halts.", "span": [20, 29], "confidence": 0.8},
     "limitation": {"confidence": 0.9},
     "method": {"confidence": 0.1,
                "suggestion": {"text": "It runs.", "span": [30, 38], "confidence": 0.2}}, ...}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.models.backends.base import Message, Request
from skills.nanda.anchors.lexical import Anchor
from skills.nanda.anchors.stored import read_anchors
from skills.nanda.confidence import Suggestion
from skills.nanda.forms.base import Form, UnusableReply
from skills.nanda.framework import problems
from skills.nanda.paper import Paper
from skills.nanda.text import flatten


class Quote(BaseModel):
    """A move of a reply; without a text, the abstract does not state it."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = None
    span: tuple[int, int] = (0, 0)
    confidence: Annotated[float, Field(ge=0, le=1)]
    suggestion: Quote | None = None

    def stands_in(self, abstract: str) -> bool:
        """Return True if the text has the words of its place; marks at the ends may differ."""
        start, end = self.span
        return _letters(self.text or "") == _letters(abstract[start:end] if start >= 0 else "")


_REPLY = TypeAdapter(dict[str, Quote])


class QuotesForm(Form):
    """The reply of an annotator that selects the passages of the moves."""

    name = "quotes"
    retry = "Write the whole JSON object again, correctly, and nothing else."

    def messages(self, paper: Paper) -> tuple[Message, ...]:
        """Return the abstract, not sanitized, since the reply has places in it."""
        return (Message("user", paper.abstract),)

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
                if not one.stands_in(abstract):
                    raise UnusableReply(f"{move} is not what the abstract has at {[*one.span]}")
        return self.parse(text)

    def anchors(self, text: str, abstract: str, stated: Mapping[str, str]) -> dict[str, Anchor]:
        """Return the place of each stated move."""
        spans = {move: [list(quote.span)] for move, quote in _read(text).items() if quote.text}
        given = {move: {"spans": found, "by": "model"} for move, found in spans.items()}
        return read_anchors(abstract, stated, given)

    def confidence(self, text: str) -> dict[str, float]:
        return {move: quote.confidence for move, quote in _read(text).items()}

    def suggestions(self, text: str) -> dict[str, Any]:
        found = {move: quote.suggestion for move, quote in _read(text).items()}
        return {
            move: {"text": one.text, "spans": [list(one.span)], "confidence": one.confidence}
            for move, one in found.items()
            if one
        }


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()


def written(
    stated: Mapping[str, str],
    spans: Mapping[str, Sequence[int]],
    confidence: Mapping[str, float],
    suggestions: Mapping[str, Suggestion],
) -> str:
    """Return the reply with the stated moves, their places, all confidences and suggestions."""
    reply: dict[str, dict[str, Any]] = {}
    for move, share in confidence.items():
        reply[move] = {"confidence": share}
        if move in stated:
            reply[move] |= {"text": stated[move], "span": [*spans[move]]}
        if one := suggestions.get(move):
            quote = {"text": one["text"], "span": one["spans"][0], "confidence": one["confidence"]}
            reply[move]["suggestion"] = quote
    return json.dumps(reply, ensure_ascii=False)


def _read(text: str) -> dict[str, Quote]:
    try:
        return _REPLY.validate_json(text)
    except ValidationError as exc:
        raise UnusableReply(problems(exc)) from exc
