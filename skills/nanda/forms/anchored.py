"""The reply format `anchored`: each move with the numbers of its sentences, then their words.

The prompt shows the abstract with numbered sentences. The completion quotes one passage of each
sentence that it names:

    <annotation>
    Claim [2]: a planar agent that grounds approval in observed effects.
    Evidence [4,5]: It finds 412 of 430 faults, | in a third of the time.
    Limitation: Not stated.
    ...
    </annotation>
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.models.backends.base import Message
from skills.nanda.anchors.lexical import Anchor
from skills.nanda.forms.base import Decision, Form, UnusableReply
from skills.nanda.framework import CLOSE_TAG, OPEN_TAG
from skills.nanda.paper import Paper
from skills.nanda.quoting.alignment import align
from skills.nanda.quoting.grammars import SEPARATOR
from skills.nanda.quoting.numbered import Sentence, numbered, prompt_of, span_of
from skills.nanda.quoting.passages import Passage, passages_of
from skills.nanda.quoting.wording import JOINT, text_of

QUOTE = " Name the sentences of each move, and quote them."
_NOT_EMPTY = re.compile(r"[^\n]+")
_LINE = re.compile(
    r"(?P<label>[^\[\]:\n]+?)(?: \[(?P<numbers>\d{1,3}(?:,\d{1,3})?)\])?: (?P<text>[^\n]+)"
)


class AnchoredForm(Form):
    """The completion of a model tuned to quote: sentence numbers, then passages."""

    name = "anchored"
    retry = "Write the whole annotation again, correctly, and nothing else."

    def messages(self, paper: Paper) -> tuple[Message, ...]:
        return (
            Message("system", self.framework.tuned_instructions.strip() + QUOTE),
            Message("user", prompt_of(self.numbered(paper.abstract))),
        )

    def numbered(self, abstract: str) -> tuple[Sentence, ...]:
        """Return the sentences of an abstract, with phrases that fit into a move."""
        return numbered(abstract, self.limit)

    def completion(self, moves: Mapping[str, str], abstract: str) -> str:
        """Return the completion a model is trained on: passages aligned with the moves."""
        sentences = self.numbered(abstract)
        found = {
            name: align(text, [one.phrases for one in sentences], self.limit)
            for name, text in self.framework.stated(moves).items()
        }
        lines = []
        for move in self.framework.moves:
            aligned = found.get(move.name)
            passages = aligned.passages if aligned else ()
            lines.append(move.label + self.written(passages, sentences))
        return "\n".join((OPEN_TAG, *lines, CLOSE_TAG))

    def opening(self, sentences: Sequence[Sentence], number: int) -> tuple[Passage, ...]:
        """Return the longest passage with which a sentence begins; none for the number 0."""
        if not number:
            return ()
        found = passages_of(number, sentences[number - 1].phrases, self.limit)
        return max(
            ((one,) for one in found if not one.first), key=lambda one: one[0].last, default=()
        )

    def written(self, passages: Sequence[Passage], sentences: Sequence[Sentence]) -> str:
        """Return what follows the label of a move."""
        if not passages:
            return f": {self.framework.not_stated}"
        numbers = ",".join(str(one.sentence) for one in passages)
        quoted = (sentences[one.sentence - 1].quoted(one) for one in passages)
        return f" [{numbers}]: {SEPARATOR.join(quoted)}"

    def passages(self, line: str, sentences: Sequence[Sentence]) -> tuple[Passage, ...]:
        """Return the passages that the line of a move quotes; none if it is not stated.

        Words that are not a passage of the named sentence are replaced by its most similar passage.

        Raises:
            UnusableReply: it is not the line of a move, or its numbers are not those of sentences,
                in the order of the abstract.
        """
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise UnusableReply(f"the line {line[:40]!r} is not that of a move")
        if found["numbers"] is None:
            return ()
        numbers = [int(number) for number in found["numbers"].split(",")]
        if not all(0 < number <= len(sentences) for number in numbers):
            raise UnusableReply(f"{found['label']} names a sentence that is missing")
        if numbers != sorted(set(numbers)):
            raise UnusableReply(f"{found['label']} names sentences out of order")
        known = [self._by_text(number, sentences[number - 1]) for number in numbers]
        parts = zip(numbers, known, _parts(found["text"], known), strict=False)
        return tuple(
            by_text.get(text) or self._nearest(text, number, sentences[number - 1])
            for number, by_text, text in parts
        )

    def _by_text(self, number: int, sentence: Sentence) -> dict[str, Passage]:
        """Return the passages of a sentence by their text, the first one of equal texts."""
        found = [*passages_of(number, sentence.phrases, self.limit)]
        return {sentence.quoted(one): one for one in reversed(found)}

    def _nearest(self, text: str, number: int, sentence: Sentence) -> Passage:
        """Return the passage of a sentence most similar to a text, the first if none is."""
        aligned = align(text, [sentence.phrases], self.limit)
        if aligned is None:
            return next(passages_of(number, sentence.phrases, self.limit))
        return replace(aligned.passages[0], sentence=number)

    @property
    def limit(self) -> int:
        """Maximum characters of the passages of a move, which gets a full stop."""
        return self.framework.max_chars - len(JOINT) - 1

    def decisions(self, text: str) -> Iterator[Decision]:
        """Yield the decisions of a completion: after each label, and each sentence number.

        Raises:
            UnusableReply: the text is not a completion.
        """
        for line in self._lines(text):
            name, stated = self._names[line["label"]], line["numbers"] is not None
            unstated = f": {self.framework.not_stated}"
            yield Decision(name, line.end("label"), stated, unstated)
            for digits in re.finditer(r"\d", line["numbers"] or ""):
                yield Decision(name, line.start("numbers") + digits.start(), None)

    def _lines(self, text: str) -> Iterator[re.Match[str]]:
        """Yield the line of each move; the closing tag is missing if it was the stop text."""
        seen = set()
        begin = text.find(OPEN_TAG)
        start = begin + len(OPEN_TAG) if begin >= 0 else 0
        end = text.find(CLOSE_TAG, start)
        for line in _NOT_EMPTY.finditer(text, start, len(text) if end < 0 else end):
            if line[0].isspace():
                continue
            found = _LINE.fullmatch(text, *line.span())
            if found is None or found["label"] not in self._names:
                raise UnusableReply(f"the line {line[0][:40]!r} is not that of a move")
            if found["label"] in seen:
                raise UnusableReply(f"{found['label']} stands twice")
            seen.add(found["label"])
            if found["numbers"] is None and found["text"] != self.framework.not_stated:
                raise UnusableReply(f"{found['label']} names no sentence")
            yield found

    @property
    def _names(self) -> Mapping[str, str]:
        return {move.label: move.name for move in self.framework.moves}

    def moves(self, text: str, abstract: str) -> dict[str, Any]:
        sentences = self.numbered(abstract)
        found = {name: self.passages(line, sentences) for name, line in self._by_move(text)}
        return {
            name: text_of([sentences[one.sentence - 1].quoted(one) for one in passages])
            if passages
            else self.framework.not_stated
            for name, passages in found.items()
        }

    def anchors(self, text: str, abstract: str, stated: Mapping[str, str]) -> dict[str, Anchor]:
        """Return the places of the passages of each stated move."""
        sentences, found = self.numbered(abstract), dict[str, Anchor]()
        for name, line in self._by_move(text):
            passages = self.passages(line, sentences)
            if name in stated and passages:
                numbers = [one.sentence for one in passages]
                places = (span_of(one, sentences[one.sentence - 1], abstract) for one in passages)
                found[name] = {"sentences": numbers, "spans": [*map(list, places)], "by": "model"}
        return found

    def _by_move(self, text: str) -> Iterator[tuple[str, str]]:
        for line in self._lines(text):
            yield self._names[line["label"]], line[0]

    def parse(self, text: str) -> dict[str, Any]:
        return {self._names[line["label"]]: line["text"] for line in self._lines(text)}

    def constraint(self, *, takes_grammar: bool) -> dict[str, Any]:
        return {"stop": (CLOSE_TAG,)}


def _parts(text: str, known: Sequence[Mapping[str, Passage]]) -> tuple[str, ...]:
    """Divide what a line quotes at the separator, which the abstract may contain, too.

    Args:
        known: the passages of each named sentence by their text.
    """
    text = " ".join(text.split())
    if len(known) == 1 or SEPARATOR not in text:
        return (text,)
    longest = max(map(len, known[0]))
    places = re.finditer(rf"(?={re.escape(SEPARATOR)})", text[: longest + len(SEPARATOR)])
    ways = [(text[: at.start()], text[at.start() + len(SEPARATOR) :]) for at in places]
    if not ways:
        return tuple(text.split(SEPARATOR, 1))
    return max(ways, key=lambda way: sum(part in one for part, one in zip(way, known, strict=True)))
