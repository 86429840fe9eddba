"""Number the sentences of an abstract for a prompt, and locate passages in the abstract."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from skills.nanda.quoting.passages import Passage, Phrase, phrases_of
from skills.nanda.quoting.wording import trimmed
from skills.nanda.sanitize import sanitize
from skills.nanda.sentences import sentence_spans


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of an abstract.

    Attributes:
        start, end: its place in the abstract.
        text: as prompts show it, sanitized and on one line.
        phrases: of `text`.
    """

    start: int
    end: int
    text: str
    phrases: tuple[Phrase, ...]

    def quoted(self, passage: Passage) -> str:
        """Return the text of a passage of this sentence."""
        return " ".join(phrase.text for phrase in self.phrases[passage.first : passage.last])


@functools.lru_cache(maxsize=64)
def numbered(abstract: str) -> tuple[Sentence, ...]:
    """Return the sentences of an abstract, the first of which has the number 1."""
    found = []
    for start, end in sentence_spans(abstract):
        text = sanitize(abstract[start:end])
        found.append(Sentence(start, end, text, phrases_of(text)))
    return tuple(found)


def prompt_of(sentences: Sequence[Sentence]) -> str:
    """Return the abstract as prompts show it: "[1] The first sentence." and so on, on lines."""
    return "\n".join(f"[{number}] {one.text}" for number, one in enumerate(sentences, start=1))


def span_of(passage: Passage, abstract: str) -> tuple[int, int]:
    """Return the place of a passage in its abstract, without what `wording` trims.

    A prompt differs from the abstract in blanks and in invisible characters only, so that the n-th
    visible character of one is that of the other.
    """
    sentence = numbered(abstract)[passage.sentence - 1]
    before = " ".join(phrase.text for phrase in sentence.phrases[: passage.first])
    text = sentence.quoted(passage)
    start, end = trimmed(text)
    first = _visible(before) + _visible(text[:start])
    places = [
        place for place in range(sentence.start, sentence.end) if _is_visible(abstract[place])
    ]
    return places[first], places[first + _visible(text[start:end]) - 1] + 1


def _visible(text: str) -> int:
    return sum(map(_is_visible, text))


def _is_visible(char: str) -> bool:
    return not char.isspace() and unicodedata.category(char) not in ("Cc", "Cf")
