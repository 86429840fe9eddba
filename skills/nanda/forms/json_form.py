"""The form `json`, for general models.

The prompt has the moves, the rules and the abstract with numbered sentences; the reply is JSON
under a schema,

    {"sentence-numbers": {"claim": [2], ...}, "claim": "...", ...}

A model that is not held to the schema may leave the numbers out, or write "[2] ..." in a move.
"""

from __future__ import annotations

import json
import re
from typing import Any

from harness.models.backends.base import Message
from skills.nanda.anchors.lexical import lexical_anchors
from skills.nanda.forms.base import TOKENS_AROUND, Example, Form, UnusableReply
from skills.nanda.forms.json_numbers import numbers_in, text_of
from skills.nanda.framework import NUMBERS, Framework
from skills.nanda.paper import Paper
from skills.nanda.quoting.numbered import numbered, prompt_of
from skills.nanda.sanitize import sanitize

TOKENS_OF_NUMBERS = 16
"""Tokens of three sentence numbers of a move in JSON, with its key and brackets."""


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
            f"<abstract>\n{prompt_of(numbered(abstract))}\n</abstract>\n\n"
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
        found = _json_object(text).items()
        return {name: text_of(value) for name, value in found if name != NUMBERS}

    def sentences(self, text: str) -> dict[str, list[int]]:
        return numbers_in(_json_object(text))


def _json_object(text: str) -> dict[str, Any]:
    """Return the JSON object that a reply consists of.

    Raises:
        UnusableReply: it is not one.
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
