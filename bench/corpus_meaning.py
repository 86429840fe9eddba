"""Measure search by meaning over many annotations (`corpus.py`)."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from typing import Any

from skills.corpus.corpus_store import Database
from skills.corpus.search.by_meaning import search, similar_papers
from skills.corpus.search.query_syntax import By, Query, Years
from skills.corpus.search.vectors import Embedder, complete
from skills.nanda.framework import nanda

HYBRID_MS, PAPERS_PER_SECOND = 150, 300
"""Targets for 100,000 annotations: maximum time of a search, and minimum speed of indexing."""
QUERY_WORDS = 12


def index(db: sqlite3.Connection) -> None:
    """Compute the missing vectors, and print the speed."""
    embedder = Embedder.load()
    papers = "SELECT count(DISTINCT paper_id) FROM moves WHERE id > ?"
    row = db.execute("SELECT last_move FROM embedding").fetchone()
    new = db.execute(papers, [row["last_move"] if row else 0]).fetchone()[0]
    started, before = time.perf_counter(), time.process_time()
    added = complete(db, embedder)
    taken, used = time.perf_counter() - started, time.process_time() - before
    if added:
        print(
            f"vectors of {added:,} moves of {new:,} papers in {taken:.0f} s: {new / taken:,.0f} "
            f"papers/s (target: {PAPERS_PER_SECOND}); processor {used:.0f} s\n"
        )


def calls_of(
    db: sqlite3.Connection, common: str, rare: str, sentence: str
) -> dict[str, Callable[[], object]]:
    """Return the functions to measure, by label."""
    framework = nanda()
    query = " ".join(sentence.split()[:QUERY_WORDS])
    wanted = str(db.execute("SELECT max(id) FROM papers").fetchone()[0])

    def found(text: str, by: By, narrowing: Mapping[str, Any] | None = None) -> Callable[[], Any]:
        query = Query(text, by=by, **(narrowing or {}))
        return lambda: search(Database(db, framework), query)

    narrow = {"moves": ["method"], "years": Years(2024)}
    narrower = {**narrow, "categories": ["cs.DB"]}
    few = {"categories": ["cs.DB"], "years": Years(2022, 2022)}
    return {
        "hybrid rare word": found(rare, "both"),
        "hybrid common word": found(common, "both"),
        "hybrid common word --move --year": found(common, "both", narrow),
        "hybrid common word --move --year --category": found(common, "both", narrower),
        "hybrid common word --year --category": found(common, "both", few),
        f"hybrid {QUERY_WORDS} words": found(query, "both"),
        f"hybrid {QUERY_WORDS} words --move --year": found(query, "both", narrow),
        f"hybrid {QUERY_WORDS} words and a phrase": found(f'"{common}" {query}', "both"),
        f"like {QUERY_WORDS} words": found(query, "meaning"),
        f"like {QUERY_WORDS} words --year": found(query, "meaning", {"years": Years(2024)}),
        "similar --move": lambda: similar_papers(Database(db, framework), wanted, "method", 10),
        "similar": lambda: similar_papers(Database(db, framework), wanted, None, 10),
    }
