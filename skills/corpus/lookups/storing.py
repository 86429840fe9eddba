"""Store what sources state: about papers of the corpus, and papers that it lacks."""

from __future__ import annotations

import sqlite3

from skills.corpus.db import papers
from skills.corpus.db.connection import transaction
from skills.corpus.db.lookups import awaited, facts
from skills.corpus.db.works import recording
from skills.corpus.identity.matching import compare, known
from skills.corpus.records import Found
from skills.nanda.paper import Paper


def store(db: sqlite3.Connection, found: Found) -> tuple[int | None, bool]:
    """Store a paper, and return its row and whether it is new.

    A paper of the corpus is completed. Without an abstract, it is kept as awaited, and the row is
    None.
    """
    with transaction(db):
        rows = recording.with_identifiers(db, found.identifiers)
        if rows:
            facts.complete(db, rows[0], found)
            facts.remember(db, "papers", rows[0], found.source, found=True)
            return rows[0], False
        if not found.abstract:
            return None, awaited.keep(db, found.paper)
        row = papers.save(db, found.paper)
        facts.complete(db, row, found)
        facts.remember(db, "papers", row, found.source, found=True)
        return row, True


def is_other(paper: Paper, found: Found) -> bool:
    """Return True if a source states another title for the identifier of a paper."""
    return bool(paper.title and found.title and compare(known(paper), known(found.paper)) is None)
