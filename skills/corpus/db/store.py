"""Write annotations and failures to the corpus database, and find them by content key.

The argument `db` is a connection from `connection.open_corpus`. Every write is a transaction, so
that a killed process never leaves an incomplete annotation.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from statistics import fmean
from typing import Any, Literal

from harness.support.text_input import well_formed
from skills.corpus.db import papers
from skills.corpus.db.connection import transaction
from skills.corpus.db.facets import words
from skills.corpus.db.rows import (
    current_annotations,
    insert,
    members,
    now,
    one,
    set_current,
    stored_record,
)
from skills.corpus.records import Annotated, Failure
from skills.nanda.anchors import placed
from skills.nanda.framework import Framework
from skills.nanda.paper import ID_FIELDS, Paper

State = Literal["done", "failed"]


def save(
    db: sqlite3.Connection,
    item: Annotated,
    framework: Framework,
    run_id: int | None = None,
    *,
    unless_newer: bool = False,
    unless_any: bool = False,
) -> int:
    """Store an annotation, and return its id.

    The annotation becomes the paper's current annotation by `framework`. A failure of the paper
    with the same content key is deleted. An annotation that is already stored for the paper is not
    stored again.

    Args:
        run_id: the id of the job in `runs`, or None.
        unless_newer: True to keep the current annotation of the paper if it is newer than `item`.
        unless_any: True to keep the current annotation of the paper, if there is one.
    """
    key, created = (item.record["provenance"][name] for name in ("key", "created"))
    with transaction(db):
        paper_id = papers.save(db, item.paper)
        db.execute("DELETE FROM failures WHERE key = ? AND paper_id = ?", [key, paper_id])
        known = one(
            db,
            "SELECT id, current FROM annotations WHERE key = ? AND paper_id = ?",
            [key, paper_id],
        )
        if known is not None and known["current"]:
            return int(known["id"])
        paper = papers.stored(db, paper_id)
        of_paper = current_annotations(db, members(db, paper_id))
        before = [row for row in of_paper if row["framework"] == framework.name]
        newer = any(row["created_at"] > created for row in before)  # both in ISO 8601 and UTC
        is_current = not ((unless_any and before) or (unless_newer and newer))
        if is_current:
            for row in before:
                set_current(db, row["id"], False)
        if known is not None:
            set_current(db, known["id"], is_current)
            return int(known["id"])
        moves = [_move(item.record, move, framework) for move in framework.names]
        stated = [move for move in moves if move["stated"]]
        supports = [move["support"] for move in stated if move["support"] is not None]
        record = placed(item.record, item.paper.abstract, paper.abstract)
        annotation_id = insert(
            db,
            "annotations",
            paper_id=paper_id,
            run_id=run_id,
            key=key,
            framework=framework.name,
            model=item.record["provenance"]["resolved"],
            current=int(is_current),
            stated=" ".join(move["move"] for move in stated),
            support=round(fmean(supports), 3) if supports else None,
            unsupported=sum(m["unsupported_numbers"] + m["unsupported_names"] for m in moves),
            record=json.dumps(record, ensure_ascii=False),
            created_at=created,
        )
        shared = {"annotation_id": annotation_id, "paper_id": paper_id, "current": int(is_current)}
        for move in moves:
            facets = words(move["move"], paper)
            insert(db, "moves", framework=framework.name, facets=facets, **shared, **move)
        return annotation_id


def fail(
    db: sqlite3.Connection,
    failure: Failure,
    key: str,
    *,
    request: Mapping[str, Any],
    traceback: str | None = None,
    run_id: int | None = None,
) -> None:
    """Store a failure, and replace an earlier failure of the same paper and content key.

    The number of attempts is increased by 1.

    Args:
        key: the content key of the annotation that could not be made.
        request: the request to the model.
        run_id: the id of the job in `runs`, or None.
    """
    with transaction(db):
        paper_id = papers.save(db, failure.paper)
        before = one(
            db, "SELECT attempts FROM failures WHERE key = ? AND paper_id = ?", [key, paper_id]
        )
        db.execute("DELETE FROM failures WHERE key = ? AND paper_id = ?", [key, paper_id])
        insert(
            db,
            "failures",
            paper_id=paper_id,
            run_id=run_id,
            key=key,
            error_type=failure.error_type,
            reason=well_formed(failure.reason),  # the reason may quote invalid Unicode from a reply
            retryable=int(failure.retryable),
            raw_reply=well_formed(failure.raw_reply),
            request=well_formed(json.dumps(request, ensure_ascii=False)),
            traceback=traceback and well_formed(traceback),
            attempts=(before["attempts"] if before else 0) + 1,
            created_at=now(),
        )


def has(db: sqlite3.Connection, key: str, paper_id: int) -> bool:
    """Return True if an annotation of this paper with this content key is stored."""
    sql = "SELECT 1 FROM annotations WHERE key = ? AND paper_id = ?"
    return one(db, sql, [key, paper_id]) is not None


def state(db: sqlite3.Connection, key: str) -> State | None:
    """Return the state of the annotation with this content key, or None if nothing is stored.

    The state is "done" if an annotation is stored, and "failed" if only a failure is stored.
    """
    if one(db, "SELECT 1 FROM annotations WHERE key = ? LIMIT 1", [key]):
        return "done"
    return "failed" if one(db, "SELECT 1 FROM failures WHERE key = ? LIMIT 1", [key]) else None


def record(db: sqlite3.Connection, key: str, paper: Paper) -> dict[str, Any] | None:
    """Return the record of the annotation with this content key, or None.

    The annotation may have been made for another paper with the same abstract. The returned record
    always has the id and title of `paper`.
    """
    row = one(
        db,
        "SELECT record, abstract FROM annotations JOIN papers ON papers.id = paper_id"
        " WHERE key = ? LIMIT 1",
        [key],
    )
    if row is None:
        return None
    return with_paper(paper, stored_record(row["record"]), row["abstract"])


def failure(db: sqlite3.Connection, key: str, paper: Paper) -> Failure | None:
    """Return the failure with this content key, or None.

    None is also returned if an annotation with this content key is stored.
    """
    row = one(db, "SELECT * FROM failures WHERE key = ? LIMIT 1", [key])
    if row is None or state(db, key) == "done":
        return None
    return papers.failure_of(row, paper)


def error_type(db: sqlite3.Connection, key: str) -> str:
    """Return the type of the error that is stored for this content key, or ""."""
    row = one(db, "SELECT error_type FROM failures WHERE key = ? LIMIT 1", [key])
    return "" if row is None else str(row["error_type"])


def with_paper(paper: Paper, stored: dict[str, Any], abstract: str) -> dict[str, Any]:
    """Return a copy of a stored record with the id and title of `paper`.

    Args:
        abstract: the abstract to which the spans in the record refer. The spans are adjusted to the
            abstract of `paper`, which may have other line breaks.
    """
    moved = placed(stored, abstract, paper.abstract)
    rest = {k: v for k, v in moved.items() if k not in (*ID_FIELDS, "title")}
    return {paper.id_field: paper.id, "title": paper.title, **rest}


def _move(stored: Mapping[str, Any], move: str, framework: Framework) -> dict[str, Any]:
    checks, text = stored["checks"], stored[move]
    source = checks["source"].get(move, {})
    return {
        "move": move,
        "stated": int(text != framework.not_stated),
        "text": text,
        "support": checks["support"].get(move),
        "copied": checks["copied"].get(move),
        "source_index": source.get("index"),
        "source_score": source.get("score"),
        "unsupported_numbers": len(checks["unsupported_numbers"].get(move, ())),
        "unsupported_names": len(checks["unsupported_names"].get(move, ())),
    }
