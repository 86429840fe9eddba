"""Write an annotation as the note of a reference, and find it again.

Annotation by nanda-harness:
Claim: ...
Method (uncertain, 0.35): ...
Suggestion for Novelty (0.21): ...
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from skills.corpus.records import Annotated
from skills.nanda.confidence import from_sections, labelled_suggestions, uncertainty
from skills.nanda.framework import Framework
from skills.nanda.text import flatten

HEADING = "Annotation by nanda-harness:"
NONE_STATED = "The abstract states none of the moves."
_OURS = re.compile(rf"\s*{HEADING}.*?(?=\n[ \t]*\n|\Z)", re.DOTALL)
"""A note up to the next empty line, or to the end where a program has joined its lines."""


def note_of(item: Annotated, framework: Framework) -> str:
    """Return the note of an annotation, without empty lines.

    It has a line for each move that is stated, and one for each suggestion.
    """
    stated = framework.stated(item.record)
    found, labels = {**from_sections(item.record), **stated}, framework.labels
    lines = [
        f"{labels[name]}{uncertainty(item.record, name)}: {flatten(found[name])}"
        for name in framework.names
        if name in found
    ] or [NONE_STATED]
    lines += [f"{label}: {text}" for label, text in labelled_suggestions(item.record, labels)]
    return "\n".join((HEADING, *lines))


def with_note(text: str, note: str) -> str:
    """Return `text` with the note in place of an earlier one, else below what it contains."""
    kept = without_note(text)
    return f"{kept}\n\n{note}" if kept else note


def without_note(text: str) -> str:
    return _OURS.sub("", text).strip()


class NotesByRow:
    """The notes of a file's rows, which are taken in the order of the file.

    Args:
        items: annotations of rows of the file, in its order.
    """

    def __init__(self, items: Iterable[Annotated], framework: Framework) -> None:
        self._notes = ((_row(item), note_of(item, framework)) for item in items)
        self._next = next(self._notes, None)

    def take(self, row: int) -> str:
        """Return the note of a row, "" if it has none; it must follow the rows taken before."""
        while self._next is not None and self._next[0] < row:
            self._next = next(self._notes, None)
        return self._next[1] if self._next is not None and self._next[0] == row else ""


def _row(item: Annotated) -> int:
    return int(item.paper.source.get("row", 0))
