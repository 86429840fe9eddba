"""The two reply formats: the prompt that requests the moves, and the parser of the reply.

`json` is for general models: the moves and the rules in the prompt, JSON under a schema.
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
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from harness.models.backends.base import Message, Request
from harness.models.served import ServedModel
from skills.nanda.framework import CLOSE_TAG, OPEN_TAG, Framework
from skills.nanda.paper import Paper
from skills.nanda.sanitize import sanitize

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
class Form(ABC):
    """A format in which a model returns the moves of `framework`.

    Attributes:
        examples: few-shot examples for a general model; a tuned one needs none.
    """

    framework: Framework
    examples: tuple[Example, ...] = ()
    name: ClassVar[Literal["json", "tagged"]]
    retry: ClassVar[str]

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
        per_move = -(-self.framework.max_chars // CHARS_PER_TOKEN) + TOKENS_AROUND
        return per_move * len(self.framework.moves) + TOKENS_AROUND


class JsonForm(Form):
    """JSON under a schema, for general models."""

    name = "json"
    retry = "Write the whole JSON object again, correctly, and nothing else."

    def messages(self, paper: Paper) -> tuple[Message, ...]:
        turns = [Message("system", _instructions(self.framework))]
        for example in self.examples:
            answer = {name: sanitize(example.moves[name]) for name in self.framework.names}
            turns += [
                self._request_message(example.abstract),
                Message("assistant", json.dumps(answer, ensure_ascii=False, separators=(",", ":"))),
            ]
        return (*turns, self._request_message(paper.abstract))

    def _request_message(self, abstract: str) -> Message:
        framework = self.framework
        return Message(
            "user",
            f"<abstract>\n{sanitize(abstract)}\n</abstract>\n\n"
            f"Take this abstract apart. Write one JSON object with the keys "
            f"{', '.join(framework.names)}. Each value is one sentence in the words of this "
            f'abstract, or "{framework.not_stated}" where it does not state the move.',
        )

    def constraint(self, *, takes_grammar: bool) -> dict[str, Any]:
        return {"json_schema": self.framework.json_schema()}

    def parse(self, text: str) -> dict[str, Any]:
        """Parse one JSON object, which some servers wrap in a fenced block."""
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

    def places(self, text: str) -> dict[str, int]:
        """Return the start of each move's text in a reply that `parse` accepts, by name."""
        names = {move.label.casefold(): move.name for move in self.framework.moves}
        labels = re.finditer(r"^([^:\n]*):[^\S\n]*", text, re.MULTILINE)
        found = ((names.get(label[1].strip().casefold()), label.end()) for label in labels)
        return {name: place for name, place in found if name is not None}

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


FORMS: Mapping[str, type[Form]] = {form.name: form for form in (JsonForm, TaggedForm)}


def _instructions(framework: Framework) -> str:
    """Return the system message for a general model, the same for every paper.

    Each move is explained only by what to write. With definitions as well, a small model copies
    them: SmolLM2-135M did for 7 of 15 abstracts, and for 3 without.
    """
    moves = (f"- {move.name}: {move.write}." for move in framework.moves)
    rules = (f"- {rule}" for rule in framework.rules)
    parts = [framework.instructions.strip(), "\n".join(("The moves:", *moves))]
    return "\n\n".join(parts + ["\n".join(("The rules:", *rules))] * bool(framework.rules))
