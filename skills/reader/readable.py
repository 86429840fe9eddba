"""Select statements that can be read alone, and find the name to which a pronoun refers.

A statement is a whole sentence, its part after an announcement ("We show that"), or its main clause
after an introduction ("Unlike X, we wait"). Other parts of a sentence may lack a condition, a
negation or the subject. If a statement is too long for a move, only its beginning is quoted.

A name may replace a pronoun: in "It needs no model", "It" may refer to the system DryRun. Only "It"
and phrases about something that authors make, such as "this system" or "the proposed method", count
as pronouns. The pronoun must be the subject, and the previous sentence must present exactly one
name. A name has an inner capital, a digit or only capitals ("DryRun", "BERT", "GPT-4"). The name
begins the sentence, or follows "called" or a verb such as "present", or is in brackets after
such a verb ("We present a tool (DryRun)").
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from skills.nanda.anchors import Span
from skills.nanda.passages import Passage, Sentence
from skills.nanda.quotes import Referent
from skills.nanda.text import set_of

_ANNOUNCEMENT = re.compile(
    r"""
    (?:(?:finally|first|second|then|here|thus|therefore|moreover|furthermore|additionally
        |specifically|overall|hence|in[ ]particular|in[ ]addition|to[ ]this[ ]end
        |in[ ]this[ ]\w+),?[ ])?
    (?:we|(?:this|the|our)[ ](?:paper|work|article|study|survey|chapter|report|thesis|research
        |results?|experiments?|findings|authors))[ ]
    (?:(?:(?!hardly|rarely|barely|scarcely|only|partly|partially)\w+ly|also|further|then|here|first|now|thus
        |therefore)[ ])?
    (?:(?:propose|present|introduce|describe|provide|develop|design|offer)(?:e?s|e?d)?
        |(?:show|demonstrate|find|argue|believe|conclude|suggest|observe|prove|claim|report|indicate
            |reveal)(?:e?s|n|e?d)?[ ]that
        |found[ ]that)[ ]
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Matches the words that announce a statement: "In this paper, we show that"."""
_ANNOUNCER = re.compile(
    r"\band (?:also |then )?(?:argue|conclude|discuss|introduce|outline|present|propose|recommend)"
    r"(?:e?s)?\b"
)
"""Matches a second verb of an announcement: "It argues that X fails, and proposes Y"."""
_ENDS = tuple(",;:\u2013\u2014")
_BEGINNINGS = set_of(
    """
    across although and as at because between but by compared for from if in into on or over than
    though through to under using via when where whereas while who whose with without
    """
)
"""Words that begin a phrase, before which a long sentence is cut."""
_SUBJECTS = set_of("it our there these they this we")
"""Words that begin a main clause after a comma."""
_PREDICATE = re.compile(
    rf" and (?:\w+ly )?(?!(?:{'|'.join(_BEGINNINGS)}|about|after|against|all|among|around|before"
    r"|also|beyond|both|despite|even|ha[ds]|have|how|is|near|not|of|often|only|such|then|those|until|was"
    r"|were|what|why|within|\w+ing|\w+ly) )[a-z]+ (?:an?|her|his|its|our|their|the)\b"
)
"""Matches "and" before a word that is probably a verb with an object: "and analyzes the mood"."""
_RELATIVE = re.compile(r"\b(?:that|to|when|where|which|who|whom|whose)\b")
"""Matches the beginning of a clause or an infinitive, which may have a second verb after "and"."""
_LATIN = frozenset(["in silico", "in situ", "in utero", "in vitro", "in vivo"])
_OPENERS = set_of(
    """
    after although as because compared despite finally furthermore given hence however in moreover
    since therefore thus to together unlike whereas while
    """
)
"""Words that begin an introduction, which may be cut off."""
_KEPT = set_of(
    """
    based by except for if neither never no nobody nor not only through under unless unlikely using
    via when where with without
    """
)
"""Words of conditions, methods and negations; an introduction with such a word is not cut off."""
_REFERRING = re.compile(
    r"(?:it|(?:this|our|such an?|the proposed|the) (?:algorithm|approach|architecture"
    r"|benchmark|corpus|dataset|framework|language|library|method|model|pipeline|platform|procedure|protocol"
    r"|scheme|system|technique|tool|toolkit))(?= (?:\w+ly |also |can |does |may |will )*"
    r"(?:is|was|has|had|can|may|will|does|\w+s)\b)",
    re.IGNORECASE,
)
_NAME = r"(?P<name>[A-Z][\w-]*(?:[A-Z\d][\w-]*)|[a-z]+[A-Z][\w-]*)"
_PRESENTING = (
    r"\b(?i:we|paper|article|work|study)\s+(?:\w+ly\s+)?(?i:build|built|describe|develop|design"
    r"|introduce|present|propose|release)(?:s|d|ed)?\s+"
)
_PRESENTED = re.compile(
    rf"(?:{_PRESENTING}(?:the\s+)?{_NAME}"
    rf"|\b(?:called|dubbed|named|termed)\s+{_NAME.replace('name', 'called')}"
    rf"|\A{_NAME.replace('name', 'first')}(?=\s(?:is|has|can|uses|learns|combines|provides)\b)"
    rf"|{_PRESENTING}(?:(?!\b(?:called|dubbed|for|from|in|named|of|on|that|to|using|which|with)\b)[^()])*"
    rf"\((?P<short>[A-Z][\w-]*[A-Z\d][\w-]*)\))"
)


def statements(sentence: Sentence, limit: int) -> list[Passage]:
    """Return the passages of a sentence that can be read alone, without the heading.

    The first passage is the whole sentence. A second passage begins after an announcement or an
    introduction that may be left out. If the sentence is only a heading, the heading is the
    passage.

    Args:
        limit: maximum number of characters of a passage; the end of a longer passage is cut off.
    """
    if sentence.heading == len(sentence.words):
        return [_within(limit, sentence, 0)]
    firsts = [sentence.heading]
    announced = _ANNOUNCEMENT.match(sentence.text, sentence.words[sentence.heading][0])
    if announced:
        rest = sentence.text[announced.end() :]
        # Without the announcement, a second verb would have no subject.
        if not rest.startswith("to ") and not _ANNOUNCER.search(rest):
            firsts.append(sentence.heading + len(announced[0].split()))
    else:
        main = main_clause(sentence, sentence.heading, len(sentence.words))
        words = [sentence.word(at).casefold().strip(",;(") for at in range(sentence.heading, main)]
        if main < len(sentence.words) and words[0] in _OPENERS and _KEPT.isdisjoint(words):
            firsts.append(main)
    return [_within(limit, sentence, first) for first in firsts]


def _within(limit: int, sentence: Sentence, first: int) -> Passage:
    """Return the passage of at most `limit` characters that begins with the word at `first`.

    A longer sentence is cut before the last phrase that begins in the second half of the `limit`
    characters. If no phrase begins there, it is cut after the last word that fits.
    """
    words, after = sentence.words, len(sentence.words)
    sizes = {end: words[end - 1][1] - words[first][0] for end in range(first + 1, after + 1)}
    fitting = [end for end in reversed(sizes) if sizes[end] <= limit] or [first + 1]
    if fitting[0] == after:
        return Passage(first, after)
    for end in fitting:
        before, word = sentence.word(end - 1), sentence.word(end)
        if sizes[end] > limit // 2 and (before.endswith(_ENDS) or word.casefold() in _BEGINNINGS):
            return Passage(first, end)
    return Passage(first, fitting[0])


def main_clause(sentence: Sentence, first: int, last: int) -> int:
    """Return the index of the word that begins a main clause after a comma, or else `last`.

    In "Using ten tasks, we halt", the word is "we". The words from index `first` to index `last`,
    exclusive, are searched.
    """
    for place in range(first + 1, last):
        if sentence.word(place - 1).endswith(",") and sentence.word(place) in _SUBJECTS:
            return place
    return last


def _predicate(sentence: Sentence, first: int, last: int) -> int:
    """Return the index of the "and" before a second predicate of the sentence, or else `last`.

    In "the tweets of 2010 and analyzes the mood", the predicate is "analyzes the mood". The words
    from index `first` to index `last`, exclusive, are searched.
    """
    text = sentence.quoted(Passage(first, last))
    found = _PREDICATE.search(text)
    if found is None or _RELATIVE.search(text, 0, found.start()):
        return last
    start = sentence.words[first][0] + found.start() + 1
    return next(at for at in range(first, last) if sentence.words[at][0] >= start)


def name_of(sentence: Sentence, first: int, last: int) -> Passage:
    """Return a passage, cut or extended to a phrase that can be quoted alone.

    The passage has the words from index `first` to the word before index `last`. It is cut before a
    main clause or a second predicate. It is extended to the end of an open bracket. If the passage
    begins with a word such as "vivo", the "in" before this word is added.
    """
    last = _predicate(sentence, first, main_clause(sentence, first, last))
    if first and f"{sentence.word(first - 1)} {sentence.word(first)}".casefold() in _LATIN:
        first -= 1
    for after in range(last, len(sentence.words) + 1):
        text = sentence.quoted(Passage(first, after))
        if text.count("(") <= text.count(")"):
            return Passage(first, after)
    return Passage(first, last)


def opening(abstract: str, passage: Span, before: Sequence[Span]) -> Referent | None:
    """Return the spans of the pronoun that begins a passage and of the name to which it refers.

    The result is None if the passage does not begin with a pronoun, or if the previous sentence
    does not present exactly one name.

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
