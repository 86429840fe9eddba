"""Divide abstracts into sentences and words, and write the text of a move from passages.

A passage is a run of words of one sentence. The heading of a sentence ("CONCLUSIONS:") is not part
of a passage, unless the heading is the whole sentence.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from skills.nanda.sentences import heading_end, sentence_spans
from skills.nanda.text import flatten, is_passage, sanitize, set_of, visible_places

JOINT = " ... "
"""The text between two passages of a move."""
# Matches a word or mark that joins a passage to the text before it and does not affect the meaning.
# It does not match a preposition, "that" in "that of X", or "or" in "or more X". It matches a mark
# only before a blank, so that "-0.7" and ".05" are kept.
_JOINING = re.compile(
    r"""
    (?:
        \(?(?:\d{1,2}|[ivx]{1,4}|[a-h])\)(?=\ \w)
        | \d{1,2}\.(?=\ [A-Z]) | \\item(?:\[[^\]\n]*\])? | [*•‣▪●◦] | \#{1,6}
        | [Hh]owever, | (?:[Aa]nd|[Bb]ut|or(?!\ (?:more|less|fewer)\b)),?
        | that(?=\ (?:the|a|an|this|these|our|we|it|they|their|its|all|each)\ )
        | which(?!\ of\b) | [-\u2013\u2014,;:.)]+
    )[ ]+
    """,
    re.VERBOSE,
)
_LAST = set_of("and or but that which e.g. i.e.")
"""Words that join a passage to the text after it, and are removed from the end of the passage."""
_MARKS = " ,;:([-\u2013\u2014"
_NOTICE = re.compile(
    r"""
    (?<=[.!?])\s*(?:
        <<\s*ETX\s*>>
        | (?:crown\s)?copyright(?=\W{0,3}(?:\u00a9|\(c|a\s|\d{4})).{0,160}
        | (?:(?:\w\s)?\u00a9|\(c(?:opyright)?\)).{0,160}
        | [^\w\s.]{0,2}\s?(?:\w\s)?(?:(?:19|20)\d\d|published\sby)\s
            .{0,80}?\b(?:elsevier|inc|llc|ltd|springer|wiley)\b.{0,100}
    )\Z
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
"""Matches a copyright notice after the last sentence, as in abstracts exported by publishers."""
NOTICE = 250
"""Maximum number of characters of a copyright notice."""
_WORD = re.compile(r"\S{1,20}")
"""Matches a word, or 20 characters of a longer word, since some scripts have no blanks."""
_NAMED = re.compile(r"\A\[[^\]]*\] ")
_MARK = re.compile(r"[.!?\u2026][\"'\u2019\u201d)\]]*\Z")


@dataclass(frozen=True, slots=True)
class Passage:
    """The words of a sentence from index `first` to the word before index `last`."""

    first: int
    last: int


def trimmed(passage: str) -> tuple[int, int]:
    """Return the start and the end of the text that remains after a passage is trimmed.

    Trimming removes the heading, punctuation at both ends, and conjunctions that join the passage
    to other text. Words that make a clause depend on another clause ("although", "while") are kept,
    since they affect the meaning. A passage that would become empty is not trimmed.
    """
    kept = _MARK.sub("", passage)
    ends_sentence = kept != passage
    kept = kept.rstrip(_MARKS)
    while not ends_sentence and kept.rpartition(" ")[2].lstrip(_MARKS) in _LAST:
        kept = kept.rpartition(" ")[0].rstrip(_MARKS)
    start, opened, end = -1, 0, len(kept)
    while opened > start:
        start, joining = opened, _JOINING.match(passage, opened)
        opened = joining.end() if joining else heading_end(passage, start)
    if passage.startswith("(", start) and ")" not in passage[:end]:
        start += 1
    return (start, end) if start < end else (0, len(passage))


def is_quote(abstract: str, text: str) -> bool:
    """Return True if the text of a move consists of passages of the abstract.

    The text may begin with a name in brackets: "[DryRun] halts."
    """
    return all(is_passage(abstract, part) for part in _NAMED.sub("", text).split(JOINT))


def text_of(abstract: str, spans: Sequence[tuple[int, int]]) -> str:
    """Return the text of a move as one sentence: the passages at `spans`, joined by `JOINT`.

    The first letter becomes a capital if the whole first word is in lower case, unlike "mRNA".
    """
    joined = JOINT.join(flatten(abstract[start:end]) for start, end in spans)
    if joined.partition(" ")[0].islower():
        joined = joined[:1].upper() + joined[1:]
    return joined + "."


@dataclass(frozen=True)
class Sentence:
    """A sentence of an abstract.

    Attributes:
        start, end: the span of the sentence in the abstract.
        text: the sentence for prompts, sanitized and on one line.
        heading: number of words of the heading.
    """

    start: int
    end: int
    text: str
    heading: int = 0

    @functools.cached_property  # only quotes need the words; prompts do not
    def words(self) -> tuple[tuple[int, int], ...]:
        """The start and the end of each word in `text`; a long word is split (`_WORD`)."""
        return tuple(word.span() for word in _WORD.finditer(self.text))

    def word(self, place: int) -> str:
        """Return the word at an index of `words`."""
        return self.text[slice(*self.words[place])]

    def quoted(self, passage: Passage) -> str:
        """Return the text of a passage of this sentence."""
        return self.text[self.words[passage.first][0] : self.words[passage.last - 1][1]]


@functools.lru_cache(maxsize=64)
def numbered(abstract: str) -> tuple[Sentence, ...]:
    """Return the sentences of an abstract in order.

    A copyright notice of the publisher at the end is left out. In an abstract that consists of
    headings only, the headings are treated as text.
    """
    found, has_text = list[Sentence](), False
    last = max(0, len(abstract) - NOTICE)
    notice = _NOTICE.search(abstract, last)
    until = notice.start() if notice else len(abstract)
    for start, end in sentence_spans(abstract[:until]):
        text, own = sanitize(abstract[start:end]), heading_end(abstract, start, end)
        has_text |= own < end
        # Only whole words count: in "AIMS:We halt", the heading is a part of the first word.
        heading = len(_WORD.findall(text)) - len(_WORD.findall(sanitize(abstract[own:end])))
        found.append(Sentence(start, end, text, heading))
    return tuple(found if has_text else (replace(one, heading=0) for one in found))


def prompt_of(sentences: Sequence[Sentence]) -> str:
    """Return an abstract for a prompt, with lines such as "[1] The first sentence."."""
    return "\n".join(f"[{number}] {one.text}" for number, one in enumerate(sentences, start=1))


def span_of(passage: Passage, sentence: Sentence, abstract: str) -> tuple[int, int]:
    """Return the start and the end of a trimmed passage in the abstract (see `trimmed`).

    `sentence.text` differs from the sentence in the abstract only in blanks and invisible
    characters. The n-th visible character is therefore the same in both.
    """
    before, text = sentence.text[: sentence.words[passage.first][0]], sentence.quoted(passage)
    start, end = trimmed(text)
    first = len(visible_places(before + text[:start]))
    last = first + len(visible_places(text[start:end])) - 1
    places = visible_places(abstract[sentence.start : sentence.end])
    return sentence.start + places[first], sentence.start + places[last] + 1
