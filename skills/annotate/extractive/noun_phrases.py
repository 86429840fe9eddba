"""Find noun phrases, the candidates of a move that names a thing instead of making a statement.

"Requirements engineering within small companies in New Zealand" says to what a claim applies; the
sentence in which it stands says something else. There is no tagger: a noun phrase begins after a
preposition, at an article or with its sentence, ends before a preposition, a verb or a clause, and
has no verb outside a relative clause. The lists have only words that are rarely nouns.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from skills.annotate.extractive.readable import FOLLOWS
from skills.nanda.quoting.numbered import Sentence
from skills.nanda.quoting.passages import Passage, Phrase
from skills.nanda.text import set_of

SHORTEST, LONGEST = 3, 24
"""Words of a noun phrase."""
_ARTICLES = set_of("a an the")
_PREPOSITIONS = set_of(
    """
    about across against among at between by during for from in into of on over through toward
    towards under using via with within
    """
)
_RELATIVE = set_of("that where which who whose")
_AUXILIARY = set_of(
    """
    am are be been can could did do does had has have is may might must should was were will would
    """
)
_OTHER = set_of(
    """
    although because but he her his how i if it not our she than there these they this though we
    what when whereas while why you
    """
)
"""Words of other clauses, or that refer to what is outside the phrase."""
_VERBS = set_of(
    """
    achieve aim allow analyse analyze apply argue assess become believe capture combine compare
    conclude confirm consider consist contain contribute demonstrate depend describe develop
    discuss employ enable ensure establish evaluate examine exhibit exist expect explore facilitate
    fail find generate give help highlight identify improve include incorporate indicate integrate
    introduce investigate involve lead make obtain occur outperform perform predict present prevent
    produce propose prove provide reduce rely remain require reveal seek seem serve solve suffer
    suggest support surpass tackle take tend understand
    """
)
_FINITE = _AUXILIARY | _VERBS | {f"{verb}s" for verb in _VERBS}
_JOINING = _PREPOSITIONS | _RELATIVE | set_of("and as both more most or such to well")
_NOT_FIRST = _JOINING | set_of("addition case contrast order respect spite terms")
"""The last ones belong to prepositions: "with respect to", "in terms of"."""
_NOT_LAST = _JOINING | _ARTICLES | _FINITE
_FOLLOWING = _FINITE | _RELATIVE | (_PREPOSITIONS - {"of"})
_PAIRS = (("(", ")"), ("[", "]"))


@dataclass(frozen=True)
class ByWord(Sentence):
    """A sentence each word of which is a phrase, so that a passage may begin at any word."""

    @functools.cached_property
    def phrases(self) -> tuple[Phrase, ...]:
        """The words of `text`; a preposition does not begin a clause."""
        return tuple(Phrase(word, _bare(word) not in _PREPOSITIONS) for word in self.text.split())


def by_word(sentence: Sentence) -> ByWord:
    """Return a sentence for `noun_phrases`."""
    return ByWord(sentence.start, sentence.end, sentence.text, sentence.longest)


def noun_phrases(number: int, sentence: ByWord, limit: int) -> Iterator[Passage]:
    """Yield the noun phrases of sentence `number` of at most `limit` characters."""
    words = [phrase.text for phrase in sentence.phrases]
    bare = [_bare(word) for word in words]
    for first in range(len(words)):
        if not _begins(words, bare, first):
            continue
        for last in range(first + SHORTEST, min(first + LONGEST, len(words)) + 1):
            found = slice(first, last)
            if _ends(words, bare, last) and _whole(words[found], bare[found], limit):
                yield Passage(number, first, last)


def _bare(word: str) -> str:
    return word.casefold().strip(".,;:()[]\"'?!\u2018\u2019\u201c\u201d")


def _begins(words: list[str], bare: list[str], place: int) -> bool:
    """Return True if a noun phrase may begin with this word."""
    if bare[place] in _NOT_FIRST:
        return False
    if place == 0:
        return not words[0].endswith(",")
    return bare[place] in _ARTICLES or bare[place - 1] in _PREPOSITIONS


def _ends(words: list[str], bare: list[str], place: int) -> bool:
    """Return True if a noun phrase may end before this word."""
    if place == len(words):
        return True
    if words[place - 1].endswith(";"):
        return True
    if words[place - 1].endswith(","):
        return bare[place] in _FINITE or bool(FOLLOWS.match(" ".join(words[place : place + 2])))
    return bare[place] in _FOLLOWING


def _whole(words: list[str], bare: list[str], limit: int) -> bool:
    """Return True if the words can be a noun phrase: no verb but in a relative clause."""
    text = " ".join(words)
    if len(text) > limit or any(text.count(left) != text.count(right) for left, right in _PAIRS):
        return False
    if bare[-1] in _NOT_LAST or bare[-2] == "to" or not _OTHER.isdisjoint(bare):
        return False
    if any(word.endswith((";", ":", ".")) for word in words[:-1] if len(word) > 2):
        return False
    relative = next((place for place, word in enumerate(bare) if word in _RELATIVE), len(bare))
    return not any(
        word in _FINITE and bare[place - 1] != "to" for place, word in enumerate(bare[:relative])
    )
