"""The table `papers`: a paper is kept once, and what is known of it grows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from skills.corpus.db.connection import transaction
from skills.corpus.db.facets import first_category, words
from skills.corpus.db.rows import Row, insert, now, one
from skills.corpus.records import Failure
from skills.nanda.paper import IdField, Paper

if TYPE_CHECKING:
    from sqlite_utils import Database


def paper_of(row: Row, source: Mapping[str, str] | None = None) -> Paper:
    """The paper of a row of papers; without `source` it comes from the corpus."""
    return Paper(
        cast("IdField", row["id_field"]),
        row["source_id"],
        row["title"],
        row["abstract"],
        {"kind": "corpus"} if source is None else source,
        authors=row["authors"],
        published=row["published"],
        categories=row["categories"],
    )


def failure_of(row: Row, paper: Paper) -> Failure:
    """The failure of a row of failures."""
    return Failure(
        paper, row["error_type"], row["reason"], bool(row["retryable"]), row["raw_reply"]
    )


def known(db: Database, paper: Paper) -> int | None:
    """The number of `paper` in papers; None if it is not there."""
    row = look_up(db, paper.id, paper.id_field, paper.sha256)
    return None if row is None else int(row["id"])


def look_up(db: Database, paper_id: str, id_field: str, sha256: str) -> Row | None:
    """The row of the paper with this id and abstract.

    The same id with the same abstract is the same paper, whatever a table calls its ids: where
    papers differ in that, a target calls all of them "id". One called `id_field` comes first.
    """
    return one(
        db,
        "SELECT * FROM papers WHERE source_id = ? AND sha256 = ?"
        " ORDER BY id_field = ? DESC, id LIMIT 1",
        [paper_id, sha256, id_field],
    )


def keep(db: Database, paper: Paper) -> int:
    """Keep a paper without an annotation, or fill in what was not known of it before.

    Returns: its number in papers.
    """
    columns = {
        "title": paper.title,
        "authors": paper.authors,
        "published": paper.published,
        "year": paper.year,
        "categories": paper.categories,
        "category": first_category(paper),
    }
    with transaction(db):
        there = look_up(db, paper.id, paper.id_field, paper.sha256)
        if there is None:
            return insert(
                db,
                "papers",
                id_field=paper.id_field,
                source_id=paper.id,
                abstract=paper.abstract,
                sha256=paper.sha256,
                added_at=now(),
                **columns,
            )
        if there["id_field"] == "id":  # "arxiv_id" and "paper_id" say more
            columns["id_field"] = paper.id_field
        if news := {k: value for k, value in columns.items() if value and value != there[k]}:
            _update(db, there["id"], news)
        return int(there["id"])


def _update(db: Database, paper_id: int, news: Mapping[str, Any]) -> None:
    assigned = ", ".join(f"{name} = ?" for name in news)
    db.conn.execute(
        f"UPDATE papers SET {assigned} WHERE id = ?",  # noqa: S608  names are ours
        [*news.values(), paper_id],
    )
    if not {"year", "categories"}.isdisjoint(news):
        paper = stored(db, paper_id)
        for move in db.conn.execute(
            "SELECT id, move FROM moves WHERE annotation_id IN"
            " (SELECT id FROM annotations WHERE paper_id = ?)",
            [paper_id],
        ).fetchall():
            db.conn.execute(
                "UPDATE moves SET facets = ? WHERE id = ?", [words(move["move"], paper), move["id"]]
            )


def stored(db: Database, paper_id: int) -> Paper:
    """The paper with all that is known of it, from whatever source."""
    return paper_of(one(db, "SELECT * FROM papers WHERE id = ?", [paper_id]) or {})
