"""What goes into the corpus database and comes back out of it, one paper at a time.

All functions take the open database of `database.open_corpus`. Those that write do so in one
transaction each, so that a killed process leaves a paper's whole annotation or none of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from skills.corpus.db.connection import transaction
from skills.corpus.db.facets import words
from skills.corpus.db.papers import failure_of, keep, stored
from skills.corpus.db.rows import Row, insert, now, one
from skills.corpus.records import Annotated, Failure
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper

State = Literal["done", "failed"]
_ENDS: tuple[tuple[str, State], ...] = (("annotations", "done"), ("failures", "failed"))

if TYPE_CHECKING:
    from sqlite_utils import Database


def save(
    db: Database,
    item: Annotated,
    framework: Framework,
    run_id: int | None = None,
    *,
    unless_newer: bool = False,
    unless_any: bool = False,
) -> int:
    """Keep an annotation and make it its paper's current one; a failure of the same work goes.

    Args:
        unless_newer: leave a current one that was made later in its place.
        unless_any: leave a current one in its place, whenever it was made.

    Returns: its id. An annotation that is there already, by paper and key, is not written again.
    """
    key = item.record["provenance"]["key"]
    with transaction(db):
        paper_id = keep(db, item.paper)
        db.conn.execute("DELETE FROM failures WHERE key = ? AND paper_id = ?", [key, paper_id])
        there = one(
            db,
            "SELECT id, current FROM annotations WHERE key = ? AND paper_id = ?",
            [key, paper_id],
        )
        if there is not None and there["current"]:
            return int(there["id"])
        before = _current(db, stored(db, paper_id), framework)
        made = _moment(item.record["provenance"]["created"])
        newer = any(_moment(row["created_at"]) > made for row in before)
        is_current = not ((unless_any and before) or (unless_newer and newer))
        if is_current:
            _flag(db, [row["id"] for row in before], current=0)
        if there is None:
            return _insert_annotation(db, item, framework, paper_id, run_id, is_current)
        _flag(db, [there["id"]], current=int(is_current))
        return int(there["id"])


def fail(
    db: Database,
    failure: Failure,
    key: str,
    *,
    request: Mapping[str, Any],
    traceback: str | None = None,
    run_id: int | None = None,
) -> None:
    """Keep a failure; one of the same work before it is replaced and counted."""
    with transaction(db):
        paper_id = keep(db, failure.paper)
        before = one(
            db, "SELECT attempts FROM failures WHERE key = ? AND paper_id = ?", [key, paper_id]
        )
        db.conn.execute("DELETE FROM failures WHERE key = ? AND paper_id = ?", [key, paper_id])
        insert(
            db,
            "failures",
            paper_id=paper_id,
            run_id=run_id,
            key=key,
            error_type=failure.error_type,
            reason=failure.reason,
            retryable=int(failure.retryable),
            raw_reply=failure.raw_reply,
            request=json.dumps(request, ensure_ascii=False),
            traceback=traceback,
            attempts=(before["attempts"] if before else 0) + 1,
            created_at=now(),
        )


def has(db: Database, key: str, paper_id: int) -> bool:
    """Whether the work `key` is done for this paper, whether or not it is the current one."""
    sql = "SELECT 1 FROM annotations WHERE key = ? AND paper_id = ?"
    return one(db, sql, [key, paper_id]) is not None


def state(db: Database, key: str) -> State | None:
    """How the work `key` ended; None if it has not been tried to its end."""
    for table, ended in _ENDS:
        if one(db, f"SELECT id FROM {table} WHERE key = ? LIMIT 1", [key]):  # noqa: S608
            return ended
    return None


def record(db: Database, key: str, paper: Paper) -> dict[str, Any] | None:
    """The stored form of the work `key`, under the id and title of `paper`; None if it is not done.

    The work may have been done for another paper with the same abstract.
    """
    row = one(db, "SELECT record FROM annotations WHERE key = ? LIMIT 1", [key])
    return None if row is None else under(paper, json.loads(row["record"]))


def failure(db: Database, key: str, paper: Paper) -> Failure | None:
    """Why the work `key` failed when it was last tried; None if it is done, or was not tried."""
    row = one(db, "SELECT * FROM failures WHERE key = ? LIMIT 1", [key])
    if row is None or state(db, key) == "done":
        return None
    return failure_of(row, paper)


def under(paper: Paper, stored: dict[str, Any]) -> dict[str, Any]:
    """The stored form with the id and title of `paper` in place of those it was stored with."""
    rest = {k: v for k, v in stored.items() if k not in ("arxiv_id", "paper_id", "id", "title")}
    return {paper.id_field: paper.id, "title": paper.title, **rest}


def _insert_annotation(
    db: Database,
    item: Annotated,
    framework: Framework,
    paper_id: int,
    run_id: int | None,
    is_current: bool,
) -> int:
    provenance = item.record["provenance"]
    paper = stored(db, paper_id)
    moves = [_move(item.record, move, framework) for move in framework.names]
    stated = [move for move in moves if move["stated"]]
    supports = [move["support"] for move in stated if move["support"] is not None]
    annotation_id = insert(
        db,
        "annotations",
        paper_id=paper_id,
        run_id=run_id,
        key=provenance["key"],
        framework=framework.name,
        model=provenance["resolved"],
        current=int(is_current),
        stated=" ".join(move["move"] for move in stated),
        support=round(fmean(supports), 3) if supports else None,
        unsupported=sum(m["unsupported_numbers"] + m["unsupported_names"] for m in moves),
        record=json.dumps(item.record, ensure_ascii=False),
        created_at=provenance["created"],
    )
    for move in moves:
        insert(
            db,
            "moves",
            annotation_id=annotation_id,
            paper_id=paper_id,
            framework=framework.name,
            current=int(is_current),
            facets=words(move["move"], paper),
            **move,
        )
    return annotation_id


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


def _current(db: Database, paper: Paper, framework: Framework) -> Sequence[Row]:
    """The current annotations of `paper`, and of its other versions at arXiv."""
    rows: Sequence[Row] = db.conn.execute(
        "SELECT annotations.id, created_at FROM annotations JOIN papers ON papers.id = paper_id"
        " WHERE source_id = ? AND id_field = ? AND (id_field = 'arxiv_id' OR sha256 = ?)"
        " AND framework = ? AND current",
        [paper.id, paper.id_field, paper.sha256, framework.name],
    ).fetchall()
    return rows


def _moment(created: str) -> datetime:
    """When an annotation was made; a text that is no time is before all that are."""
    try:
        made = datetime.fromisoformat(created)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def _flag(db: Database, annotation_ids: Iterable[int], *, current: int) -> None:
    for i in annotation_ids:
        db.conn.execute("UPDATE annotations SET current = ? WHERE id = ?", [current, i])
        db.conn.execute("UPDATE moves SET current = ? WHERE annotation_id = ?", [current, i])
