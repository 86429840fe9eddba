"""Reply formats: write the prompt that requests the moves, and parse the reply.

The registry entry of a model names its format: `json`, `tagged` or `quotes`.
"""

from __future__ import annotations

import functools
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.models.backend import Message, Reply, Request
from harness.models.served import ServedModel
from skills.nanda.anchors import Anchor, Span, anchors_of, lexical_anchors, read_anchors
from skills.nanda.framework import CLOSE_TAG, NUMBERS, OPEN_TAG, Framework, problems
from skills.nanda.paper import Paper
from skills.nanda.passages import numbered, prompt_of
from skills.nanda.sentences import heading_end
from skills.nanda.text import flatten, sanitize

CHARS_PER_TOKEN = 3
"""Low estimate of the characters per token: prose has 4 or 5, names and numbers have fewer."""
TOKENS_AROUND = 12
"""Number of tokens of a reply for each move in addition to its text: key, quotes, line break."""
QUOTED_CHARS = 1200
"""Number of characters of an unusable reply that the repair request quotes."""
TOKENS_OF_NUMBERS = 16
"""Number of tokens for up to three sentence numbers of a move in JSON, with key and brackets."""
_BEFORE_TEXT = re.compile(r"\s*\[(\d{1,3}(?:,\s*\d{1,3})*)\]:?\s+(?=\S)")


class UnusableReply(ValueError):
    """Raised if a reply of a model is not an annotation; the repair request quotes the message."""


@dataclass(frozen=True, slots=True)
class Example:
    """An abstract with its moves, for a few-shot prompt."""

    abstract: str
    moves: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Decision:
    """A point in a completion at which a model decided whether a move is stated.

    Attributes:
        place: the position in the text at which the deciding token begins.
        stated: True if the model stated the move.
        unstated: the text that a model writes at this position for a move that is not stated.
    """

    move: str
    place: int
    stated: bool
    unstated: str = ""


@dataclass(frozen=True, slots=True)
class Form(ABC):
    """A format in which a model returns the moves of a framework.

    Attributes:
        examples: few-shot examples for a general model.
        retry: the last sentence of the repair request.
    """

    framework: Framework
    examples: tuple[Example, ...] = ()
    name: ClassVar[Literal["json", "tagged", "quotes"]]
    retry: ClassVar[str] = "Write the whole JSON object again, correctly, and nothing else."
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
        """Return the values of a reply like `parse`; positions in the abstract are checked first.

        Raises:
            UnusableReply: the text does not have this format, or a position is wrong.
        """
        return self.parse(text)

    def read(self, reply: Reply, abstract: str) -> dict[str, str]:
        """Return the valid moves of a reply, without headings, in the order of the framework.

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
        """Return a request that also names moves that are known to be stated.

        A format that cannot name moves returns the same request.
        """
        return request

    def hashed(self, content: str) -> str:
        """Return the text that replaces the content of a message in the hash of a content key."""
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
            max_tokens: maximum length of the reply; by default, enough for every complete reply.
        """
        return model.request(
            messages=self.messages(paper),
            max_tokens=max_tokens or self.max_tokens,
            **self.constraint(takes_grammar=model.takes_grammar),
        )

    def repair(self, request: Request, answer: str, problem: str) -> Request:
        """Return the request that follows an unusable reply: it quotes the reply and the problem.

        The quoted reply is sanitized, since it may repeat special tokens of the abstract.

        Args:
            request: the request to which the model gave the reply.
            answer: the text of the reply.
        """
        shown = sanitize(answer)[:QUOTED_CHARS] or "(nothing)"
        complaint = f"That answer cannot be used: {sanitize(problem)}. {self.retry}"
        turns = Message("assistant", shown), Message("user", complaint)
        return replace(request, messages=(*request.messages, *turns))

    @property
    def max_tokens(self) -> int:
        """The estimated number of tokens of a reply in which every move has its maximum length."""
        per_move = -(-self.framework.max_chars // CHARS_PER_TOKEN) + self.tokens_around
        return per_move * len(self.framework.moves) + TOKENS_AROUND


class JsonForm(Form):
    """The format `json`, for general models.

    The prompt has the moves, the rules and the abstract with numbered sentences; the reply is JSON
    under a schema:

        {"sentence-numbers": {"claim": [2], ...}, "claim": "...", ...}

    A model that the schema does not constrain may leave out the numbers, or write "[2] ..." in a
    move.
    """

    name = "json"
    tokens_around = TOKENS_AROUND + TOKENS_OF_NUMBERS

    def messages(self, paper: Paper) -> tuple[Message, ...]:
        """Return the system message (the same for all papers), the examples and the request.

        The prompt has the instructions for the moves, but not their definitions, since a small
        model copies definitions: SmolLM2-135M copied prompt text for 7 of 15 abstracts with
        definitions, and for 3 of 15 without definitions.
        """
        framework = self.framework
        moves = (f"- {move.name}: {move.write}." for move in framework.moves)
        rules = (f"- {rule}" for rule in framework.rules)
        parts = [framework.instructions.strip(), "\n".join(("The moves:", *moves))]
        parts += ["\n".join(("The rules:", *rules))] * bool(framework.rules)
        turns = [Message("system", "\n\n".join(parts))]
        for example in self.examples:
            answer = Message("assistant", self._answer(example))
            turns += [self._request_message(example.abstract), answer]
        return (*turns, self._request_message(paper.abstract))

    def _request_message(self, abstract: str) -> Message:
        framework = self.framework
        return Message(
            "user",
            f"<abstract>\n{prompt_of(numbered(abstract))}\n</abstract>\n\n"
            f"Take this abstract apart. Write one JSON object with the keys {NUMBERS}, "
            f"{', '.join(framework.names)}. The first has the numbers of the sentences that each "
            f"move comes from. Each other value is one sentence in the words of this abstract, or "
            f'"{framework.not_stated}" where it does not state the move.',
        )

    def _answer(self, example: Example) -> str:
        """Return the reply to an example as JSON, with sentence numbers from lexical alignment."""
        names = self.framework.names
        anchors = lexical_anchors(example.abstract, self.framework.stated(example.moves))
        given = {name: anchors[name]["sentences"] if name in anchors else [] for name in names}
        answer = {NUMBERS: given, **{name: sanitize(example.moves[name]) for name in names}}
        return json.dumps(answer, ensure_ascii=False, separators=(",", ":"))

    def constraint(self, *, takes_grammar: bool) -> dict[str, Any]:
        return {"json_schema": self.framework.json_schema()}

    def parse(self, text: str) -> dict[str, Any]:
        """Return the moves of a JSON object, which may be in a fenced code block."""
        found = _json_object(text).items()
        return {name: _split(value)[1] for name, value in found if name != NUMBERS}

    def sentences(self, text: str) -> dict[str, list[int]]:
        """Return the sentence numbers by move: the value of `NUMBERS`, or numbers before the text.

        A move is left out if one of its numbers is not an integer, or if it has no number.
        """
        reply = _json_object(text)
        numbers: dict[str, Any] = {name: _split(value)[0] for name, value in reply.items()}
        if isinstance(listed := reply.get(NUMBERS), dict):
            numbers |= {name: of_move for name, of_move in listed.items() if of_move}
        as_lists = {name: n if isinstance(n, list) else [n] for name, n in numbers.items()}
        return {name: n for name, n in as_lists.items() if {*map(type, n)} == {int}}


def _json_object(text: str) -> dict[str, Any]:
    """Return the JSON object of a reply, which may be in a fenced code block.

    Raises:
        UnusableReply: the reply is not a JSON object.
    """
    fenced = re.fullmatch(r"\s*```\w*\n(.*?)\n?```\s*", text, re.DOTALL)
    try:
        found = json.loads(fenced[1] if fenced else text)
    except json.JSONDecodeError as exc:
        raise UnusableReply(
            f"it is not JSON ({exc.msg} at line {exc.lineno}, column {exc.colno})"
        ) from exc
    except (RecursionError, ValueError) as exc:  # deep nesting, or a number of 5,000 digits
        raise UnusableReply(f"its JSON cannot be read ({exc})") from exc
    if not isinstance(found, dict):
        raise UnusableReply(f"it is a JSON {type(found).__name__}, not an object")
    return found


def _split(value: Any) -> tuple[list[int], Any]:
    """Return the sentence numbers before the text of a move, and the text without the numbers.

    Without numbers, the result is [] and the unchanged value.
    """
    marked = _BEFORE_TEXT.match(value) if isinstance(value, str) else None
    if marked is None:
        return [], value
    return [int(number) for number in marked[1].split(",")], value[marked.end() :]


class TaggedForm(Form):
    """The format `tagged`, for a model tuned to write the moves in its own words.

    The prompt is short. The completion has the format that the model was trained on:

        <annotation>
        Claim: ...
        ...
        Novelty: ...
        </annotation>

    A grammar constrains the completion if the engine supports grammars.
    """

    name = "tagged"
    retry = "Write the whole annotation again, correctly, and nothing else."

    def messages(self, paper: Paper) -> tuple[Message, ...]:
        return (
            Message("system", self.framework.tuned_instructions.strip()),
            Message("user", sanitize(paper.abstract)),
        )

    def constraint(self, *, takes_grammar: bool) -> dict[str, Any]:
        fields: dict[str, Any] = {"stop": (CLOSE_TAG,)}
        return {**fields, "grammar": self.framework.grammar()} if takes_grammar else fields

    def parse(self, text: str) -> dict[str, Any]:
        """Return the moves on the lines between the tags. The closing tag may be missing."""
        _, opened, inside = text.partition(OPEN_TAG)
        inside = (inside if opened else text).partition(CLOSE_TAG)[0]
        names = {move.label.casefold(): move.name for move in self.framework.moves}
        found: dict[str, Any] = {}
        for line in filter(None, map(str.strip, inside.splitlines())):
            label, colon, value = line.partition(":")
            name = names.get(label.strip().casefold())
            if not colon or name is None:
                raise UnusableReply(f"the line {line[:40]!r} does not begin with a move's label")
            if name in found:
                raise UnusableReply(f"{label.strip()} occurs twice")
            found[name] = value.strip()
        return found

    def decisions(self, text: str) -> Iterator[Decision]:
        """Yield the decision about each move of a completion, in the order of the completion.

        Raises:
            UnusableReply: the text does not have this format.
        """
        moves, unstated = self.parse(text), self.framework.not_stated
        names = {move.label.casefold(): move.name for move in self.framework.moves}
        for label in re.finditer(r"^([^:\n]*):[^\S\n]*", text, re.MULTILINE):
            name = names.get(label[1].strip().casefold(), "")
            if moves.get(name):  # False for a label before the tags
                yield Decision(name, label.end(), moves[name] != unstated, unstated)

    def completion(self, moves: Mapping[str, str]) -> str:
        """Return the completion for given moves, as in training data; the inverse of `parse`.

        Raises:
            ValueError: a move has a line break or a closing tag.
        """
        for name in self.framework.names:
            if "\n" in moves[name] or "</" in moves[name]:
                raise ValueError(f"{name} does not fit on one line of a tagged completion")
        lines = (f"{move.label}: {moves[move.name]}" for move in self.framework.moves)
        return "\n".join((OPEN_TAG, *lines, CLOSE_TAG))


class Referent(BaseModel):
    """A name in the abstract, and the first words of a move, which the name replaces.

    Attributes:
        span: the start and the end of the name in the abstract.
        at: the start and the end of the replaced words in the abstract.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    span: Span
    at: Span


class Quote(BaseModel):
    """A move in a reply of the format `quotes`. A move without text is not stated.

    Attributes:
        spans: the start and the end of each passage of the move in the abstract, in order.
        referent: the name that replaces the first words of the move; None without such a name.
        confidence: the probability that the passages, or "not stated", are right.
        suggestion: for a move that is not stated, the best passage, which is probably wrong.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str | None = None
    spans: tuple[Span, ...] = ()
    referent: Referent | None = None
    confidence: Annotated[float, Field(ge=0, le=1)]
    suggestion: Quote | None = None

    def stands_in(self, abstract: str) -> bool:
        """Return True if `text` has the words at `spans`, with a name in place of its first words.

        Only the name of `referent` may replace words. Punctuation and case may differ.
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
    The reply is a JSON object. It has the passages of each stated move, the spans of the passages
    in the abstract, and the probability that the passages, or "not stated", are right. A move that
    is not stated may have a suggestion, a passage that is probably wrong:

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
        """Return the title and the abstract. The reply has positions in the unchanged abstract."""
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
        """Return the text of each move by name; it is "Not stated." for a move without text.

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


FORMS: Mapping[str, type[Form]] = {form.name: form for form in (JsonForm, TaggedForm, QuotesForm)}
