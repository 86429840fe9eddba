"""The two reply formats: the prompt that requests the moves, and the parser of the reply.

`json` is for general models: the moves and the rules in the prompt, the abstract with numbered
sentences, JSON under a schema,

    {"sentence-numbers": {"claim": [2], ...}, "claim": "...", ...}

A model that is not held to the schema may leave the numbers out, or write "[2] ..." in a move.

`tagged` is for a model tuned on this task: a short prompt, and the completion it was trained on,

    <annotation>
    Claim: ...
    ...
    Novelty: ...
    </annotation>

under a grammar if the engine supports one. The registry entry of a model selects its format.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from harness.models.backends.base import Message, Request
from harness.models.served import ServedModel
from skills.nanda.anchors.lexical import Anchor, lexical_anchors
from skills.nanda.anchors.stored import anchors_of
from skills.nanda.framework import CLOSE_TAG, NUMBERS, OPEN_TAG, Framework
from skills.nanda.paper import Paper
from skills.nanda.sanitize import sanitize
from skills.nanda.sentences import split_sentences

CHARS_PER_TOKEN = 3
"""English prose has four to five characters per token; three allow for figures and names."""
TOKENS_AROUND = 12
"""Tokens around the value of a move: its key or label, quotes, line breaks."""
TOKENS_OF_NUMBERS = 16
"""Tokens of three sentence numbers of a move in JSON, with its key and brackets."""
QUOTED_CHARS = 1200
"""Characters of an unusable reply that the repair request quotes: about one usual annotation, so
that a runaway reply does not exceed the context."""

_NUMBERS_BEFORE = re.compile(r"\s*\[(\d{1,3}(?:,\s*\d{1,3})*)\]:?\s+(?=\S)")


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
        stated: whether the move is stated; None for a decision between sentences.
        unstated: what would stand there, and after it, if the move were not stated.
    """

    move: str
    place: int
    stated: bool | None
    unstated: str = ""


@dataclass(frozen=True, slots=True)
class Form(ABC):
    """A format in which a model returns the moves of `framework`.

    Attributes:
        examples: few-shot examples for a general model; a tuned one needs none.
    """

    framework: Framework
    examples: tuple[Example, ...] = ()
    name: ClassVar[Literal["json", "tagged", "anchored"]]
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

    def anchors(self, text: str, abstract: str, stated: Mapping[str, str]) -> dict[str, Anchor]:
        """Return where each of the stated moves of a reply comes from."""
        return anchors_of(abstract, stated, self.sentences(text))

    def sentences(self, text: str) -> dict[str, list[int]]:
        """Return the sentence numbers that a reply, which `parse` accepts, gives for moves.

        They count from 1, and are not yet validated.
        """
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


class JsonForm(Form):
    """JSON under a schema, for general models."""

    name = "json"
    retry = "Write the whole JSON object again, correctly, and nothing else."
    tokens_around = TOKENS_AROUND + TOKENS_OF_NUMBERS

    def messages(self, paper: Paper) -> tuple[Message, ...]:
        turns = [Message("system", _instructions(self.framework))]
        for example in self.examples:
            turns += [
                self._request_message(example.abstract),
                Message("assistant", self._answer(example)),
            ]
        return (*turns, self._request_message(paper.abstract))

    def _request_message(self, abstract: str) -> Message:
        framework = self.framework
        return Message(
            "user",
            f"<abstract>\n{numbered(abstract)}\n</abstract>\n\n"
            f"Take this abstract apart. Write one JSON object with the keys {NUMBERS}, "
            f"{', '.join(framework.names)}. The first has the numbers of the sentences that each "
            f"move comes from. Each other value is one sentence in the words of this abstract, or "
            f'"{framework.not_stated}" where it does not state the move.',
        )

    def _answer(self, example: Example) -> str:
        """Return the reply to an example, with the numbers of its lexical anchors."""
        names = self.framework.names
        anchors = lexical_anchors(example.abstract, self.framework.stated(example.moves))
        given = {name: anchors[name]["sentences"] if name in anchors else [] for name in names}
        answer = {NUMBERS: given, **{name: sanitize(example.moves[name]) for name in names}}
        return json.dumps(answer, ensure_ascii=False, separators=(",", ":"))

    def constraint(self, *, takes_grammar: bool) -> dict[str, Any]:
        return {"json_schema": self.framework.json_schema()}

    def parse(self, text: str) -> dict[str, Any]:
        """Parse one JSON object, which some servers wrap in a fenced block."""
        found = {name: _split(value)[1] for name, value in _json_object(text).items()}
        found.pop(NUMBERS, None)
        return found

    def sentences(self, text: str) -> dict[str, list[int]]:
        given = _json_object(text)
        numbers: dict[str, Any] = {name: _split(value)[0] for name, value in given.items()}
        if isinstance(listed := given.get(NUMBERS), dict):
            numbers |= {name: of_move for name, of_move in listed.items() if of_move}
        as_lists = {name: n if isinstance(n, list) else [n] for name, n in numbers.items()}
        return {name: n for name, n in as_lists.items() if {*map(type, n)} == {int}}


class TaggedForm(Form):
    """The completion of a tuned model: one line for each move, between two tags."""

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
        """Parse the lines between the tags; the closing tag is missing if it was the stop token."""
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
                raise UnusableReply(f"{label.strip()} stands twice")
            found[name] = value.strip()
        return found

    def decisions(self, text: str) -> Iterator[Decision]:
        """Yield the decisions of a completion: at the start of each move's text.

        Raises:
            UnusableReply: the text is not a completion.
        """
        moves, unstated = self.parse(text), self.framework.not_stated
        names = {move.label.casefold(): move.name for move in self.framework.moves}
        for label in re.finditer(r"^([^:\n]*):[^\S\n]*", text, re.MULTILINE):
            name = names.get(label[1].strip().casefold(), "")
            if moves.get(name):  # not a label before the tags
                yield Decision(name, label.end(), moves[name] != unstated, unstated)

    def completion(self, moves: Mapping[str, str]) -> str:
        """Return the completion a model is trained on, the inverse of `parse`.

        Raises:
            ValueError: a value has a line break or a closing tag.
        """
        for name in self.framework.names:
            if "\n" in moves[name] or "</" in moves[name]:
                raise ValueError(f"{name} does not fit on one line of a tagged completion")
        lines = (f"{move.label}: {moves[move.name]}" for move in self.framework.moves)
        return "\n".join((OPEN_TAG, *lines, CLOSE_TAG))


def numbered(abstract: str) -> str:
    """Return the sentences of an abstract for a prompt: each on a line with its number."""
    sentences = enumerate(split_sentences(abstract), start=1)
    return "\n".join(f"[{number}] {sanitize(sentence)}" for number, sentence in sentences)


def _split(value: Any) -> tuple[list[int], Any]:
    """Return the sentence numbers before the text of a move, and the text alone."""
    marked = _NUMBERS_BEFORE.match(value) if isinstance(value, str) else None
    if marked is None:
        return [], value
    return [int(number) for number in marked[1].split(",")], value[marked.end() :]


def _json_object(text: str) -> dict[str, Any]:
    """Return the JSON object that a reply consists of.

    Raises:
        UnusableReply: it is none.
    """
    fenced = re.fullmatch(r"\s*```\w*\n(.*?)\n?```\s*", text, re.DOTALL)
    try:
        found = json.loads(fenced[1] if fenced else text)
    except json.JSONDecodeError as exc:
        raise UnusableReply(
            f"it is not JSON ({exc.msg} at line {exc.lineno}, column {exc.colno})"
        ) from exc
    except (RecursionError, ValueError) as exc:  # nested too deeply, a number of 5,000 digits
        raise UnusableReply(f"it is not JSON of any use ({exc})") from exc
    if not isinstance(found, dict):
        raise UnusableReply(f"it is a JSON {type(found).__name__}, not an object")
    return found


def _instructions(framework: Framework) -> str:
    """Return the system message for a general model, the same for every paper.

    Each move is explained only by what to write. With definitions as well, a small model copies
    them: SmolLM2-135M did for 7 of 15 abstracts, and for 3 without.
    """
    moves = (f"- {move.name}: {move.write}." for move in framework.moves)
    rules = (f"- {rule}" for rule in framework.rules)
    parts = [framework.instructions.strip(), "\n".join(("The moves:", *moves))]
    return "\n\n".join(parts + ["\n".join(("The rules:", *rules))] * bool(framework.rules))
