"""Find the terms of a text: words and pairs of adjacent words, compared by their stems."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from skills.nanda.sentences import without_headings
from skills.nanda.text import STOP_WORDS, WORD, stem

Term = tuple[str, ...]

_GENERIC_WORDS = """
    ability accuracy achieve advance agent agentic ai aim analysis application approach area
    artificial aspect automated automatic autonomous based benchmark benefit better build building
    capability case challenge change characteristic common comparison complex component
    comprehensive concept context cost create current data dataset decision deep design determine
    develop development different domain dynamic effect effective efficient empirical enable
    engineering enhance environment evaluate evaluation evidence example existing experience
    experiment extended factor feature field findings first framework full function future general
    generate generated goal high higher human impact implementation improve improvement include
    individual influence information input integrate intelligence interaction investigate issue key
    knowledge language large learn let level limitation limited literature llm local long low main
    make method methodology model modern multiple natural need new next novel objective open order
    output paper part performance perspective platform possible potential practical practice problem
    procedure process product project promising propose provide quality question range real recent
    related report representation require research resource result review role scale scenario
    science scope setting several short significant simple single small solution solve source space
    specific stage standard state step strategy structure study success support survey system
    systematic target task technique technology term test text theory time tool towards traditional
    type understand understanding unified universal user value various view vision way wide work
    world
"""
GENERIC = frozenset(map(stem, _GENERIC_WORDS.split()))
"""Stems of words that occur in abstracts of every topic.

Nearly all of these stems occur in at least 2% of the abstracts in gold_train.csv, and in at least
2% of the abstracts in csabstruct_dev.jsonl.
"""

_INNER_CAPITAL = re.compile(r"[^\W\d_][A-Z]")


def terms_in(text: str) -> Iterator[tuple[Term, str]]:
    """Yield each term of a text (a word or two adjacent words) as stems, and its spelling.

    The parts of a hyphenated word, such as "multi" in "multi-agent", are not terms on their own.
    Headings ("CONCLUSIONS:"), stop words, words of one or two characters and words that begin with
    a digit are left out.
    """
    text = without_headings(text)
    previous: tuple[str, int, int] | None = None
    for match in WORD.finditer(text):
        word, (start, end) = match.group(), match.span()
        if word.casefold() in STOP_WORDS or len(word) < 3 or word[0].isdigit():
            previous = None
            continue
        stemmed = stem(word.casefold())
        if "-" not in (text[start - 1 : start], text[end : end + 1]):
            yield (stemmed,), word
        if previous and text[previous[2] : start] in (" ", "-"):
            yield (previous[0], stemmed), text[previous[1] : end]
        previous = stemmed, start, end


def spelling(written: Sequence[str]) -> str:
    """Return the most frequent spelling of a term, such as "LoRA".

    Of equally frequent spellings, the first is returned. A spelling without an inner capital is
    converted to lower case.
    """
    kept = (word if _INNER_CAPITAL.search(word) else word.casefold() for word in written)
    return Counter(kept).most_common(1)[0][0]
