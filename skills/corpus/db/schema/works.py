"""Define the migrations of identifiers and duplicates, and of what is looked up about papers."""

from __future__ import annotations

import sqlite3

from skills.corpus.db.works import recording


def m009_identity(db: sqlite3.Connection) -> None:
    """Create identifiers and duplicates, and fill them from the papers that are stored.

    A row of papers is an abstract as one source has it. Rows of one paper stay apart, so that
    nothing is lost when a pair is split again; `duplicates` joins them. What their sources stated
    is in the provenance of their annotations. A row of identifiers with the kind "title" is a key
    by which candidates are found, not an identifier.
    """
    db.execute("ALTER TABLE papers ADD COLUMN venue TEXT NOT NULL DEFAULT ''")
    db.execute(
        """
        CREATE TABLE identifiers (
            id INTEGER PRIMARY KEY,
            paper_id INTEGER NOT NULL REFERENCES papers(id),
            kind TEXT NOT NULL,
            value TEXT NOT NULL,
            UNIQUE (kind, value, paper_id)
        )
        """
    )
    db.execute("CREATE INDEX identifiers_paper ON identifiers(paper_id)")
    db.execute(
        """
        CREATE TABLE duplicates (
            id INTEGER PRIMARY KEY,
            paper_id INTEGER NOT NULL REFERENCES papers(id),
            other_id INTEGER NOT NULL REFERENCES papers(id),
            relation TEXT NOT NULL,
            rule TEXT NOT NULL,
            evidence TEXT NOT NULL,
            created_at TEXT NOT NULL,
            UNIQUE (paper_id, other_id),
            CHECK (paper_id < other_id)
        )
        """
    )
    db.execute("CREATE INDEX duplicates_other ON duplicates(other_id)")
    recording.fill(db)


def m012_lookups(db: sqlite3.Connection) -> None:
    """Create what sources state about papers, what was looked up, and papers without abstract.

    `cited`, `retracted` and `retraction` (the DOI of the notice) are of papers, null while unknown.
    A row of `awaited` has the columns of a paper, and in `source` the JSON of what it was read
    from; it becomes a row of papers when its abstract is found. A row of `lookups` states that a
    row of one of these tables was looked up at a source, and whether it is there.
    """
    for column in ("cited INTEGER", "retracted INTEGER", "retraction TEXT NOT NULL DEFAULT ''"):
        db.execute(f"ALTER TABLE papers ADD COLUMN {column}")
    db.execute(
        """
        CREATE TABLE awaited (
            id INTEGER PRIMARY KEY,
            id_field TEXT NOT NULL,
            source_id TEXT NOT NULL,
            title TEXT NOT NULL,
            authors TEXT NOT NULL,
            published TEXT NOT NULL,
            categories TEXT NOT NULL,
            source TEXT NOT NULL,
            added_at TEXT NOT NULL,
            UNIQUE (source_id, id_field)
        )
        """
    )
    db.execute(
        """
        CREATE TABLE lookups (
            id INTEGER PRIMARY KEY,
            of TEXT NOT NULL,
            row_id INTEGER NOT NULL,
            source TEXT NOT NULL,
            found INTEGER NOT NULL,
            looked_up_at TEXT NOT NULL,
            UNIQUE (of, row_id, source)
        )
        """
    )
