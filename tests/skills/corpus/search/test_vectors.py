"""Test the vectors of moves in the corpus database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from corpus_papers import annotated, paper

from skills.corpus.corpus_store import Database
from skills.corpus.db import merging, reads, store
from skills.corpus.db.connection import open_corpus
from skills.corpus.search import vectors
from skills.corpus.search.by_meaning import search
from skills.corpus.search.query_syntax import Query
from skills.corpus.search.vectors import DIMENSIONS, Embedder, complete
from skills.nanda.framework import nanda

STATED = 8


def count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM vectors").fetchone()[0])


def in_blocks(db: sqlite3.Connection) -> list[int]:
    blocks = vectors.blocks_of(db, nanda(), nanda().names)
    return sorted(move_id for ids, _ in blocks for move_id in ids.tolist())


def test_texts_of_one_meaning_are_near() -> None:
    car, auto, bread, nothing = Embedder.load().embed(
        ["The car is fast.", "A quick automobile.", "Bread is baked.", ""]
    )
    assert car @ auto > car @ bread
    assert np.linalg.norm(car) == pytest.approx(1)
    assert not nothing.any()
    assert car.shape == (DIMENSIONS,)


def test_vectors_are_added_for_what_is_new(db: sqlite3.Connection) -> None:
    embedder = Embedder.load()
    assert complete(db, embedder) == 0
    store.save(db, annotated(paper(1), limitation="Not stated."), nanda())
    assert complete(db, embedder) == STATED - 1
    assert complete(db, embedder) == 0
    store.save(db, annotated(paper(2)), nanda())
    assert complete(db, embedder) == STATED
    stored = [row[0] for row in db.execute("SELECT move_id FROM vectors ORDER BY move_id")]
    assert in_blocks(db) == stored
    assert len(stored) == 2 * STATED - 1


def test_full_blocks_are_followed_by_others(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "BLOCK", 4)
    monkeypatch.setattr(vectors, "BATCH", 50)
    for number in range(1, 23):
        store.save(db, annotated(paper(number)), nanda())
        if number in (3, 9):
            complete(db, Embedder.load())
    complete(db, Embedder.load())
    sizes = db.execute("SELECT size FROM vector_blocks WHERE move = 'claim' ORDER BY id").fetchall()
    assert sorted(row["size"] for row in sizes) == [2, 4, 4, 4, 4, 4]
    assert in_blocks(db) == [row["id"] for row in db.execute("SELECT id FROM moves ORDER BY id")]


def test_an_interrupted_run_is_continued(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "BATCH", STATED)
    for number in range(1, 5):
        store.save(db, annotated(paper(number)), nanda())

    def stop_at(seen: int) -> Callable[[], None]:
        def check() -> None:
            if count(db) == seen:
                raise KeyboardInterrupt

        return check

    with pytest.raises(KeyboardInterrupt):
        complete(db, Embedder.load(), check=stop_at(2 * STATED))
    said: list[str] = []
    assert complete(db, Embedder.load(), said.append) == 2 * STATED
    assert said == ["0% of the moves", "50% of the moves"]
    assert count(db) == 4 * STATED == len(in_blocks(db))


def test_what_another_process_has_added_is_not_added_again(
    db: sqlite3.Connection, tmp_path: Path
) -> None:
    store.save(db, annotated(paper(1)), nanda())
    embedder = Embedder.load()
    with open_corpus(tmp_path / "corpus.db") as other:

        def meanwhile(status: str) -> None:
            complete(other, embedder)

        assert complete(db, embedder, meanwhile) == 0
    assert count(db) == STATED == len(in_blocks(db))


def test_another_model_replaces_all_vectors(db: sqlite3.Connection) -> None:
    store.save(db, annotated(paper(1)), nanda())
    embedder = Embedder.load()
    complete(db, embedder)
    before = db.execute("SELECT vector FROM vectors ORDER BY move_id").fetchone()[0]
    other = replace(embedder, weights=embedder.weights[::-1], digest="another")
    assert complete(db, other) == STATED
    assert db.execute("SELECT digest FROM embedding").fetchone()[0] == "another"
    assert db.execute("SELECT vector FROM vectors ORDER BY move_id").fetchone()[0] != before
    assert count(db) == STATED == len(in_blocks(db))


def test_stored_vectors_have_the_direction_of_the_exact_ones(db: sqlite3.Connection) -> None:
    store.save(db, annotated(paper(1), method="Dense retrieval."), nanda())
    complete(db, Embedder.load())
    row = db.execute(
        "SELECT vector FROM vectors JOIN moves ON moves.id = move_id WHERE move = 'method'"
    ).fetchone()
    [stored] = vectors.unpacked([row["vector"]])
    [exact] = Embedder.load().embed(["Dense retrieval."])
    assert len(row["vector"]) == DIMENSIONS
    assert stored @ exact == pytest.approx(1, abs=0.001)
    assert vectors.unpacked([]).shape == (0, DIMENSIONS)


def test_merging_and_splitting_leave_the_vectors(db: sqlite3.Connection) -> None:
    for number in (1, 2):
        of = replace(paper(number), source={"kind": "table", "doi": "10.1234/jas.5"})
        store.save(db, annotated(of, str(number), method=f"Method {number}."), nanda())
    assert len(reads.pairs(db)) == 1
    complete(db, Embedder.load())
    near = partial(
        search, Database(db, nanda()), Query("Method", ["method"], limit=9, by="meaning")
    )
    assert len(near().hits) == 1
    merging.separate(db, 1)
    assert len(near().hits) == 2
