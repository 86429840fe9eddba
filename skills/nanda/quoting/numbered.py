"""Number the sentences of an abstract for a prompt, and locate passages in the abstract."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from skills.nanda.quoting.passages import LONGEST, Passage, Phrase, phrases_of
from skills.nanda.quoting.wording import trimmed
from skills.nanda.sanitize import sanitize
from skills.nanda.sentences import heading_end, sentence_spans
from skills.nanda.text import visible_places


@dataclass(frozen=True)
class Sentence:
    """A sentence of an abstract.

    Attributes:
        start, end: its place in the abstract.
        text: as prompts show it, sanitized and on one line.
        longest: maximum characters of a phrase.
        heading: words of its heading.
    """

    start: int
    end: int
    text: str
    longest: int
    heading: int = 0

    @functools.cached_property  # only to quote: a prompt needs the text alone
    def phrases(self) -> tuple[Phrase, ...]:
        """The phrases of `text`."""
        return phrases_of(self.text, self.longest, self.heading)

    def quoted(self, passage: Passage) -> str:
        """Return the text of a passage of this sentence."""
        return " ".join(phrase.text for phrase in self.phrases[passage.first : passage.last])


@dataclass(frozen=True)
class ByWord(Sentence):
    """A sentence with one phrase for each word, so that a passage may begin at any word."""

    @functools.cached_property
    def phrases(self) -> tuple[Phrase, ...]:
        """The words of `text`."""
        return tuple(
            Phrase(word, begins_clause=True, heading=place < self.heading)
            for place, word in enumerate(self.text.split())
        )


def by_word(sentence: Sentence) -> ByWord:
    """Return a sentence whose passages begin and end at any word."""
    return ByWord(sentence.start, sentence.end, sentence.text, sentence.longest, sentence.heading)


@functools.lru_cache(maxsize=64)
def numbered(abstract: str, longest: int = LONGEST) -> tuple[Sentence, ...]:
    """Return the sentences of an abstract, the first of which has the number 1."""
    found, has_text = list[Sentence](), False
    for start, end in sentence_spans(abstract):
        text, own = sanitize(abstract[start:end]), heading_end(abstract, start, end)
        has_text |= own < end
        # Not those before `own`: in "AIMS:We halt", one word is the heading and more.
        heading = len(text.split()) - len(sanitize(abstract[own:end]).split())
        found.append(Sentence(start, end, text, longest, heading))
    return tuple(found if has_text else (replace(one, heading=0) for one in found))


def prompt_of(sentences: Sequence[Sentence]) -> str:
    """Return the abstract as prompts show it: "[1] The first sentence." and so on, on lines."""
    return "\n".join(f"[{number}] {one.text}" for number, one in enumerate(sentences, start=1))


def span_of(passage: Passage, sentence: Sentence, abstract: str) -> tuple[int, int]:
    """Return the place of a passage of a sentence in its abstract, without what `wording` trims.

    A prompt differs from the abstract in blanks and in invisible characters only, so that the n-th
    visible character of one is that of the other.
    """
    before = " ".join(phrase.text for phrase in sentence.phrases[: passage.first])
    text = sentence.quoted(passage)
    start, end = trimmed(text)
    first = len(visible_places(before + text[:start]))
    last = first + len(visible_places(text[start:end])) - 1
    places = visible_places(abstract[sentence.start : sentence.end])
    return sentence.start + places[first], sentence.start + places[last] + 1
