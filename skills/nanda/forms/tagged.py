"""The form `tagged`, for a model tuned to write the moves in its own words.

The prompt is short, and the completion is the one it was trained on,

    <annotation>
    Claim: ...
    ...
    Novelty: ...
    </annotation>

under a grammar if the engine supports one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.models.backends.base import Message
from skills.nanda.forms.base import Decision, Form, UnusableReply
from skills.nanda.framework import CLOSE_TAG, OPEN_TAG
from skills.nanda.paper import Paper
from skills.nanda.sanitize import sanitize


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
