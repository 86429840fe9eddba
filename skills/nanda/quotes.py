"""The reply format `quotes` of models that select passages and generate no text."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.models.backend import Message, Request
from skills.nanda.anchors import Anchor, Span, read_anchors
from skills.nanda.forms import Form, UnusableReply
from skills.nanda.framework import problems
from skills.nanda.paper import Paper
from skills.nanda.text import flatten


class Referent(BaseModel):
    """A name in the abstract that replaces the first words of a move.

    Attributes:
        span: the start and the end of the name in the abstract.
        at: the start and the end of the replaced words in the abstract.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    span: Span
    at: Span


class Quote(BaseModel):
    """A move in a reply of the format `quotes`.

    Attributes:
        text: the text of the move; None if the move is not stated.
        spans: the start and the end of each passage of the move in the abstract, in order.
        referent: the name that replaces the first words of the move; None without such a name.
        confidence: the probability that the passages, or "not stated", are right.
        suggestion: for a move that is not stated, the best passages, which are probably wrong.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str | None = None
    spans: tuple[Span, ...] = ()
    referent: Referent | None = None
    confidence: Annotated[float, Field(ge=0, le=1)]
    suggestion: Quote | None = None

    def stands_in(self, abstract: str) -> bool:
        """Return True if `text` consists of the words of the abstract at `spans`.

        The name of `referent`, if any, replaces the first words. Punctuation and case may differ.
        """
        words = "".join(_letters(_part(abstract, *span)) for span in self.spans)
        if self.referent is not None:
            replaced = _letters(_part(abstract, *self.referent.at))
            if not words.startswith(replaced):
                return False
            words = _letters(_part(abstract, *self.referent.span)) + words[len(replaced) :]
        return bool(words) and _letters(self.text or "") == words

    def anchor(self) -> dict[str, Any]:
        """Return the anchor of the move as annotations store it, but without sentence numbers."""
        found = self.model_dump(mode="json", include={"spans", "referent"}, exclude_none=True)
        return {**found, "by": "model"}


_REPLY = TypeAdapter(dict[str, Quote])


class QuotesForm(Form):
    """The format `quotes`, for an annotator that selects passages and generates no text.

    If the paper has a title, the title is the first message, with the role "system". The next
    message is the unchanged abstract. Each later message names a move that is known to be stated.
    The reply is a JSON object. It has the passages of each stated move, and the spans of the
    passages in the abstract. For each move, it has the probability that the passages, or "not
    stated", are right. A move that is not stated may have a suggestion: passages that are probably
    wrong. For example:

        {"claim": {"text": "It halts.", "spans": [[20, 29]], "confidence": 0.8},
         "limitation": {"confidence": 0.9},
         "method": {"confidence": 0.1, "suggestion":
             {"text": "It runs.", "spans": [[30, 38]], "confidence": 0.2}}, ...}

    The first words of a move may be a pronoun such as "It" that refers to a name in the abstract.
    The name in brackets then replaces the pronoun: "[DryRun] halts.". The key "referent", such as
    {"span": [3, 9], "at": [20, 22]}, has the spans of the name and of the pronoun in the abstract.
    """

    name = "quotes"

    def messages(self, paper: Paper) -> tuple[Message, ...]:
        """Return messages with the title and with the abstract.

        The abstract is not changed, since the spans in the reply are positions in the abstract.
        """
        title = (Message("system", flatten(paper.title)),) if paper.title.strip() else ()
        return (*title, Message("user", paper.abstract))

    def stating(self, request: Request, moves: Sequence[str]) -> Request:
        named = (Message("user", move) for move in moves)
        return replace(request, messages=(*request.messages, *named))

    def hashed(self, content: str) -> str:
        """Return the text on one line, so that the content key does not depend on line breaks."""
        return flatten(content)

    def constraint(self, *, takes_grammar: bool) -> dict[str, Any]:
        return {}

    def parse(self, text: str) -> dict[str, Any]:
        unstated = self.framework.not_stated
        return {move: quote.text or unstated for move, quote in _read(text).items()}

    def moves(self, text: str, abstract: str) -> dict[str, Any]:
        """Return the text of each move by name, or "Not stated." for a move without text.

        Raises:
            UnusableReply: the reply does not have this format, or a text is not in the abstract at
                its spans.
        """
        for move, quote in _read(text).items():
            for one in filter(None, (quote, quote.suggestion)):
                if (one.text is not None or one.spans) and not one.stands_in(abstract):
                    raise UnusableReply(f"{move} is not the text of the abstract at {one.spans}")
        return self.parse(text)

    def anchors(self, text: str, abstract: str, stated: Mapping[str, str]) -> dict[str, Anchor]:
        """Return the anchors of the stated moves, made from the spans of the reply."""
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
    """Return the JSON text of a reply in the format `quotes`, with the quote of each move."""
    return _REPLY.dump_json(dict(quotes), exclude_defaults=True).decode()


@functools.lru_cache(maxsize=64)
def _read(text: str) -> Mapping[str, Quote]:
    try:
        return MappingProxyType(_REPLY.validate_json(text))
    except ValidationError as exc:
        raise UnusableReply(problems(exc)) from exc
