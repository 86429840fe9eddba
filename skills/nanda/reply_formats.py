"""The two forms of an answer: how a model is asked for the moves, and how its text is read.

`json` is for general models: what each move is and the rules in the prompt, JSON under a schema.
`tagged` is for a model tuned on this task: a short prompt, and the completion it was trained on,

    <annotation>
    Claim: ...
    ...
    Novelty: ...
    </annotation>

under a grammar where the engine takes one. Which form a model has, its registry entry says.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from harness.models.backends.base import Message, Request
from harness.models.pool import ServedModel
from skills.nanda.framework import CLOSE_TAG, OPEN_TAG, Framework
from skills.nanda.paper import Paper
from skills.nanda.sanitize import defuse

CHARS_PER_TOKEN = 3
"""English prose has four to five characters a token; three leave room for figures and names."""
TOKENS_AROUND = 12
"""Tokens around the value of a move: its key or label, quotes, line breaks."""
QUOTED_CHARS = 1200
"""Characters of an unusable answer that are shown to the model again: about a whole annotation of
usual length, and of one that ran away not so much that the repair outgrows the context."""


class UnusableReply(ValueError):
    """An answer that is no annotation. The text says precisely why: the model is told it."""


@dataclass(frozen=True, slots=True)
class Example:
    """A finished annotation: the abstract, and its moves by name."""

    abstract: str
    moves: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Form(ABC):
    """One way of asking for the moves of `framework`.

    Attributes:
        examples: what a general model is shown before the paper; a tuned one has seen its own.
    """

    framework: Framework
    examples: tuple[Example, ...] = ()
    name: ClassVar[Literal["json", "tagged"]]
    again: ClassVar[str]

    @abstractmethod
    def messages(self, paper: Paper) -> tuple[Message, ...]:
        """What the model is told; nothing of the abstract can act as more than text in it."""

    @abstractmethod
    def constraint(self, *, takes_grammar: bool) -> dict[str, Any]:
        """The fields of a `Request` that hold the answer to its form."""

    @abstractmethod
    def parse(self, text: str) -> dict[str, Any]:
        """The moves found in an answer, by name, in no particular order and not yet validated.

        Raises:
            UnusableReply: the text does not have this form.
        """

    def request(self, paper: Paper, model: ServedModel, max_tokens: int | None = None) -> Request:
        """The request for `paper`; `max_tokens` instead of what a full answer can need."""
        return model.request(
            messages=self.messages(paper),
            max_tokens=max_tokens or self.max_tokens,
            **self.constraint(takes_grammar=model.takes_grammar),
        )

    def repair(self, request: Request, answer: str, problem: str) -> Request:
        """Ask once more, showing the unusable answer and what is wrong with it.

        The answer may hold what the abstract made the model write, so it is data as well.
        """
        shown = defuse(answer)[:QUOTED_CHARS] or "(nothing)"
        complaint = f"That answer cannot be used: {defuse(problem)}. {self.again}"
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
        """Enough for every move at its greatest length, so that no answer is cut off."""
        per_move = -(-self.framework.max_chars // CHARS_PER_TOKEN) + TOKENS_AROUND
        return per_move * len(self.framework.moves) + TOKENS_AROUND


class JsonForm(Form):
    """JSON under a schema, for general models."""

    name = "json"
    again = "Write the whole JSON object again, correctly, and nothing else."

    def messages(self, paper: Paper) -> tuple[Message, ...]:
        turns = [Message("system", _instructions(self.framework))]
        for example in self.examples:
            answer = {name: defuse(example.moves[name]) for name in self.framework.names}
            turns += [
                self._asked(example.abstract),
                Message("assistant", json.dumps(answer, ensure_ascii=False, separators=(",", ":"))),
            ]
        return (*turns, self._asked(paper.abstract))

    def _asked(self, abstract: str) -> Message:
        framework = self.framework
        return Message(
            "user",
            f"<abstract>\n{defuse(abstract)}\n</abstract>\n\n"
            f"Take this abstract apart. Write one JSON object with the keys "
            f"{', '.join(framework.names)}. Each value is one sentence in the words of this "
            f'abstract, or "{framework.not_stated}" where it does not state the move.',
        )

    def constraint(self, *, takes_grammar: bool) -> dict[str, Any]:
        return {"json_schema": self.framework.json_schema()}

    def parse(self, text: str) -> dict[str, Any]:
        """Read one JSON object, which some servers wrap in a fenced block all the same."""
        fenced = re.fullmatch(r"\s*```\w*\n(.*?)\n?```\s*", text, re.DOTALL)
        try:
            found = json.loads(fenced[1] if fenced else text, object_pairs_hook=_without_repeats)
        except json.JSONDecodeError as exc:
            raise UnusableReply(
                f"it is not JSON ({exc.msg} at line {exc.lineno}, column {exc.colno})"
            ) from exc
        except RecursionError as exc:
            raise UnusableReply("it is not JSON of any use (nested too deeply)") from exc
        if not isinstance(found, dict):
            raise UnusableReply(f"it is a JSON {type(found).__name__}, not an object")
        return found


class TaggedForm(Form):
    """The completion of a tuned model: one line for each move, between two tags."""

    name = "tagged"
    again = "Write the whole annotation again, correctly, and nothing else."

    def messages(self, paper: Paper) -> tuple[Message, ...]:
        return (
            Message("system", self.framework.tuned_instructions.strip()),
            Message("user", defuse(paper.abstract)),
        )

    def constraint(self, *, takes_grammar: bool) -> dict[str, Any]:
        fields: dict[str, Any] = {"stop": (CLOSE_TAG,)}
        return {**fields, "grammar": self.framework.grammar()} if takes_grammar else fields

    def parse(self, text: str) -> dict[str, Any]:
        """Read the lines between the tags. A closing tag that stopped the engine is not there."""
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
        """Where the text of each move begins in an answer that `parse` reads, by name."""
        names = {move.label.casefold(): move.name for move in self.framework.moves}
        labels = re.finditer(r"^\s*(.+?)\s*:[^\S\n]*", text, re.MULTILINE)
        found = ((names.get(label[1].casefold()), label.end()) for label in labels)
        return {name: place for name, place in found if name is not None}

    def completion(self, moves: Mapping[str, str]) -> str:
        """The text a model is trained to write for these moves: what `parse` reads back.

        Raises:
            ValueError: a value has a line break or a closing tag.
        """
        for name in self.framework.names:
            if "\n" in moves[name] or "</" in moves[name]:
                raise ValueError(f"{name} cannot stand on one line of a tagged completion")
        lines = (f"{move.label}: {moves[move.name]}" for move in self.framework.moves)
        return "\n".join((OPEN_TAG, *lines, CLOSE_TAG))


FORMS: Mapping[str, type[Form]] = {form.name: form for form in (JsonForm, TaggedForm)}


def _instructions(framework: Framework) -> str:
    """What a general model is told, before the abstract: the same for every paper.

    Each move is explained by what to write alone. With the definitions beside it, a small model
    answers with them: SmolLM2-135M did for 7 of 15 abstracts, and for 3 without.
    """
    moves = (f"- {move.name}: {move.write}." for move in framework.moves)
    rules = (f"- {rule}" for rule in framework.rules)
    parts = [framework.instructions.strip(), "\n".join(("The moves:", *moves))]
    return "\n\n".join(parts + ["\n".join(("The rules:", *rules))] * bool(framework.rules))


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UnusableReply(f"the key {twice!r} stands twice")
    return found
