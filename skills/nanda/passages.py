"""Divide abstracts into sentences and phrases, and write the text of a move from passages.

A passage is a run of phrases of one sentence. Phrases end at punctuation and before words that
begin a clause or a prepositional phrase. A move consists of whole phrases. The heading of a
sentence ("CONCLUSIONS:") is not part of a passage, unless the heading is the whole sentence.

For the first 100 papers of gold_train_cs, the best passages for the gold moves have a macro ROUGE-L
of .62, the best whole sentences .53, and the best runs of words .66.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from skills.nanda.sentences import heading_end, sentence_spans
from skills.nanda.text import sanitize, set_of, visible_places

_ENDS = tuple(",;:\u2013\u2014")
_CLOSERS = "\"'\u2019\u201d)]"
LONGEST = 317
"""Maximum number of characters of a phrase: the 320 of a move of the built-in framework, minus
three for punctuation.
"""
_DASHES = frozenset(["-", "--", "\u2013", "\u2014"])
_CLAUSE = set_of("although because but if though when where whereas while who whose")
"""Words that begin a clause.

"That" and "which" are left out: without punctuation before them, the main clause may negate the
clause ("It is unlikely that the planner halts").
"""
_ANNOUNCEMENT = re.compile(
    r"""
    (?:(?:finally|first|second|then|here|thus|therefore|moreover|furthermore|additionally
        |specifically|overall|hence|in[ ]particular|in[ ]addition|to[ ]this[ ]end
        |in[ ]this[ ]\w+),?[ ])?
    (?:we|(?:this|the|our)[ ](?:paper|work|article|study|survey|chapter|report|thesis|research
        |results?|experiments?|findings|authors))[ ]
    (?:(?:(?!hardly|rarely|barely|scarcely)\w+ly|also|further|then|here|first|now|thus
        |therefore)[ ])?
    (?:(?:propose|present|introduce|describe|provide|develop|design|offer)(?:e?s|e?d)?
        |(?:show|demonstrate|find|argue|believe|conclude|suggest|observe|prove|claim|report|indicate
            |reveal)(?:e?s|n|e?d)?[ ]that
        |found[ ]that)[ ]
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Matches the words that announce a statement: "In this paper, we show that"."""
_PHRASE = set_of(
    """
    across and as between by compared for from in into on or over than through to under using via
    with without
    """
)
"""Words that begin a phrase, mostly prepositions."""
LEAST = 4
"""Minimum number of words of a passage, unless all passages of the sentence are shorter."""
JOINT = " ... "
"""The text between two passages of a move."""
# Only words that do not affect the meaning: no preposition, and not the words of "that of X",
# "which of X", "so far" or "or more X". A mark must be followed by a blank, unlike in "-0.7" and
# ".05".
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
"""Words that join a passage to the rest of its sentence, and are removed at its end."""
_MARKS = " ,;:([-\u2013\u2014"
_MARK = re.compile(r"[.!?\u2026][\"'\u2019\u201d)\]]*\Z")


@dataclass(frozen=True, slots=True)
class Phrase:
    """A part of a sentence.

    Attributes:
        text: the words of the phrase, separated by single blanks.
        begins_clause: False if the phrase begins with a word of `_PHRASE`, and no punctuation
            precedes it.
        announced: True if an announcement such as "we show that" precedes the phrase.
        heading: True if the phrase belongs to the heading of the sentence.
    """

    text: str
    begins_clause: bool
    announced: bool = False
    heading: bool = False


def phrases_of(sentence: str, longest: int = LONGEST, heading: int = 0) -> tuple[Phrase, ...]:
    """Return the phrases of a sentence on one line. Joined by blanks, they are the sentence.

    Args:
        longest: maximum number of characters of a phrase. A longer phrase is cut between words. A
            longer word is cut after every `longest` characters, since some scripts have no blanks.
        heading: number of words of the heading.
    """
    headed, words = sentence.split()[:heading], sentence.split()[heading:]
    if headed:
        parts = _cut(" ".join(headed), longest)
        rest = phrases_of(" ".join(words), longest) if words else ()
        return (*(Phrase(part, begins_clause=True, heading=True) for part in parts), *rest)
    announced = _ANNOUNCEMENT.match(" ".join(words))
    begin = len(announced[0].split()) if announced else 0
    starts = [(0, True), (begin, True)] if begin else [(0, True)]
    for place in range(begin + 1, len(words)):
        before, word = words[place - 1], words[place].casefold()
        begins = word in _CLAUSE or word in _DASHES or word.startswith("(")
        bare = before.rstrip(_CLOSERS)
        if begins or bare.endswith(_ENDS) or ")" in before[len(bare) :]:
            starts.append((place, True))
        elif word in _PHRASE:
            starts.append((place, False))
    ends = [*(place for place, _ in starts[1:]), len(words)]
    return tuple(
        Phrase(piece, begins_clause and not number, bool(begin) and start == begin and not number)
        for (start, begins_clause), end in zip(starts, ends, strict=True)
        for number, piece in enumerate(_cut(" ".join(words[start:end]), longest))
    )


def _cut(text: str, longest: int) -> list[str]:
    return re.findall(rf"\S(?:.{{0,{longest - 1}}}(?!\S)|.{{{longest - 1}}})", text)


@dataclass(frozen=True, slots=True)
class Passage:
    """The phrases of a sentence from index `first` to index `last`, exclusive, counted from 0."""

    first: int
    last: int


def passages_of(phrases: tuple[Phrase, ...], limit: int) -> Iterator[Passage]:
    """Yield the passages of a sentence that have at most `limit` characters and enough words.

    A passage needs `LEAST` words, or as many as the longest passage of the sentence if that is
    shorter.
    """
    runs = [*_runs(phrases, limit)]
    least = min(LEAST, max((words for _, words in runs), default=LEAST))
    yield from (passage for passage, words in runs if words >= least)


def _runs(phrases: tuple[Phrase, ...], limit: int) -> Iterator[tuple[Passage, int]]:
    """Yield each run of phrases with at most `limit` characters, and its number of words."""
    headed = sum(phrase.heading for phrase in phrases)
    for first in range(headed if headed < len(phrases) else 0, len(phrases)):
        length, words = -1, 0
        for last in range(first, len(phrases)):
            length += len(phrases[last].text) + 1
            words += phrases[last].text.count(" ") + 1
            if length > limit:
                break
            yield Passage(first, last + 1), words


def trimmed(passage: str) -> tuple[int, int]:
    """Return the start and the end of a passage without words that join it to other text.

    The heading, some conjunctions at the beginning and at the end, and punctuation at both ends are
    left out. Words that make a clause depend on another clause ("although", "while") are kept,
    since they affect the meaning. A passage that would become empty is returned whole.
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
    if passage.startswith("(", start) and ")" not in passage:
        start += 1
    return (start, end) if start < end else (0, len(passage))


def text_of(passages: Sequence[str]) -> str:
    """Return the text of a move as one sentence: its passages, trimmed and joined.

    The first letter becomes a capital if the first word is in lower case, unlike "mRNA".
    """
    parts = [passage[slice(*trimmed(passage))] for passage in passages]
    joined = JOINT.join(parts)
    if joined.partition(" ")[0].islower():
        joined = joined[:1].upper() + joined[1:]
    return joined + "."


@dataclass(frozen=True)
class Sentence:
    """A sentence of an abstract.

    Attributes:
        start, end: the span of the sentence in the abstract.
        text: the sentence for prompts, sanitized and on one line.
        longest: maximum number of characters of a phrase.
        heading: number of words of the heading.
        is_by_word: True if each word is a phrase.
    """

    start: int
    end: int
    text: str
    longest: int
    heading: int = 0
    is_by_word: bool = False

    @functools.cached_property  # used only for quotes: a prompt needs only the text
    def phrases(self) -> tuple[Phrase, ...]:
        """The phrases of `text`."""
        if not self.is_by_word:
            return phrases_of(self.text, self.longest, self.heading)
        return tuple(
            Phrase(word, begins_clause=True, heading=place < self.heading)
            for place, word in enumerate(self.text.split())
        )

    @functools.cached_property
    def by_word(self) -> Sentence:
        """This sentence with each word as a phrase, so that a passage can begin at every word."""
        return replace(self, is_by_word=True)

    def quoted(self, passage: Passage) -> str:
        """Return the text of a passage of this sentence."""
        return " ".join(phrase.text for phrase in self.phrases[passage.first : passage.last])


@functools.lru_cache(maxsize=64)
def numbered(abstract: str, longest: int = LONGEST) -> tuple[Sentence, ...]:
    """Return the sentences of an abstract in order. Prompts number them from 1.

    In an abstract that consists of headings only, the headings are treated as text.
    """
    found, has_text = list[Sentence](), False
    for start, end in sentence_spans(abstract):
        text, own = sanitize(abstract[start:end]), heading_end(abstract, start, end)
        has_text |= own < end
        # Only whole words count: in "AIMS:We halt", the heading is a part of the first word.
        heading = len(text.split()) - len(sanitize(abstract[own:end]).split())
        found.append(Sentence(start, end, text, longest, heading))
    return tuple(found if has_text else (replace(one, heading=0) for one in found))


def prompt_of(sentences: Sequence[Sentence]) -> str:
    """Return an abstract for a prompt, with lines such as "[1] The first sentence."."""
    return "\n".join(f"[{number}] {one.text}" for number, one in enumerate(sentences, start=1))


def span_of(passage: Passage, sentence: Sentence, abstract: str) -> tuple[int, int]:
    """Return the start and the end of a trimmed passage in the abstract (see `trimmed`).

    The prompt differs from the abstract only in blanks and invisible characters. The n-th visible
    character of the prompt is therefore the n-th visible character of the abstract.
    """
    before = " ".join(phrase.text for phrase in sentence.phrases[: passage.first])
    text = sentence.quoted(passage)
    start, end = trimmed(text)
    first = len(visible_places(before + text[:start]))
    last = first + len(visible_places(text[start:end])) - 1
    places = visible_places(abstract[sentence.start : sentence.end])
    return sentence.start + places[first], sentence.start + places[last] + 1
