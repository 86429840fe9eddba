"""Find noun phrases, the candidates of a move that names a thing instead of making a statement.

"Requirements engineering within small companies in New Zealand" names to what a claim applies; the
sentence that contains it states something else. A noun phrase begins after a preposition, at an
article or with its sentence, ends before a preposition, a verb or a clause, and has no verb outside
a relative clause. Verbs are those of lists, which contain only words that are rarely nouns. What
authors present as new ("we introduce a planner that waits", "the first bench of it") is a novelty.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from skills.annotate.selector.readable import INTRODUCTION, follows_statement
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
    am are be been can cannot could did do does had has have is may might must should was were will
    would
    """
)
_OTHER = set_of(
    """
    also although always because but he her his how i if it never not often our she so then there
    therefore these they this though thus typically usually we what when whereas while why you
    """
)
"""Words of other clauses, or that refer to what is outside the phrase."""
_VERBS = set_of(
    """
    achieve adopt affect agree aim allow analyse analyze appear apply argue arise assess assume
    become begin believe bring capture combine come compare complement conclude conduct confirm
    consider consist construct contain continue contribute converge correspond create decide define
    demonstrate depend derive describe detect determine develop differ discover discuss distinguish
    draw emerge employ enable engage enhance ensure establish evaluate evolve examine exhibit exist
    expect explain exploit explore extend extract facilitate fail find fulfill generalize generate
    get give go grow help highlight identify illustrate implement improve include incorporate
    indicate infer integrate introduce investigate involve keep know lead learn leverage maintain
    make manipulate minimize obtain occur operate optimize outperform overcome perform persist
    predict prefer present preserve prevent produce propose prove provide quantify raise react
    recognize reduce refer reflect rely remain replicate represent require retrieve reveal rise seek
    seem serve show simulate solve specify struggle suffer suggest summarize surpass synthesize
    tackle take tend try understand utilize vary verify widen
    """
)
_FREQUENCY = set_of("always frequently often rarely regularly seldom sometimes")
"""Adverbs that precede a verb, also one that is not in the lists ("often issue")."""
_IN_THIRD_PERSON = set_of(
    """
    addresses deals decreases focuses follows goes holds increases lacks offers narrows outlines
    plays promises reaches turns uses yields
    """
)
"""Verbs whose base is a noun, too."""
_PAST = set_of("became began came fell found gave grew led made rose saw showed took went")
_REGULAR = {
    re.sub(r"(?<=ss)s\Z", "es", re.sub(r"(?<![aeo])ys\Z", "ies", f"{verb}s")) for verb in _VERBS
}
_FINITE = _AUXILIARY | _VERBS | _REGULAR | _IN_THIRD_PERSON | _PAST
_JOINING = _PREPOSITIONS | _RELATIVE | set_of("and as both more most or such than to well")
_NOT_FIRST = _JOINING | set_of("addition case contrast its order respect spite terms their")
"""Most of the last ones belong to prepositions: "with respect to", "in terms of"."""
_NOT_LAST = _JOINING | _ARTICLES | _FINITE
_PRESENTED = re.compile(
    r"(?:build|built|construct|contribut|deriv|design|develop|establish|formulat|implement|introduc"
    r"|present|propos|releas)(?:e|es|ed|s|ing)?\Z"
)
"""Verbs of what authors made; others may have another subject ("the market offers a toy")."""
_NEW = set_of("first new novel original pioneering unified")
_OPENING = 4
"""Words of a noun phrase within which it is called new."""
LEAST_NEW = 5
"""Words of such a noun phrase: "a new framework" is hardly a novelty."""
_INTERRUPTING = _RELATIVE | (_PREPOSITIONS - {"of"})
_PAIRS = (("(", ")"), ("[", "]"))


@dataclass(frozen=True)
class ByWord(Sentence):
    """A sentence with one phrase for each word, so that a passage may begin at any word."""

    @functools.cached_property
    def phrases(self) -> tuple[Phrase, ...]:
        """The words of `text`; a preposition does not begin a clause."""
        return tuple(
            Phrase(word, _bare(word) not in _PREPOSITIONS, heading=place < self.heading)
            for place, word in enumerate(self.text.split())
        )


def by_word(sentence: Sentence) -> ByWord:
    """Return a sentence for `noun_phrases`."""
    return ByWord(sentence.start, sentence.end, sentence.text, sentence.longest, sentence.heading)


def noun_phrases(number: int, sentence: ByWord, limit: int) -> Iterator[Passage]:
    """Yield the noun phrases of sentence `number` of at most `limit` characters."""
    words = [phrase.text for phrase in sentence.phrases if not phrase.heading]
    bare = [_bare(word) for word in words]
    for first in range(len(words)):
        if not _begins(words, bare, first) or _in_name(words, bare, first):
            continue
        for last in range(first + SHORTEST, min(first + LONGEST, len(words)) + 1):
            found = slice(first, last)
            # Of a phrase that begins the sentence, or follows its preposition, it is the noun's.
            if first > 1 and _adds_participle(words[found], bare[found]):
                continue
            if _ends(words, bare, first, last) and _whole(words[found], bare[found], limit):
                yield Passage(number, sentence.heading + first, sentence.heading + last)


def is_presented(sentence: Sentence, one: Passage) -> bool:
    """Return True if the sentence presents the noun phrase as new or as made by the authors.

    Args:
        sentence: as `by_word` returns it.
    """
    words = [phrase.text.casefold() for phrase in sentence.phrases]
    opening = map(_bare, words[one.first : one.last][:_OPENING])
    own = [*itertools.takewhile(lambda word: word not in _PREPOSITIONS, opening)]
    presented = one.first > 0 and bool(_PRESENTED.match(words[one.first - 1]))
    return one.last - one.first >= LEAST_NEW and (presented or not _NEW.isdisjoint(own))


def _bare(word: str) -> str:
    return word.casefold().strip(".,;:()[]\"'?!\u2018\u2019\u201c\u201d")


def _begins(words: list[str], bare: list[str], place: int) -> bool:
    """Return True if a noun phrase may begin with this word."""
    if bare[place] in _NOT_FIRST:
        return False
    if place == 0:
        return not words[0].endswith(",") and bare[0] not in INTRODUCTION
    if bare[place - 1] in _PREPOSITIONS:
        return True
    in_list = words[place - 1].endswith(",") or bare[place - 1] in ("and", "or")
    return bare[place] in _ARTICLES and not in_list


def _in_name(words: list[str], bare: list[str], place: int) -> bool:
    """Return True if a name continues with this word: "Court of Appeal", "Bank of Korea"."""
    before = words[place - 2][:1] if place > 2 and bare[place - 1] == "of" else ""
    return before.isupper() and words[place][:1].isupper()


def _ends(words: list[str], bare: list[str], first: int, last: int) -> bool:
    """Return True if a noun phrase may end before word `last`.

    A phrase with a comma ends with its clause: in "On tests of X, Y wins" only Y is the subject. A
    phrase with a relative clause does not end before the verb of that clause ("cases in which
    reports were late"), and a phrase with "and" does not end before a verb ("On tests of X and Y
    wins").
    """
    if last == len(words) or words[last - 1].endswith(";"):
        return True
    if words[last - 1].endswith(","):
        return follows_statement(" ".join(words[last : last + 2]))
    if any(word.endswith(",") for word in words[first:last]):
        return False
    if bare[last] in _FINITE | _FREQUENCY or _results_in(bare, last):
        return "and" not in bare[first:last] and _has_verbs(bare[first:last])
    return bare[last] in _INTERRUPTING and not _results_in(bare, last - 1)


def _has_verbs(bare: list[str]) -> bool:
    """Return True if the relative clause of a phrase, if it has one, has its verb."""
    relative = next((place for place, word in enumerate(bare) if word in _RELATIVE), None)
    return relative is None or not _FINITE.isdisjoint(bare[relative:])


def _whole(words: list[str], bare: list[str], limit: int) -> bool:
    """Return True if the words can be a noun phrase, with verbs only in a relative clause."""
    text = " ".join(words)
    relative = next((place for place, word in enumerate(bare) if word in _RELATIVE), len(bare))
    broken = (
        any(text.count(left) != text.count(right) for left, right in _PAIRS)
        or any(word.endswith((";", ":", ".")) for word in words[:-1] if len(word) > 2)
        or (bare[1] in ("and", "or") and (words[0].endswith(",") or bare[0].isdigit()))
        or (bare[-1] in _NOT_LAST or bare[-1].endswith("ed") or bare[-2] == "to")
        or not _OTHER.isdisjoint(bare)
        or any(_is_verb(bare, place) for place in range(relative))
    )
    return len(text) <= limit and not broken


def _adds_participle(words: list[str], bare: list[str]) -> bool:
    """Return True if a participle follows a comma: "papers on the topic, published in 2026".

    It may describe a noun before the phrase. A noun such as "speed" is taken for one.
    """
    pairs = zip(words, bare[1:], bare[2:], strict=False)
    following = _PREPOSITIONS | {"and", "or"}
    return any(
        word.endswith(",") and participle.endswith("ed") and then in following
        for word, participle, then in pairs
    )


def _results_in(bare: list[str], place: int) -> bool:
    """Return True if the verb "result in" is here, not "a result in logic"."""
    return bare[place : place + 2] == ["result", "in"] and bare[place - 1] not in _ARTICLES


def _is_verb(bare: list[str], place: int) -> bool:
    """Return True if a word is a finite verb, not an infinitive or a participle ("affected by")."""
    word, following = bare[place], bare[place + 1] if place + 1 < len(bare) else ""
    if word in _FINITE or _results_in(bare, place):
        return bare[max(place - 1, 0) : place] != ["to"]
    return word.endswith("ed") and (following in _ARTICLES or following[:1].isdigit())
