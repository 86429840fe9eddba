"""Locate passages on the pages of a PDF file, as boxes around parts of lines.

A passage is searched for in the abstract or section from which it was read. Only letters and digits
are compared, without case and accents, so that hyphens, ligatures and footnote marks do not matter.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from rapidfuzz import fuzz

from skills.corpus.pdf import extraction
from skills.corpus.pdf.page_lines import Pages
from skills.corpus.pdf.page_text import MARK, Line
from skills.nanda.text import letters_of

ALIKE = 90.0
"""Minimum similarity, 0 to 100, at which a text is accepted as an inexact copy of a passage."""
KINDS = ("limitation", "conclusion")
Box = tuple[float, float, float, float]
"""The left, bottom, right and top of a box, in points."""


class Passages(TypedDict):
    """The passages of a paper.

    Attributes:
        abstract: the text of the abstract.
        spans: for each move, the start and the end of each of its passages in the abstract.
        quotes: for each move that a section states, the passage of the section.
    """

    abstract: str
    spans: Mapping[str, Sequence[Sequence[int]]]
    quotes: Mapping[str, str]


class Place(TypedDict):
    """The place of a passage on one page.

    Attributes:
        page: the page, from 0.
        label: the label of the page, such as "iv", or else the page number from 1.
        boxes: one box for each line, or several boxes if footnote marks divide the line.
        start: number of characters on the page before the passage.
        below: distance in points from the top of the page to the highest box.
    """

    page: int
    label: str
    boxes: list[Box]
    start: int
    below: float


def places_of(path: Path, passages: Passages) -> dict[str, list[Place]]:
    """Return the places of the passages by move.

    A move is omitted if one of its passages is not found.

    Raises:
        Unreadable: the file has no abstract, or cannot be read.
    """
    found: dict[str, list[Place]] = {}
    with Pages(path) as pages:
        _, abstract = extraction.first_pages(pages)
        printed, text = Letters(abstract.lines), passages["abstract"]
        for move, spans in passages["spans"].items():
            ranges = [
                printed.find(text[start:end], len(letters_of(text[:start]))) for start, end in spans
            ]
            if ranges and all(ranges):
                found[move] = printed.places(pages, [one for one in ranges if one])
        if passages["quotes"]:
            sections = extraction.sections_below(pages, abstract, KINDS)
            texts = [Letters(one.lines) for one in sections]
            for move, quote in passages["quotes"].items():
                known = ((one, place) for one in texts if (place := one.find(quote)))
                if first := next(known, None):
                    found[move] = first[0].places(pages, [first[1]])
    return found


class Letters:
    """The letters and digits in lines of text, and the place of each character on its page."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines
        self._chars: list[tuple[int, int, int]] = []
        """For each character except blanks and footnote marks: the index of its line, the number of
        footnote marks before the character, and its index on the page.
        """
        self._places: list[int] = []
        """For each letter of `text`, the index of its character in `_chars`."""
        text: list[str] = []
        marks = 0
        for number, line in enumerate(lines):
            visible = line.text.replace(" ", "")
            for char, at in zip(visible, line.chars[-len(visible) :], strict=True):
                if char == MARK:
                    marks += 1
                    continue
                own = letters_of(char)
                text.append(own)
                self._places += [len(self._chars)] * len(own)
                self._chars.append((number, marks, at))
        self.text = "".join(text)

    def find(self, passage: str, near: int = 0) -> range | None:
        """Return the indexes in `_chars` of a passage, or None if the passage is not found.

        Args:
            near: the expected number of letters before the passage.
        """
        wanted = letters_of(passage)
        if not wanted or len(wanted) > len(self.text):
            return None
        after = self.text.find(wanted, near)
        before = self.text.rfind(wanted, 0, near + len(wanted))
        if starts := [at for at in (before, after) if at >= 0]:
            start = min(starts, key=lambda at: abs(at - near))
            end = start + len(wanted)
        elif alike := fuzz.partial_ratio_alignment(wanted, self.text, score_cutoff=ALIKE):
            start, end = alike.dest_start, alike.dest_end
        else:
            return None
        # Include the punctuation at both ends of the passage, but no characters of other words.
        visible = "".join(passage.split())
        letters = [number for number, char in enumerate(visible) if char.isalnum()]
        outside = (letters[0], len(visible) - 1 - letters[-1]) if letters else (0, 0)
        first, last = self._places[start], self._places[end - 1]
        least = self._places[start - 1] + 1 if start else 0
        most = self._places[end] - 1 if end < len(self._places) else len(self._chars) - 1
        return range(max(least, first - outside[0]), min(most, last + outside[1]) + 1)

    def places(self, pages: Pages, ranges: Sequence[range]) -> list[Place]:
        """Return the places of ranges in `_chars`: one place for each page."""
        found: dict[int, Place] = {}
        chars = [self._chars[at] for at in dict.fromkeys(itertools.chain(*ranges))]
        for (number, _), own in itertools.groupby(chars, key=lambda one: one[:2]):
            page, on_page = self._lines[number].page, [at for *_, at in own]
            lefts, bottoms, rights, tops = zip(*pages.boxes(page, on_page), strict=True)
            box = min(lefts), min(bottoms), max(rights), max(tops)
            label, top = pages.label_and_top(page)
            known = Place(page=page, label=label, boxes=[], start=on_page[0], below=top)
            place = found.setdefault(page, known)
            place["boxes"].append(box)
            place["start"] = min(place["start"], *on_page)
            place["below"] = min(place["below"], max(0.0, top - box[3]))
        return list(found.values())
