"""Select passages that are statements, and find the name that a pronoun refers to.

The rules only look at words, and refuse passages in doubt: a passage after a comma may be part of
an enumeration or an apposition, and a passage that ends before "if" may lack its condition.

A name may replace a pronoun: in "It needs no model", "It" may refer to DryRun. The pronoun must be
the subject ("It", "This", "They"), or "this" with a noun for something that authors make ("this
system"), and the previous sentence must present exactly one name. A name has an inner capital, a
digit or only capitals ("DryRun", "BERT", "GPT-4"). It follows a verb of presenting or "called", or
begins the sentence.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from skills.nanda.forms import Referent, Span
from skills.nanda.passages import Passage, Phrase, passages_of
from skills.nanda.text import TEXTS, set_of

INTRODUCTION = set_of(
    """
    across after although as at based because besides beyond by compared despite during finally for
    from furthermore given however if in moreover on since through thus to together under unlike
    unless upon using via when whereas while with within without
    """
)
"""First words of a sentence that does not begin with its main clause."""
_SUBJECT = re.compile(r"(?:we|it|they|our|this|these|there)\b")
"""Matches the beginning of a main clause after an introduction, unless it begins with a name."""
_CONTRAST = re.compile(
    r"(?:whereas|while(?! \w+ing\b)|but (?:it|our|that|the|their|there|these|they|this|those|we))\b"
)
_CONDITION = re.compile(r"[(\s]*(?:but|except|if|only|provided|unless|when|where|without)\b")
"""Matches words that restrict the statement before them."""
_CLAUSE = re.compile(
    r"(?:although|because|hence|since|so|thereby|therefore|though|thus|whereas|while|yet"
    r"|(?:and|or) (?:it|they|we))\b"
)
"""Matches a clause that follows a statement and a comma."""
_CLAUSE_OR_ITEM = re.compile(r"(?:and|or) (?:our|that|the|these|this)\b")
"""Matches such a clause only if no earlier comma has begun an enumeration."""
_MODIFIER = re.compile(
    r"(?:as well as|especially|including|particularly|such as|which|who|whose|with)\b"
)
"""Matches words after a comma that interrupt a statement: "X, which is new, wins"."""
_SUBORDINATE = re.compile(r"(?:although|because|though|whereas|while)\b")
"""Matches words of a clause that follows a statement without a comma."""
_ANNOUNCER = re.compile(
    r"and (?:also |then )?(?:argue|conclude|discuss|introduce|outline|present|propose|recommend)"
    r"(?:e?s)?\b"
)
"""Matches a second verb of an announcement: "It argues that X fails, and proposes Y"."""
_DASHES = ("-", "\u2013", "\u2014")
_PARTICIPLE = re.compile(r"\w+ing\b")
_JOINS = re.compile(r"(?:and|or)\b")
_REFERRING = re.compile(
    r"(?:it|this|(?:this|our|such an?|the proposed|the) (?:algorithm|approach|architecture"
    r"|benchmark|corpus|dataset|framework|language|library|method|model|pipeline|platform|procedure|protocol"
    r"|scheme|system|technique|tool|toolkit))(?= (?:\w+ly |also |can |does |may |will )*"
    r"(?:is|was|has|had|can|may|will|does|\w+s)\b)",
    re.IGNORECASE,
)
_NAME = r"(?P<name>[A-Z][\w-]*(?:[A-Z\d][\w-]*)|[a-z]+[A-Z][\w-]*)"
_PRESENTED = re.compile(
    rf"(?:\b(?i:we|paper|article|work|study)\s+(?:\w+ly\s+)?(?i:build|built|describe|develop|design"
    rf"|introduce|present|propose|release)(?:s|d|ed)?\s+(?:the\s+)?{_NAME}"
    rf"|\b(?:called|dubbed|named|termed)\s+{_NAME.replace('name', 'called')}"
    rf"|\A{_NAME.replace('name', 'first')}(?=\s(?:is|has|can|uses|learns|combines|provides)\b)"
    rf"|\((?P<short>[A-Z][\w-]*[A-Z\d][\w-]*)\))"
)


@functools.lru_cache(maxsize=TEXTS)  # a sentence may state several moves
def readable(phrases: tuple[Phrase, ...], limit: int) -> Sequence[Passage]:
    """Return the passages of a sentence that are complete statements, without its heading.

    If there is none, because the sentence is longer than a move, the result has the passages that
    begin like a statement, or else the passages that end like one, or else all passages.

    Args:
        limit: maximum number of characters of a passage.
    """
    headed = sum(phrase.heading for phrase in phrases)
    if headed == len(phrases):
        return ()
    phrases = phrases[headed:]
    every = [*passages_of(phrases, limit)]
    begins = [_begins(phrases, place) for place in range(len(phrases))]
    ends = [_ends(phrases, place) for place in range(len(phrases) + 1)]
    main = _main_clause(phrases)
    scores = []
    for one in every:
        # Without the announcement, a second verb would have no subject.
        rest = phrases[one.first + 1 : one.last] if phrases[one.first].announced else ()
        has_verb = any(_ANNOUNCER.match(each.text) for each in rest)
        is_end = ends[one.last] and (one.first > 0 or one.last > main)
        scores.append(2 * (begins[one.first] and not has_verb) + is_end)
    best = max(scores, default=0)
    return tuple(
        Passage(headed + one.first, headed + one.last)
        for one, score in zip(every, scores, strict=True)
        if score == best
    )


def _main_clause(phrases: tuple[Phrase, ...]) -> int:
    """Return the number of phrases that introduce the main clause: 1 for "While x, y"."""
    if not _introduces(phrases[0]):
        return 0
    commas = (place for place, phrase in enumerate(phrases, start=1) if phrase.text.endswith(","))
    return next(commas, 0)


def _begins(phrases: tuple[Phrase, ...], place: int) -> bool:
    """Return True if a statement may begin with the phrase at index `place`."""
    phrase = phrases[place]
    if place == 0:
        return True
    if phrase.announced:
        return not phrase.text.startswith("to ")
    if not phrase.begins_clause:
        return False
    before = phrases[place - 1].text
    if before.endswith(";") or _CONTRAST.match(_text(phrases, place, 2)):
        return True
    if not before.endswith(",") or not _introduces(phrases[0]):
        return False
    named = phrase.text[0].isupper() and place == _main_clause(phrases)
    return named or bool(_SUBJECT.match(phrase.text))


def _introduces(phrase: Phrase) -> bool:
    return phrase.text.split()[0].casefold().rstrip(",") in INTRODUCTION


def _ends(phrases: tuple[Phrase, ...], place: int) -> bool:
    """Return True if a statement may end before the phrase at index `place`."""
    if place == len(phrases):
        return True
    before, following = phrases[place - 1].text if place else "", phrases[place]
    if not following.begins_clause or _CONDITION.match(following.text):
        return False
    if before.endswith(";") or following.text[:1] in _DASHES:
        return True
    if _ANNOUNCER.match(following.text):
        return any(one.announced for one in phrases[:place])
    if not before.endswith(","):
        return bool(_SUBORDINATE.match(following.text))
    if _CLAUSE_OR_ITEM.match(following.text):
        return not any(one.text.endswith(",") for one in phrases[_main_clause(phrases) : place - 1])
    return bool(_CLAUSE.match(following.text)) or _is_last_modifier(phrases, place)


def _is_last_modifier(phrases: tuple[Phrase, ...], place: int) -> bool:
    """Return True if the phrase at `place` begins a modifier that ends the sentence."""
    text = phrases[place].text
    interrupts = any(phrase.text.endswith(",") for phrase in phrases[place:])
    if _PARTICIPLE.match(text):
        then = phrases[place + 1].text if place + 1 < len(phrases) else ""
        return not interrupts and not _JOINS.match(then)
    return bool(_MODIFIER.match(_text(phrases, place, 3))) and not interrupts


def _text(phrases: tuple[Phrase, ...], place: int, count: int) -> str:
    """Return the joined text of `count` phrases; even "such as" consists of two phrases."""
    return " ".join(phrase.text for phrase in phrases[place : place + count])


def opening(abstract: str, passage: Span, before: Sequence[Span]) -> Referent | None:
    """Return the name that the first words of a passage refer to, or None if it is not known.

    Args:
        passage: the span of the passage in the abstract.
        before: the spans of all earlier sentences.
    """
    start, end = passage
    found = _REFERRING.match(abstract, start, end)
    if not found or not before:
        return None
    first, last = before[-1]
    names = {
        one[one.lastgroup or 0]: one.span(one.lastgroup or 0)
        for one in _PRESENTED.finditer(abstract[first:last])
    }
    if len(names) != 1:
        return None
    [(low, high)] = names.values()
    return Referent(span=(first + low, first + high), at=found.span())
