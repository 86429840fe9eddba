"""The tables of the corpus database, as numbered migrations that are only ever added to.

    papers        an abstract and what is known of it
    annotations   the stored form of one annotation of a paper, and whether it is the current one
    moves         the same in long form, one row a move, with its checks; full text in moves_fts
    failures      papers whose annotation failed, with reason and raw reply, until it succeeds
    runs          one row each time a job was started
    votes         what a panel of personas said of an annotation

Every key is an explicit INTEGER PRIMARY KEY, since an implicit rowid changes with VACUUM and the
full-text tables point at it.
"""

from __future__ import annotations

import sqlite3


def m001_papers(db: sqlite3.Connection) -> None:
    """A paper is its id together with its abstract: ids such as "12" mean nothing elsewhere."""
    db.execute(
        """
        CREATE TABLE papers (
            id INTEGER PRIMARY KEY,
            id_field TEXT NOT NULL,
            source_id TEXT NOT NULL,
            title TEXT NOT NULL,
            authors TEXT NOT NULL,
            published TEXT NOT NULL,
            year INTEGER,
            categories TEXT NOT NULL,
            category TEXT NOT NULL,
            abstract TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            added_at TEXT NOT NULL,
            UNIQUE (source_id, id_field, sha256)
        )
        """
    )
    db.execute("CREATE INDEX papers_year ON papers(year)")
    db.execute("CREATE INDEX papers_category ON papers(category)")
    _full_text(db, "papers", "title", "abstract")


def m002_runs(db: sqlite3.Connection) -> None:
    db.execute(
        """
        CREATE TABLE runs (
            id INTEGER PRIMARY KEY,
            skill TEXT NOT NULL,
            input TEXT NOT NULL,
            model TEXT NOT NULL,
            settings TEXT NOT NULL,
            status TEXT NOT NULL,
            pid INTEGER NOT NULL,
            version TEXT NOT NULL,
            started_at TEXT NOT NULL,
            finished_at TEXT,
            summary TEXT
        )
        """
    )


def m003_annotations(db: sqlite3.Connection) -> None:
    """Of a paper's annotations by one framework, the newest is the current one.

    moves repeats that flag, so that searching and counting need no second table.
    """
    db.execute(
        """
        CREATE TABLE annotations (
            id INTEGER PRIMARY KEY,
            paper_id INTEGER NOT NULL REFERENCES papers(id),
            run_id INTEGER REFERENCES runs(id),
            key TEXT NOT NULL,
            framework TEXT NOT NULL,
            model TEXT NOT NULL,
            current INTEGER NOT NULL,
            record TEXT NOT NULL,
            created_at TEXT NOT NULL,
            UNIQUE (key, paper_id)
        )
        """
    )
    db.execute("CREATE INDEX annotations_paper ON annotations(paper_id, framework, current)")
    db.execute(
        """
        CREATE TABLE moves (
            id INTEGER PRIMARY KEY,
            annotation_id INTEGER NOT NULL REFERENCES annotations(id),
            paper_id INTEGER NOT NULL REFERENCES papers(id),
            current INTEGER NOT NULL,
            move TEXT NOT NULL,
            stated INTEGER NOT NULL,
            text TEXT NOT NULL,
            support REAL,
            copied REAL,
            source_index INTEGER,
            source_score REAL,
            unsupported_numbers INTEGER NOT NULL,
            unsupported_names INTEGER NOT NULL
        )
        """
    )
    db.execute("CREATE INDEX moves_annotation ON moves(annotation_id)")
    db.execute(
        "CREATE INDEX moves_current ON moves(current, move, stated, paper_id, support,"
        " unsupported_numbers, unsupported_names)"
    )
    _full_text(db, "moves", "text")


def m004_failures(db: sqlite3.Connection) -> None:
    db.execute(
        """
        CREATE TABLE failures (
            id INTEGER PRIMARY KEY,
            paper_id INTEGER NOT NULL REFERENCES papers(id),
            run_id INTEGER REFERENCES runs(id),
            key TEXT NOT NULL,
            error_type TEXT NOT NULL,
            reason TEXT NOT NULL,
            retryable INTEGER NOT NULL,
            raw_reply TEXT NOT NULL,
            request TEXT NOT NULL,
            traceback TEXT,
            attempts INTEGER NOT NULL,
            created_at TEXT NOT NULL,
            UNIQUE (key, paper_id)
        )
        """
    )


def m005_votes(db: sqlite3.Connection) -> None:
    db.execute(
        """
        CREATE TABLE votes (
            id INTEGER PRIMARY KEY,
            annotation_id INTEGER NOT NULL REFERENCES annotations(id),
            run_id INTEGER REFERENCES runs(id),
            persona TEXT NOT NULL,
            score REAL,
            passed INTEGER,
            created_at TEXT NOT NULL
        )
        """
    )
    db.execute("CREATE INDEX votes_annotation ON votes(annotation_id)")


MIGRATIONS = (m001_papers, m002_runs, m003_annotations, m004_failures, m005_votes)


def _full_text(db: sqlite3.Connection, table: str, *columns: str) -> None:
    """Give `table` an external-content FTS5 index TABLE_fts, kept true by triggers.

    The update trigger fires for these columns alone: a flag that changes costs no indexing.
    """
    named = ", ".join(columns)
    new, old = (", ".join(f"{row}.{column}" for column in columns) for row in ("new", "old"))
    add = f"INSERT INTO {table}_fts (rowid, {named}) VALUES (new.id, {new});"  # noqa: S608
    drop = (
        f"INSERT INTO {table}_fts ({table}_fts, rowid, {named})"  # noqa: S608
        f" VALUES ('delete', old.id, {old});"
    )
    db.execute(
        f"CREATE VIRTUAL TABLE {table}_fts USING fts5"
        f" ({named}, content='{table}', content_rowid='id', tokenize='porter unicode61')"
    )
    db.execute(f"CREATE TRIGGER {table}_added AFTER INSERT ON {table} BEGIN {add} END")
    db.execute(f"CREATE TRIGGER {table}_removed AFTER DELETE ON {table} BEGIN {drop} END")
    db.execute(
        f"CREATE TRIGGER {table}_changed AFTER UPDATE OF {named} ON {table} BEGIN {drop} {add} END"
    )
