"""The gates that compare a whole annotation with its abstract: copies, padding, other texts.

All functions are pure; they get the moves that are stated, and yield a clause for each finding.
Figures of "the gold" are of the 1,072 annotations of gold_train.csv and gold_train_cs.csv. None of
the limits was set on gold_dev.csv, which the gates are tested on.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping

from rapidfuzz.distance import LCSseq

from skills.curate.inputs.phrases import phrases
from skills.nanda.checks import copied, support
from skills.nanda.text import content_words, words

LEAST_SUPPORT = 0.55
"""Least share of the content words of an annotation that are in its abstract. The gold has 0.74 at
least, with a median of 0.95; compared with the abstract of another paper, 0.38 at most."""
LEAST_MOVE_SUPPORT = 0.35
"""The same for one move of at least `TELLING` content words. The gold has 0.43 at least; compared
with another abstract, 96% of the moves have less than 0.35."""
TELLING = 5
"""Content words from which a share of them is informative. 99.8% of the gold's moves have them."""

MOST_COPIED = 0.85
"""The share of the words of an annotation in copied runs from which it is a copy. The gold has 0.84
at most, with a median of 0.42: it uses the terms of the abstract."""
SEVERAL = 4
"""Stated moves from which the order of the abstract is unlikely to be chance."""
LONG = 50
"""Words from which an annotation can be a copy: a very short abstract can hardly be rephrased. All
annotations of the gold but two are longer."""

STRANGE_RUN = 3
"""Consecutive content words missing from the abstract that make a foreign passage."""
STRANGE_MOVES = 3
"""Moves with a foreign passage from which an annotation is padded. The gold has 2 at most, in four
annotations; 94% have none."""
LONG_STRANGE_RUN = 5
"""Consecutive content words from which one foreign passage is padding. The gold has 4 at most."""

PHRASE = 4
"""Consecutive words shared by two moves that make a repeated phrase."""
STRANGE_IN_PHRASE = 2
"""Content words of such a phrase that must be missing from the abstract. Three annotations of the
gold have such a phrase; with one word it would be 36, since moves share the paper's subject."""


def other_text(abstract: str, moves: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Find text about something else: (move, clause), with move "" for the whole annotation."""
    share = support(abstract, " ".join(moves.values()))
    if share < LEAST_SUPPORT:
        yield "", f"{share:.0%} of its content words are in the abstract"
        return
    for move, text in moves.items():
        share = support(abstract, text)
        if share < LEAST_MOVE_SUPPORT and len(content_words(text)) >= TELLING:
            yield move, f"{share:.0%} of its content words are in the abstract"


def copies(abstract: str, moves: Mapping[str, str]) -> Iterator[str]:
    """Yield one clause if the annotation is the abstract, divided into moves.

    Quotes are not a fault: moves that quote are copied, too, but not in the order of the abstract,
    except for a few by chance.
    """
    lengths = {move: len(words(text)) for move, text in moves.items()}
    total = sum(lengths.values())
    if total < LONG:
        return
    share = sum(copied(abstract, moves[move]) * length for move, length in lengths.items()) / total
    if share < MOST_COPIED:
        return
    in_order = LCSseq.similarity(words(abstract), words(" ".join(moves.values())))
    if len(moves) >= SEVERAL and in_order / total >= MOST_COPIED:
        yield f"{share:.0%} of its words are in the abstract, in its order"


def filler(abstract: str, moves: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Find padding: (move, clause), with move "" for the whole annotation.

    Only words that are missing from the abstract are recognised. Of clauses written after these
    limits were set, added to the annotations of gold_dev.csv, it found 100% when every move had
    one, 85% with three moves and 38% with one. Filler in the paper's own words is not found.
    """
    known = frozenset(content_words(abstract))
    runs = {move: _longest_foreign_run(text, known) for move, text in moves.items()}
    padded = [move for move, run in runs.items() if run >= STRANGE_RUN]
    if len(padded) >= STRANGE_MOVES:
        yield "", f"{len(padded)} moves have passages of words that are not in the abstract"
    for move, run in runs.items():
        if run >= LONG_STRANGE_RUN:
            yield move, f"{run} content words in a row are not in the abstract"
    for phrase in _repeated_phrases(moves, known):
        yield "", f"moves repeat the phrase '{phrase}', which is not in the abstract"
    given = _normalised(abstract)
    for move, text in moves.items():
        written = _normalised(text)
        for phrase in phrases()["stock"]:
            if f" {phrase} " in written and f" {phrase} " not in given:
                yield move, f"'{phrase}' is a stock phrase, and not in the abstract"


def _longest_foreign_run(text: str, known: frozenset[str]) -> int:
    runs = itertools.groupby(content_words(text), known.__contains__)
    return max((len(list(run)) for is_known, run in runs if not is_known), default=0)


def _repeated_phrases(moves: Mapping[str, str], known: frozenset[str]) -> list[str]:
    """Return the phrases in more than one move, in order of appearance, overlapping ones too."""
    counts: Counter[str] = Counter()
    for text in moves.values():
        written = words(text)
        starts = range(len(written) - PHRASE + 1)
        found = (" ".join(written[start : start + PHRASE]) for start in starts)
        counts.update(list(dict.fromkeys(found)))
    return [
        phrase
        for phrase, moves_with_it in counts.items()
        if moves_with_it > 1
        and sum(word not in known for word in content_words(phrase)) >= STRANGE_IN_PHRASE
    ]


def _normalised(text: str) -> str:
    return f" {' '.join(words(text))} "
