"""The gates that hold an annotation against its abstract as a whole: copies, padding, other texts.

All functions are pure and say in clauses what they find. The moves given to them are those that are
stated. Figures of "the gold" are of the 1,072 annotations of gold_train.csv and gold_train_cs.csv;
gold_dev.csv, on which the gates are tested, set none of the limits.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping

from skills.nanda.checks import RUN, copied, support
from skills.nanda.text import content_words, words

LEAST_SUPPORT = 0.55
"""The share of the content words of an annotation that its abstract has to hold. The gold has 0.74
at least and 0.95 in the middle; set against the abstract of another paper, 0.38 at most."""
LEAST_MOVE_SUPPORT = 0.35
"""The same of a single move of `TELLING` content words or more. The gold has 0.43 at least; of
moves set against another abstract, 96% have less than 0.35."""
TELLING = 5
"""Content words from which a share of them tells something. 99.8% of the gold's moves have them."""

MOST_COPIED = 0.85
"""The share of the words of an annotation in copied runs, from which it is a copy. The gold has
0.84 at most and 0.42 in the middle: it takes the abstract apart in the abstract's own terms."""
LONG = 50
"""Words from which an annotation can be a copy: of a very short abstract there is little to say in
other words. All annotations of the gold but two are longer."""

STRANGE_RUN = 3
"""Content words in a row that the abstract lacks, from which a move has a strange passage."""
STRANGE_MOVES = 3
"""Moves with a strange passage, from which an annotation is padded. The gold has 2 at most, in four
annotations; 94% have none."""
LONG_STRANGE_RUN = 5
"""Content words in a row from which a single strange passage is padding. The gold has 4 at most."""

PHRASE = 4
"""Words in a row that two moves share, from which they repeat a phrase."""
STRANGE_IN_PHRASE = 2
"""Content words of such a phrase that the abstract has to lack. Three annotations of the gold have
such a phrase; with one word it would be 36, since moves do share the paper's subject."""

STOCK_PHRASES = (
    "it is important to note",
    "it is worth noting",
    "it is worth mentioning",
    "it should be noted",
    "needless to say",
    "last but not least",
    "as mentioned above",
    "as mentioned earlier",
    "in conclusion",
    "in a nutshell",
    "all in all",
    "to sum up",
    "plays a crucial role",
    "plays a vital role",
    "plays a pivotal role",
    "a testament to",
    "in today's world",
    "fast paced world",
    "ever evolving landscape",
    "a game changer",
    "as an ai language model",
    "the abstract does not",
    "the abstract mentions",
    "the abstract states",
    "mentioned in the abstract",
    "stated in the abstract",
    "not explicitly stated",
    "not explicitly mentioned",
    "does not explicitly",
)
"""What models write to fill a move, or instead of the exact "Not stated.". None stands in the gold
where its abstract lacks it. Words such as "significantly" or "the study" do, and are no padding."""


def other_text(abstract: str, moves: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Text that tells of something else: (move, clause), the move "" for the whole annotation."""
    share = support(abstract, " ".join(moves.values()))
    if share < LEAST_SUPPORT:
        yield "", f"the abstract holds {share:.0%} of its content words"
        return
    for move, text in moves.items():
        share = support(abstract, text)
        if share < LEAST_MOVE_SUPPORT and len(content_words(text)) >= TELLING:
            yield move, f"the abstract holds {share:.0%} of its content words"


def copies(abstract: str, moves: Mapping[str, str]) -> Iterator[str]:
    """Whether the abstract was copied rather than taken apart: one clause if so."""
    lengths = {move: len(words(text)) for move, text in moves.items()}
    total = sum(lengths.values())
    if total < LONG:
        return
    share = sum(copied(abstract, moves[move]) * length for move, length in lengths.items()) / total
    if share >= MOST_COPIED:
        yield f"{share:.0%} of its words stand in the abstract in runs of {RUN} or more"


def filler(abstract: str, moves: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Padding: (move, clause), the move "" for the whole annotation.

    It sees words that are foreign to the abstract. Clauses written after these limits were set were
    found on gold_dev.csv behind every move in 100% of annotations, behind three in 85%, behind one
    in 38%: what is said of a single move in the paper's own words is left to the panel.
    """
    known = frozenset(content_words(abstract))
    runs = {move: _longest_strange_run(text, known) for move, text in moves.items()}
    padded = [move for move, run in runs.items() if run >= STRANGE_RUN]
    if len(padded) >= STRANGE_MOVES:
        yield "", f"{len(padded)} moves have passages of words that the abstract lacks"
    for move, run in runs.items():
        if run >= LONG_STRANGE_RUN:
            yield move, f"{run} content words in a row are not in the abstract"
    for phrase in _repeated_phrases(moves, known):
        yield "", f"moves repeat the phrase '{phrase}', which is not in the abstract"
    given = _joined(abstract)
    for move, text in moves.items():
        said = _joined(text)
        for phrase in STOCK_PHRASES:
            if f" {phrase} " in said and f" {phrase} " not in given:
                yield move, f"'{phrase}' is a stock phrase, and not in the abstract"


def _longest_strange_run(text: str, known: frozenset[str]) -> int:
    runs = itertools.groupby(content_words(text), known.__contains__)
    return max((len(list(run)) for held, run in runs if not held), default=0)


def _repeated_phrases(moves: Mapping[str, str], known: frozenset[str]) -> list[str]:
    """The phrases that stand in more than one move, in order of appearance; of overlapping ones
    each counts."""
    counts: Counter[str] = Counter()
    for text in moves.values():
        said = words(text)
        starts = range(len(said) - PHRASE + 1)
        phrases = (" ".join(said[start : start + PHRASE]) for start in starts)
        counts.update(list(dict.fromkeys(phrases)))
    return [
        phrase
        for phrase, moves_with_it in counts.items()
        if moves_with_it > 1
        and sum(word not in known for word in content_words(phrase)) >= STRANGE_IN_PHRASE
    ]


def _joined(text: str) -> str:
    return f" {' '.join(words(text))} "
