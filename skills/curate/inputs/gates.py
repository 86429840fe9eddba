"""The gates: deterministic checks of an annotation against its abstract, without a model.

findings = find(paper, moves, framework)     # () if the annotation passes
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from skills.curate.inputs import gate_checks
from skills.nanda.checks import duplicate_moves, unsupported_numbers
from skills.nanda.framework import Framework
from skills.nanda.named_entities import unsupported_names
from skills.nanda.paper import Paper
from skills.nanda.text import content_words, is_passage, words

REASONS: Mapping[str, str] = {
    "schema": "A move is missing, empty, or longer than the framework allows.",
    "not-stated": "The claim or the method is not stated, or no move is stated.",
    "length": (
        "A move has far more words than the moves of the gold, or far fewer without quoting the "
        "abstract."
    ),
    "repeated": "Two moves have the same content in their own words, or three have the same quote.",
    "number": "A move has a number that is not in the abstract.",
    "name": "A move has a name that is not in the abstract.",
    "other-text": "Too few of the words are in the abstract: the text is about another paper.",
    "copied": "The annotation is the abstract in its own order, divided into moves.",
    "filler": "Moves are padded with words that carry no information about the paper.",
}
"""The meaning of every code, in the order of the findings."""

NEVER_UNSTATED = ("claim", "method")
"""Moves that every paper states, in frameworks that have them. All gold annotations state both."""
CHARS_OF_LONGEST, CHARS_OF_SHORTEST = 7, 50
"""A move has at most one word per 7 characters of the framework's `max_chars`, and at least one per
50, so that a framework of single words does not require sentences. With the 320 of the Nanda
framework that is 6 to 45 words; the 6,807 moves of the gold have 6 to 44."""
CONTENT_OF_QUOTE = 2
"""Content words from which a passage of the abstract may be shorter: "materials science articles"
names a scope, "with it, 2% to 5%" needs what is before it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of an annotation.

    Attributes:
        code: one of `REASONS`.
        move: the name of the move, or "" for the whole annotation.
        detail: one clause for people.
    """

    code: str
    move: str
    detail: str


def find(paper: Paper, moves: Mapping[str, str], framework: Framework) -> tuple[Finding, ...]:
    """Return all faults of an annotation in the order of `REASONS`, or () if it passes.

    Args:
        moves: as read from a file: missing, empty or too long texts are findings, and variants of
            "Not stated." are recognised. Names that are not moves are ignored.
    """
    written = {name: framework.canonical(moves.get(name, "")) for name in framework.names}
    stated = {
        name: text
        for name, text in written.items()
        if text not in ("", framework.not_stated) and len(text) <= framework.max_chars
    }
    return (
        *_schema(written, framework),
        *_length(paper.abstract, stated, framework.max_chars),
        *_against_abstract(paper.abstract, stated),
        *_whole_text(paper.abstract, stated),
    )


def _schema(written: Mapping[str, str], framework: Framework) -> Iterator[Finding]:
    most, not_stated = framework.max_chars, framework.not_stated
    for move, text in written.items():
        if not text:
            yield Finding("schema", move, "it is missing or empty")
        elif len(text) > most:
            yield Finding("schema", move, f"it has {len(text):,} characters, over {most:,}")
    for move in NEVER_UNSTATED:
        if written.get(move) == not_stated:
            yield Finding("not-stated", move, f"it is '{not_stated}'")
    if all(text == not_stated for text in written.values()):
        yield Finding("not-stated", "", f"every move is '{not_stated}'")


def _length(abstract: str, stated: Mapping[str, str], max_chars: int) -> Iterator[Finding]:
    least, most = max_chars // CHARS_OF_SHORTEST, max_chars // CHARS_OF_LONGEST
    for move, text in stated.items():
        count = len(words(text))
        is_telling = len(content_words(text)) >= CONTENT_OF_QUOTE
        if count < least and is_telling and is_passage(abstract, text):
            continue
        if not least <= count <= most:
            yield Finding("length", move, f"it has {count} words, not {least} to {most}")


def _against_abstract(abstract: str, stated: Mapping[str, str]) -> Iterator[Finding]:
    pairs = [(one, other) for one, other, _ in duplicate_moves(stated)]
    alike = Counter(itertools.chain.from_iterable(pairs))
    for one, other in pairs:
        quoted = (is_passage(abstract, stated[move]) for move in (one, other))
        if alike[one] > 1 or alike[other] > 1 or not all(quoted):
            yield Finding("repeated", other, f"it has the same content as {one}")
    for move, text in stated.items():
        for number in unsupported_numbers(abstract, text):
            yield Finding("number", move, f"the number {number} is not in the abstract")
    for move, text in stated.items():
        for name in unsupported_names(abstract, text):
            yield Finding("name", move, f"the name {name} is not in the abstract")


def _whole_text(abstract: str, stated: Mapping[str, str]) -> Iterator[Finding]:
    foreign = [Finding("other-text", *found) for found in gate_checks.other_text(abstract, stated)]
    yield from foreign
    for detail in gate_checks.copies(abstract, stated):
        yield Finding("copied", "", detail)
    if not any(finding.move == "" for finding in foreign):
        for found in gate_checks.filler(abstract, stated):
            yield Finding("filler", *found)
