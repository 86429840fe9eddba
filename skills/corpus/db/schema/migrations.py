"""Define the tables of the corpus database as numbered, append-only migrations.

    papers        an abstract with its metadata
    annotations   the record of an annotation of a paper, and whether it is the current one
    moves         the same in long form, one row per move, with its checks; full text in moves_fts
    failures      papers whose annotation failed, with reason and raw reply, until it succeeds
    runs          one row for each start of a job
    ballots       the judgement of an annotation or probe by a panel of /curate, or its failure
    votes         each persona's score on a ballot, and whether it passed
    verdicts      the decision of a run of /curate on a row of its input
    judge_forms   the measured question form of a judge
    calibrations  thresholds of a judge set by --calibrate
    identifiers   the DOI, arXiv id, PMID, OpenAlex id and keys of the title of each row of papers
    duplicates    pairs of rows that are one paper, or preprint and published version; by which rule
    reviews       the gold tables of /curate --review, and the share of papers for two reviewers
    review_leases, review_drafts    papers that reviewers have, and texts that they are editing
    measures      figures that /evaluate has computed, by the digest of the texts measured
    embedding     the model of the vectors, and up to which move there are vectors
    vectors       the vector of a stated move, a signed byte for each dimension
    vector_blocks of some thousand moves of one name: their ids, and the signs of their vectors
    awaited       papers without an abstract, until it is found
    lookups       at which source a row of papers or awaited was looked up, and whether it is there

Every key is an explicit INTEGER PRIMARY KEY, since VACUUM changes an implicit rowid, which the
full-text tables refer to.
"""

from __future__ import annotations

import sqlite3

from skills.corpus.db.schema.curation import m006_ballots, m007_verdicts, m011_reviews
from skills.corpus.db.schema.works import m009_identity, m012_lookups

TOKENIZER = "porter unicode61"
"""Of the full-text indexes: words of any script, without case, accents and English inflections."""


def m001_papers(db: sqlite3.Connection) -> None:
    """Create papers, identified by id and abstract: an id such as "12" is not unique."""
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
    # In row order, like annotations_paper, and without the long abstracts.
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
    """Create annotations and moves; the last made or requested annotation of a paper is current.

    Values that are often queried are denormalized: a move has its annotation's framework and flag,
    and the words of its facets for the full-text index (facets.py); an annotation has the names of
    its stated moves in order, separated by blanks, their mean support, and the number of their
    numbers and names that are not in the abstract. Records and abstracts are long, so statistics
    and filters read only indexes: papers_facets, annotations_paper, moves_current.
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


def m005_votes(_db: sqlite3.Connection) -> None:
    """Do nothing: this created a table `votes`, never written, that m006 replaced."""


def m008_measures(db: sqlite3.Connection) -> None:
    """Create measures; `code` is the digest of the code that computed them."""
    db.execute(
        """
        CREATE TABLE measures (
            id INTEGER PRIMARY KEY,
            key TEXT NOT NULL UNIQUE,
            code TEXT NOT NULL,
            measured TEXT NOT NULL
        )
        """
    )


def m010_vectors(db: sqlite3.Connection) -> None:
    """Create the tables of the vectors, which the first search by meaning fills.

    A row for each vector would take seconds to read in every search. The signs of thousands are one
    value, and only the vectors of the nearest are read.
    """
    db.execute(
        """
        CREATE TABLE embedding (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            model TEXT NOT NULL,
            digest TEXT NOT NULL,
            last_move INTEGER NOT NULL
        )
        """
    )
    db.execute(
        """
        CREATE TABLE vectors (
            move_id INTEGER PRIMARY KEY REFERENCES moves(id) ON DELETE CASCADE,
            vector BLOB NOT NULL
        )
        """
    )
    db.execute(
        """
        CREATE TABLE vector_blocks (
            id INTEGER PRIMARY KEY,
            framework TEXT NOT NULL,
            move TEXT NOT NULL,
            size INTEGER NOT NULL,
            move_ids BLOB NOT NULL,
            signs BLOB NOT NULL
        )
        """
    )
    db.execute("CREATE INDEX vector_blocks_move ON vector_blocks(framework, move, size)")


MIGRATIONS = (
    m001_papers,
    m002_runs,
    m003_annotations,
    m004_failures,
    m005_votes,
    m006_ballots,
    m007_verdicts,
    m008_measures,
    m009_identity,
    m010_vectors,
    m011_reviews,
    m012_lookups,
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
    # "Not stated." is not indexed: a search for "state" would find every second paper.
    _full_text(db, "moves", "text", "facets", only="stated")


def _full_text(db: sqlite3.Connection, table: str, *columns: str, only: str = "") -> None:
    """Create an external-content FTS5 index TABLE_fts of `table`, updated by triggers.

    The name of the table is in double quotes, by which datasette finds the index. The update
    trigger fires only for these columns: changing a flag does not index the row again.

    Args:
        only: a column that is 1 for the rows to index.
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
        f""" content="{table}", content_rowid="id", tokenize="{TOKENIZER}")"""
    )
    watched = f"{named}, {only}" if only else named
    for name, event, work in (
        ("added", "INSERT", add),
        ("removed", "DELETE", drop),
        ("changed", f"UPDATE OF {watched}", f"{drop} {add}"),
    ):
        db.execute(f"CREATE TRIGGER {table}_{name} AFTER {event} ON {table} BEGIN {work} END")
