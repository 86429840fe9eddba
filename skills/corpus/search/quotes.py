"""Find passages of abstracts and moves by a piece of their wording.

The wording is compared as it is, without regard to case, kinds of white space and invisible
characters; it may begin and end within a word. Every text is read once, in linear time.
"""

from __future__ import annotations

import heapq
import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.errors import InputError
from harness.support.text_input import unquote
from skills.corpus.db.papers import stored
from skills.corpus.db.rows import Row, one, stored_record
from skills.corpus.search.fulltext import MARK
from skills.nanda.anchors import read_anchors
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper
from skills.nanda.sentences import sentence_spans
from skills.nanda.text import flatten

ABSTRACT = "abstract"


@dataclass(frozen=True, slots=True)
class Quote:
    """A passage that contains the wording.

    Attributes:
        id_field, id: the name and value of the paper's id.
        where: "abstract", or the name of the move.
        sentences: numbers of the sentences of the abstract that the passage is in, or that the move
            comes from.
        start, end: where the wording is in the abstract or in the text of the move.
        passage: the sentences, or the move, with the wording between two `MARK`s.
        paper_id: its id in the database.
    """

    id_field: str
    id: str
    title: str
    year: int | None
    where: str
    sentences: Sequence[int]
    start: int
    end: int
    passage: str
    paper_id: int

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form: the id under its own name, then the other fields."""
        rest = asdict(self)
        own = {rest.pop("id_field"): rest.pop("id")}
        return own | rest | own  # the id may be a `paper_id`, too


def find(db: sqlite3.Connection, wording: str, framework: Framework, limit: int) -> list[Quote]:
    """Return the passages with `wording`, by paper: those of the abstract, then those of moves.

    Raises:
        InputError: `wording` has neither letters nor digits.
    """
    wanted = folded_wording(wording)
    rows = heapq.merge(_abstracts(db), _moves(db, framework), key=lambda row: row["paper_id"])
    found = (_quote(db, row, *span) for row in rows for span in places_of(wanted, row["text"]))
    return list(itertools.islice(found, limit))


def folded_wording(wording: str) -> str:
    """Return a wording as texts are compared with it, without the quotes around it.

    Raises:
        InputError: it has neither letters nor digits.
    """
    wanted = _folded(unquote(flatten(wording)))[0]
    if not any(map(str.isalnum, wanted)):
        raise InputError(
            f"{wording[:40]!r} contains no word to search for",
            hint='Write a piece of the wording: `/corpus quote "the success rate rises"`.',
        )
    return wanted


def places_of(wanted: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each occurrence of `wanted`, which is folded, in `text`."""
    if wanted not in flatten(text).casefold():
        return
    folded, places = _folded(text)
    at = folded.find(wanted)
    while at >= 0:
        end = at + len(wanted)
        yield places[at], places[end - 1] + 1
        at = folded.find(wanted, end)


def _folded(text: str) -> tuple[str, list[int]]:
    """Return `text` as it is compared, and the place in `text` of each of its characters."""
    folded: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text):
        shown = flatten(f".{char}.")[1:-1].casefold()
        if shown != " " or (folded and folded[-1] != " "):
            folded += shown
            places += [place] * len(shown)
    return "".join(folded), places


def _abstracts(db: sqlite3.Connection) -> Iterator[Row]:
    rows: Iterator[Row] = db.execute(
        "SELECT id AS paper_id, ? AS place, abstract AS text, NULL AS annotation_id FROM papers"
        " ORDER BY id",
        [ABSTRACT],
    )
    return rows


def _moves(db: sqlite3.Connection, framework: Framework) -> Iterator[Row]:
    rows: Iterator[Row] = db.execute(
        "SELECT paper_id, move AS place, text, annotation_id FROM moves"
        " WHERE framework = ? AND current = 1 AND stated = 1 ORDER BY paper_id, id",
        [framework.name],
    )
    return rows


def _quote(db: sqlite3.Connection, row: Row, start: int, end: int) -> Quote:
    paper = stored(db, row["paper_id"])
    anchors = None
    if row["place"] != ABSTRACT:
        made = one(db, "SELECT record FROM annotations WHERE id = ?", [row["annotation_id"]]) or {}
        anchors = stored_record(made["record"]).get("anchors")
    return quote_of(paper, row["paper_id"], row["place"], row["text"], (start, end), anchors)


def quote_of(
    paper: Paper, number: int, place: str, text: str, span: tuple[int, int], anchors: object
) -> Quote:
    """Return the passage around a span of an abstract, or of a move.

    Args:
        number: of the paper in the corpus.
        place: `ABSTRACT`, or the name of the move.
        anchors: as stored with the annotation of the move.
    """
    start, end = span
    first, last = 0, len(text)
    if place == ABSTRACT:
        spans = sentence_spans(text)
        numbers = [n for n, (s, e) in enumerate(spans, start=1) if s < end and e > start]
        first, last = min(start, spans[numbers[0] - 1][0]), max(end, spans[numbers[-1] - 1][1])
    else:
        numbers = read_anchors(paper.abstract, {place: text}, anchors)[place]["sentences"]
    marked = f"{text[first:start]}{MARK}{text[start:end]}{MARK}{text[end:last]}"
    return Quote(
        paper.id_field,
        paper.id,
        paper.title,
        paper.year,
        place,
        numbers,
        start,
        end,
        flatten(marked),
        number,
    )
