"""Test which annotation of a paper becomes current."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from corpus_papers import annotated, paper

from harness.errors import OutputError
from skills.corpus.db import reads, store
from skills.corpus.db.connection import open_temporary
from skills.nanda.framework import nanda


def current(db: sqlite3.Connection) -> set[str]:
    """Return the models of the current annotations, and check the flags of their moves."""
    rows = db.execute("SELECT id, model FROM annotations WHERE current").fetchall()
    moves = db.execute("SELECT DISTINCT annotation_id FROM moves WHERE current")
    assert {row["annotation_id"] for row in moves} == {row["id"] for row in rows}
    return {row["model"] for row in rows}


def test_unless_any_keeps_current_annotation(db: sqlite3.Connection) -> None:
    store.save(db, annotated(paper(1), "first"), nanda(), unless_any=True)
    assert current(db) == {"first"}
    kept = store.save(db, annotated(paper(1), "second"), nanda(), unless_any=True)
    assert current(db) == {"first"}
    assert store.save(db, annotated(paper(1), "second"), nanda(), unless_any=True) == kept
    assert current(db) == {"first"}
    assert store.save(db, annotated(paper(1), "second"), nanda()) == kept
    assert current(db) == {"second"}


def test_unless_any_keeps_annotation_of_other_version(db: sqlite3.Connection) -> None:
    store.save(db, annotated(paper(1), "first"), nanda())
    other = paper(1, "We rewrote all of this abstract.")
    store.save(db, annotated(other, "second"), nanda(), unless_any=True)
    assert current(db) == {"first"}


def test_spans_refer_to_the_abstract_as_each_paper_has_it(db: sqlite3.Connection) -> None:
    wrapped = annotated(paper(1, "We test\n a ledger.\n\nIt finds  faults. It is slow."))
    flat = paper(1, "We test a ledger. It finds faults. It is slow.")
    store.save(db, wrapped, nanda())
    key = wrapped.record["provenance"]["key"]
    assert store.record(db, key, wrapped.paper) == wrapped.record
    assert store.record(db, key, flat) == annotated(flat).record
    store.save(db, annotated(flat, "other"), nanda())
    (found,) = reads.find(db, flat.id)
    assert found.paper.abstract == wrapped.paper.abstract
    assert found.annotations[0].record["anchors"] == wrapped.record["anchors"]


def test_a_full_disk_is_reported_with_another_folder() -> None:
    with closing(open_temporary("CREATE TABLE texts (text TEXT)")) as db:
        db.execute("PRAGMA max_page_count = 4")
        with pytest.raises(OutputError, match="disk is full") as caught:
            db.execute("INSERT INTO texts VALUES (?)", ["long" * 10_000])
    assert "SQLITE_TMPDIR" in caught.value.hint
