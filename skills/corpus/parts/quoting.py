"""Find wording in parts, as `quotes.find` does in the database."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from skills.corpus.parts import duck
from skills.corpus.parts.index import Index
from skills.corpus.parts.rows import Row, Rows
from skills.corpus.search.quotes import ABSTRACT, Quote, folded_wording, places_of, quote_of

if TYPE_CHECKING:
    import duckdb


def find(
    db: duckdb.DuckDBPyConnection, index: Index, rows: Rows, wording: str, limit: int
) -> list[Quote]:
    """Return the passages with `wording`, by paper: those of the abstract, then those of moves.

    Args:
        db: with the views of `facts.prepare`.
    """
    wanted = folded_wording(wording)
    return list(itertools.islice(_found(db, index, rows, wanted), limit))


def _found(db: duckdb.DuckDBPyConnection, index: Index, rows: Rows, wanted: str) -> Iterator[Quote]:
    framework = index.framework
    papers, wholes = {}, []
    for row_id, paper, has_moves in _candidates(db, index, wanted):
        papers[row_id] = paper
        wholes += [(paper, 0, row_id)] * (row_id == paper) + [(paper, 1, row_id)] * has_moves
    wholes.sort()
    read = rows.read(row_id for _, _, row_id in wholes)
    for (paper, is_moves, _), (row_id, row) in zip(wholes, read, strict=True):
        texts = {ABSTRACT: row["abstract"]}
        if is_moves:
            stated = ((name, row[name]) for name in framework.names)
            texts = {name: text for name, text in stated if text != framework.not_stated}
        for place, text in texts.items():
            for span in places_of(wanted, text):
                yield _quote(rows, row_id, row, paper, place, span)


def _quote(
    rows: Rows, row_id: int, row: Row, paper: int, place: str, span: tuple[int, int]
) -> Quote:
    anchors = None
    if place != ABSTRACT:
        anchors = rows.annotation(row_id, row).record.get("anchors")
    return quote_of(rows.paper(row_id, row), paper, place, row[place], span, anchors)


def _candidates(db: duckdb.DuckDBPyConnection, index: Index, wanted: str) -> list[Any]:
    """Return id, number of the paper, and whether the annotation is current, of some rows.

    These are all with `wanted`, and some others. Of a text in ASCII, lower case is the same as
    folded, and white space alone is folded otherwise: it must contain the longest word.
    """
    longest = max(wanted.split(), key=len)
    texts = map(duck.name, ("abstract", *index.framework.names))
    has = " OR ".join(f"strlen({t}) <> length({t}) OR contains(lower({t}), $word)" for t in texts)
    places = {index.folder.absolute() / one.file.name: one.first for one in index.parts}
    known = ", ".join(f"({duck.literal(str(path))}, {first})" for path, first in places.items())
    paths = duck.files(places)
    found: list[Any] = db.execute(
        f"""
        SELECT f.id, f.paper, f.annotated AND f.current FROM (
            SELECT first + file_row_number AS id
            FROM read_parquet({paths}, filename=true, file_row_number=true, union_by_name=true)
            JOIN (VALUES {known}) AS of(path, first) ON path = filename WHERE {has}
        ) r JOIN facts f ON f.id = r.id
        """,
        {"word": longest},
    ).fetchall()
    return found
