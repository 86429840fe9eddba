"""Reply formats of language models, which write the moves: `json` and `tagged`."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from harness.models.backend import Message, Request
from skills.nanda.anchors import lexical_anchors, sentences_of
from skills.nanda.checks import duplicate_moves, support
from skills.nanda.forms import TOKENS_AROUND, Example, Form, UnusableReply
from skills.nanda.framework import MOST_SENTENCES, Framework
from skills.nanda.paper import Paper
from skills.nanda.passages import numbered, prompt_of
from skills.nanda.text import sanitize

OPEN_TAG, CLOSE_TAG = "<annotation>", "</annotation>"
NUMBERS = "sentence-numbers"
"""The key of the sentence numbers of all moves in a JSON reply; no move can have this name."""
QUOTED_CHARS = 1200
"""Maximum number of characters of an unusable reply that the repair request quotes."""
TOKENS_OF_NUMBERS = 16
"""Number of tokens for up to three sentence numbers of a move in JSON, with key and brackets."""
_BEFORE_TEXT = re.compile(r"\s*\[(\d{1,3}(?:,\s*\d{1,3})*)\]:?\s+(?=\S)")


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


class GeneratedForm(Form):
    """A format of a model that generates the moves, and that can repair an unusable reply.

    Attributes:
        retry: the last sentence of the repair request.
    """

    retry: ClassVar[str] = "Write the whole JSON object again, correctly, and nothing else."

    def repair(self, request: Request, answer: str, problem: str) -> Request:
        """Return a request that quotes an unusable reply and states the problem.

        The quoted reply is sanitized, since it may repeat special tokens of the abstract.
        """
        shown = sanitize(answer)[:QUOTED_CHARS] or "(nothing)"
        complaint = f"That answer cannot be used: {sanitize(problem)}. {self.retry}"
        turns = Message("assistant", shown), Message("user", complaint)
        return replace(request, messages=(*request.messages, *turns))

    def problem_of(self, moves: Mapping[str, str], abstract: str) -> str:
        """Return the reason why the moves of a reply are not an annotation of the abstract, or "".

        There are two reasons:
            - Repetition: more than half of the moves, and at least three moves, have the same
              content. If the abstract has fewer sentences than half the number of moves, the model
              has little choice. Repetition is then a reason only if there are more than three
              moves, all moves have the same content, and the abstract has several sentences.
            - Invention: more than half of the moves have no content word of the abstract.
        No annotation in gold_train.csv and gold_dev.csv is refused.
        """
        half = len(moves) / 2
        alike = Counter(move for pair in duplicate_moves(moves) for move in pair[:2])
        most = 1 + max(alike.values(), default=0)
        sentences = len(sentences_of(abstract))
        has_choice = sentences >= half or (sentences > 1 and most == len(moves) > 3)
        if most >= 3 and most > half and has_choice:
            return f"{most} of {len(moves)} moves have the same content"
        invented = [move for move, text in moves.items() if not support(abstract, text)]
        if len(invented) > half:
            return f"{', '.join(invented)}: no content word is in the abstract"
        return ""


class JsonForm(GeneratedForm):
    """The format `json`, for general models.

    The prompt has the moves, the rules and the abstract with numbered sentences. The reply is JSON
    that follows a schema:

        {"sentence-numbers": {"claim": [2], ...}, "claim": "...", ...}

    A model that the schema does not constrain may leave out the numbers, or write "[2] ..." in a
    move.
    """

    name = "json"
    tokens_around = TOKENS_AROUND + TOKENS_OF_NUMBERS

    def messages(self, paper: Paper) -> tuple[Message, ...]:
        """Return the system message (the same for all papers), the examples and the request.

        The prompt has the instructions for the moves, but not their definitions, since a small
        model copies definitions. With definitions in the prompt, SmolLM2-135M copied prompt text
        for 7 of 15 abstracts, and without definitions for 3 of 15.
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
        return {"json_schema": reply_schema(self.framework)}

    def parse(self, text: str) -> dict[str, Any]:
        """Return the moves of a JSON reply, without sentence numbers; a code fence is ignored."""
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


def reply_schema(framework: Framework) -> dict[str, Any]:
    """Return the JSON Schema that constrains a general model.

    The sentence numbers precede the moves, so that the model selects sentences first. The schema
    only contains keywords that LLGuidance, llama.cpp's grammars and Ollama all enforce, since some
    engines ignore a schema with other keywords.
    """

    def schema_of(properties: dict[str, Any]) -> dict[str, Any]:
        fields = {"type": "object", "properties": properties, "required": list(properties)}
        return {**fields, "additionalProperties": False}

    number = {"type": "integer", "minimum": 1, "maximum": 99}
    numbers = {"type": "array", "items": number, "maxItems": MOST_SENTENCES}
    text = {"type": "string", "minLength": 1, "maxLength": framework.max_chars}
    of_moves = schema_of(dict.fromkeys(framework.names, numbers))
    return schema_of({NUMBERS: of_moves, **dict.fromkeys(framework.names, text)})


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


class TaggedForm(GeneratedForm):
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
        return {**fields, "grammar": tagged_grammar(self.framework)} if takes_grammar else fields

    def parse(self, text: str) -> dict[str, Any]:
        """Return the moves on the lines between the tags; each of the tags may be missing."""
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
            if moves.get(name):  # False for a label that is not the label of a move
                yield Decision(name, label.end(), moves[name] != unstated, unstated)

    def completion(self, moves: Mapping[str, str]) -> str:
        """Return the completion for given moves, as in training data; the inverse of `parse`.

        Raises:
            ValueError: a move has a line break or "</".
        """
        for name in self.framework.names:
            if "\n" in moves[name] or "</" in moves[name]:
                raise ValueError(f"{name} does not fit on one line of a tagged completion")
        lines = (f"{move.label}: {moves[move.name]}" for move in self.framework.moves)
        return "\n".join((OPEN_TAG, *lines, CLOSE_TAG))


def tagged_grammar(framework: Framework) -> str:
    """Return the grammar of the tagged completion, in the Lark syntax of LLGuidance.

    A completion has a line for each move. A value does not start with a blank, and contains neither
    control characters nor "</", so that the closing tag cannot occur too early.
    """
    more, before, parts = framework.max_chars - 1, f"{OPEN_TAG}\n", list[str]()
    for move in framework.moves:
        parts.append(f"{json.dumps(f'{before}{move.label}: ')} VALUE")
        before = "\n"
    return (
        "%llguidance {}\n"
        f"start: {' '.join(parts)} {json.dumps(f'{before}{CLOSE_TAG}')}\n"
        rf"VALUE: /[^\s\x00-\x1f\x7f<]([^\x00-\x1f\x7f<]|<[^\x00-\x1f\x7f<\/]){{0,{more}}}/"
        "\n"
    )
