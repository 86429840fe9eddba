"""Find the passages of abstracts and moves that contain a piece of wording.

Texts and wording are folded before the comparison: case, invisible characters and differences of
white space are ignored. The wording may begin and end within a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from harness.errors import InputError
from harness.support.text_input import unquote
from skills.corpus.outputs import Passage
from skills.corpus.search.fulltext import MARK
from skills.nanda.anchors import read_anchors
from skills.nanda.paper import Paper
from skills.nanda.sentences import sentence_spans
from skills.nanda.text import flatten

ABSTRACT = "abstract"


class QuotableText(NamedTuple):
    """The abstract of a paper, or the text of one of its moves.

    Attributes:
        number: the row number of the paper in the corpus.
        place: `ABSTRACT`, or the name of the move.
        read: returns the paper and the stored anchors of its annotation. For an abstract, the
            anchors are None.
    """

    number: int
    place: str
    text: str
    read: Callable[[], tuple[Paper, object]]


def passages(texts: Iterable[QuotableText], wanted: str) -> Iterator[Passage]:
    """Yield the passage around each occurrence of `wanted`, a wording in folded form."""
    for one in texts:
        for start, end in places_of(wanted, one.text):
            yield _passage(one, start, end)


def folded_wording(wording: str) -> str:
    """Return a wording in folded form and without enclosing quotation marks.

    Raises:
        InputError: the wording has neither letters nor digits.
    """
    wanted = _folded(unquote(flatten(wording)))[0]
    if not any(map(str.isalnum, wanted)):
        raise InputError(
            f"{wording[:40]!r} contains no word to search for",
            hint='Write a piece of the wording: `/corpus quote "the success rate rises"`.',
        )
    return wanted


def places_of(wanted: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end offsets in `text` of each occurrence of a folded wording."""
    if wanted not in flatten(text).casefold():
        return
    folded, places = _folded(text)
    at = folded.find(wanted)
    while at >= 0:
        end = at + len(wanted)
        yield places[at], places[end - 1] + 1
        at = folded.find(wanted, end)


def _folded(text: str) -> tuple[str, list[int]]:
    """Return the folded text, and for each folded character its offset in `text`."""
    folded: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text):
        shown = flatten(f".{char}.")[1:-1].casefold()
        if shown != " " or (folded and folded[-1] != " "):
            folded += shown
            places += [place] * len(shown)
    return "".join(folded), places


def _passage(quoted: QuotableText, start: int, end: int) -> Passage:
    """Return the passage around a span: sentences of the abstract, or the whole move."""
    (paper, anchors), text, place = quoted.read(), quoted.text, quoted.place
    first, last = 0, len(text)
    if place == ABSTRACT:
        spans = sentence_spans(text)
        numbers = [n for n, (s, e) in enumerate(spans, start=1) if s < end and e > start]
        first, last = min(start, spans[numbers[0] - 1][0]), max(end, spans[numbers[-1] - 1][1])
    else:
        numbers = list(read_anchors(paper.abstract, {place: text}, anchors)[place]["sentences"])
    marked = f"{text[first:start]}{MARK}{text[start:end]}{MARK}{text[end:last]}"
    return Passage(
        id_field=paper.id_field,
        id=paper.id,
        title=paper.title,
        year=paper.year,
        where=place,
        sentences=numbers,
        start=start,
        end=end,
        passage=flatten(marked),
        paper_id=quoted.number,
    )
