"""The tables of the corpus database, as numbered migrations that are only ever added to.

    papers        an abstract and what is known of it
    annotations   the stored form of one annotation of a paper, and whether it is the current one
    moves         the same in long form, one row a move, with its checks; full text in moves_fts
    failures      papers whose annotation failed, with reason and raw reply, until it succeeds
    runs          one row each time a job was started
    ballots       an annotation or a probe that /curate put to a panel, or why that failed
    votes         each persona's score on a ballot, and how it counted last
    verdicts      what a run of /curate decided about a row of its input
    judge_forms   how a judge is asked for its one token, as it was measured
    calibrations  thresholds that were set for a judge by --calibrate

Every key is an explicit INTEGER PRIMARY KEY, since an implicit rowid changes with VACUUM and the
full-text tables point at it.
"""

from __future__ import annotations

import sqlite3

from skills.corpus.db.schema_curation import m006_ballots, m007_verdicts


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
    # In the order of the rows, as annotations_paper is, and without their long abstracts.
    db.execute("CREATE INDEX papers_facets ON papers(id, year, category, categories)")
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
    """Of a paper's annotations by one framework, the one made or asked for last is current.

    What is asked for often is written down where it is asked: a move has its annotation's framework
    and flag, and the words of its facets for the full-text index (facets.py); an annotation has the
    names of the moves it states, in order and parted by blanks, their mean support, and how many
    numbers and names of theirs the abstract does not hold. Records and abstracts are long, so the
    statistics and filters read indexes alone: papers_facets, annotations_paper, moves_current.
    """
    _annotations(db)
    _moves(db)


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


MIGRATIONS = (
    m001_papers,
    m002_runs,
    m003_annotations,
    m004_failures,
    m005_votes,
    m006_ballots,
    m007_verdicts,
)


def _annotations(db: sqlite3.Connection) -> None:
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
            stated TEXT NOT NULL,
            support REAL,
            unsupported INTEGER NOT NULL,
            record TEXT NOT NULL,
            created_at TEXT NOT NULL,
            UNIQUE (key, paper_id)
        )
        """
    )
    db.execute(
        "CREATE INDEX annotations_paper ON annotations(paper_id, current, framework, stated,"
        " support, unsupported, model)"
    )


def _moves(db: sqlite3.Connection) -> None:
    db.execute(
        """
        CREATE TABLE moves (
            id INTEGER PRIMARY KEY,
            annotation_id INTEGER NOT NULL REFERENCES annotations(id),
            paper_id INTEGER NOT NULL REFERENCES papers(id),
            framework TEXT NOT NULL,
            current INTEGER NOT NULL,
            move TEXT NOT NULL,
            stated INTEGER NOT NULL,
            text TEXT NOT NULL,
            facets TEXT NOT NULL,
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
        "CREATE INDEX moves_current ON moves(framework, move, stated, support,"
        " unsupported_numbers, unsupported_names) WHERE current = 1"
    )
    # "Not stated." is no text of the abstract: "state" would find it in every second paper.
    _full_text(db, "moves", "text", "facets", only="stated")


def _full_text(db: sqlite3.Connection, table: str, *columns: str, only: str = "") -> None:
    """Give `table` an external-content FTS5 index TABLE_fts, kept true by triggers.

    The name of the table is in double quotes since datasette finds its index by them. The update
    trigger fires for these columns alone: a flag that changes costs no indexing.

    Args:
        only: the column that says whether a row is indexed at all.
    """
    named = ", ".join(columns)
    new, old = (", ".join(f"{row}.{column}" for column in columns) for row in ("new", "old"))
    if_new, if_old = (f" WHERE {row}.{only}" if only else "" for row in ("new", "old"))
    add = f"INSERT INTO {table}_fts (rowid, {named}) SELECT new.id, {new}{if_new};"
    drop = (
        f"INSERT INTO {table}_fts ({table}_fts, rowid, {named})"
        f" SELECT 'delete', old.id, {old}{if_old};"
    )
    db.execute(
        f"CREATE VIRTUAL TABLE {table}_fts USING fts5 ({named},"
        f""" content="{table}", content_rowid="id", tokenize="porter unicode61")"""
    )
    watched = f"{named}, {only}" if only else named
    for name, event, work in (
        ("added", "INSERT", add),
        ("removed", "DELETE", drop),
        ("changed", f"UPDATE OF {watched}", f"{drop} {add}"),
    ):
        db.execute(f"CREATE TRIGGER {table}_{name} AFTER {event} ON {table} BEGIN {work} END")
