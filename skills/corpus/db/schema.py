"""Define the tables of the corpus database.

    papers          one abstract as one source states it, with its metadata
    annotations     the record of an annotation, and whether it is the current annotation
    moves           the moves of each annotation, one row for each move, with their checks
    failures        papers that could not be annotated, with the reason and the raw reply
    runs            one row for each start of a job
    ballots         the panel's judgement of an annotation or a probe, or why the panel failed
    votes           the score of each persona on a ballot, and whether the vote passed
    verdicts        the decision of a run of /curate on each row of its input
    judge_forms     the form of question that a judge answers best, as measured
    calibrations    the thresholds that `/curate --calibrate` has set for a judge
    identifiers     the identifiers, title keys and Zotero keys of each row of `papers`
    duplicates      pairs of rows that were merged, linked or split, and the rule that decided
    reviews         gold tables of /curate --review, and the share of papers for two reviewers
    review_leases   papers that are reserved for a reviewer until a time
    review_drafts   texts of moves that a reviewer has edited but not submitted
    measures        figures that /evaluate has computed, by digest of the function and its arguments
    embedding       the model of the vectors, and the id of the last move that was processed
    vectors         the vector of each stated move, one signed byte for each dimension
    vector_blocks   the signs of thousands of vectors of one move, and the ids of rows of `moves`
    awaited         papers without an abstract, until a source states the abstract
    lookups         the last lookup of a row of `papers` or `awaited` at each source, and the result
    zotero_highlights   highlights and comments of people in PDF files of Zotero

Every primary key is declared as INTEGER PRIMARY KEY, since the full-text tables refer to the rowid.
VACUUM may change the rowid of a table without this declaration.

Some values are stored twice, for speed. `moves` repeats the framework and the flag `current` of the
annotation, and has the facet words of the full-text index (facets.py). `annotations` has the names
of the stated moves, separated by blanks, and the mean support of these moves. The column
`unsupported` counts the numbers and names that the abstract lacks, in all moves. Most statistics
and filters thus read only the indexes papers_facets, annotations_paper and moves_current, and not
the long records and abstracts.

Rows of the same paper are not combined, so that a merged pair can be split without loss; the pair
is listed in `duplicates`. In `identifiers`, the kind "title" is a key that finds candidates for
a merge, not an identifier. In `papers`, the columns `cited`, `retracted` and `retraction` (the DOI
of the notice) are null or empty until a lookup.

A ballot names its annotation by the digests of the moves and the abstract, because probes and
annotations from files are not in the corpus; their ballots have no `annotation_id`. Missing vectors
are computed before a search by meaning. A block stores the signs of many vectors in one value,
because reading one row for each vector would take seconds.
"""

from __future__ import annotations

import sqlite3

TOKENIZER = "porter unicode61"
"""The FTS5 tokenizer, which ignores case, accents and the endings of English words."""

_TABLES = """
CREATE TABLE papers (
    id INTEGER PRIMARY KEY, id_field TEXT NOT NULL, source_id TEXT NOT NULL, title TEXT NOT NULL,
    authors TEXT NOT NULL, published TEXT NOT NULL, year INTEGER, categories TEXT NOT NULL,
    category TEXT NOT NULL, abstract TEXT NOT NULL, sha256 TEXT NOT NULL, added_at TEXT NOT NULL,
    venue TEXT NOT NULL DEFAULT '', cited INTEGER, retracted INTEGER,
    retraction TEXT NOT NULL DEFAULT '',
    UNIQUE (source_id, id_field, sha256)
);
CREATE INDEX papers_year ON papers(year);
CREATE INDEX papers_category ON papers(category);
CREATE INDEX papers_facets ON papers(id, year, category, categories);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, skill TEXT NOT NULL, input TEXT NOT NULL, model TEXT NOT NULL,
    settings TEXT NOT NULL, status TEXT NOT NULL, pid INTEGER NOT NULL, version TEXT NOT NULL,
    started_at TEXT NOT NULL, finished_at TEXT, summary TEXT
);
CREATE TABLE annotations (
    id INTEGER PRIMARY KEY, paper_id INTEGER NOT NULL REFERENCES papers(id),
    run_id INTEGER REFERENCES runs(id), key TEXT NOT NULL, framework TEXT NOT NULL,
    model TEXT NOT NULL, current INTEGER NOT NULL, stated TEXT NOT NULL, support REAL,
    unsupported INTEGER NOT NULL, record TEXT NOT NULL, created_at TEXT NOT NULL,
    UNIQUE (key, paper_id)
);
CREATE INDEX annotations_paper
    ON annotations(paper_id, current, framework, stated, support, unsupported, model);
CREATE TABLE moves (
    id INTEGER PRIMARY KEY, annotation_id INTEGER NOT NULL REFERENCES annotations(id),
    paper_id INTEGER NOT NULL REFERENCES papers(id), framework TEXT NOT NULL,
    current INTEGER NOT NULL, move TEXT NOT NULL, stated INTEGER NOT NULL, text TEXT NOT NULL,
    facets TEXT NOT NULL, support REAL, copied REAL, source_index INTEGER, source_score REAL,
    unsupported_numbers INTEGER NOT NULL, unsupported_names INTEGER NOT NULL
);
CREATE INDEX moves_annotation ON moves(annotation_id);
CREATE INDEX moves_current
    ON moves(framework, move, stated, support, unsupported_numbers, unsupported_names)
    WHERE current = 1;
CREATE TABLE failures (
    id INTEGER PRIMARY KEY, paper_id INTEGER NOT NULL REFERENCES papers(id),
    run_id INTEGER REFERENCES runs(id), key TEXT NOT NULL, error_type TEXT NOT NULL,
    reason TEXT NOT NULL, retryable INTEGER NOT NULL, raw_reply TEXT NOT NULL,
    request TEXT NOT NULL, traceback TEXT, attempts INTEGER NOT NULL, created_at TEXT NOT NULL,
    UNIQUE (key, paper_id)
);
CREATE TABLE ballots (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,
    annotation_id INTEGER REFERENCES annotations(id), run_id INTEGER REFERENCES runs(id),
    source_id TEXT NOT NULL, input_sha256 TEXT NOT NULL, moves_sha256 TEXT NOT NULL, probe TEXT,
    model TEXT NOT NULL, status TEXT NOT NULL, error_type TEXT, reason TEXT, retryable INTEGER,
    raw_reply TEXT, attempts INTEGER NOT NULL, created_at TEXT NOT NULL
);
CREATE INDEX ballots_annotation ON ballots(annotation_id);
CREATE TABLE votes (
    id INTEGER PRIMARY KEY, ballot_id INTEGER NOT NULL REFERENCES ballots(id),
    persona TEXT NOT NULL, score REAL, mass REAL, answers TEXT NOT NULL, threshold REAL,
    passed INTEGER, explanation TEXT, prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL, seconds REAL NOT NULL,
    UNIQUE (ballot_id, persona)
);
CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL REFERENCES runs(id),
    ballot_id INTEGER REFERENCES ballots(id), source_id TEXT NOT NULL, probe TEXT,
    decision TEXT NOT NULL, votes INTEGER, mean REAL, reasons TEXT NOT NULL
);
CREATE INDEX verdicts_run ON verdicts(run_id);
CREATE TABLE judge_forms (
    id INTEGER PRIMARY KEY, judge TEXT NOT NULL, panel TEXT NOT NULL, kind TEXT NOT NULL,
    prefill TEXT NOT NULL, mass REAL, measured TEXT NOT NULL, created_at TEXT NOT NULL,
    UNIQUE (judge, panel)
);
CREATE TABLE calibrations (
    id INTEGER PRIMARY KEY, judge TEXT NOT NULL, panel TEXT NOT NULL, thresholds TEXT NOT NULL,
    min_votes INTEGER NOT NULL, reject_rate REAL NOT NULL, achieved REAL NOT NULL,
    annotations INTEGER NOT NULL, input TEXT NOT NULL, why TEXT NOT NULL, created_at TEXT NOT NULL
);
CREATE INDEX calibrations_judge ON calibrations(judge, panel);
CREATE TABLE measures (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, code TEXT NOT NULL, measured TEXT NOT NULL
);
CREATE TABLE identifiers (
    id INTEGER PRIMARY KEY, paper_id INTEGER NOT NULL REFERENCES papers(id), kind TEXT NOT NULL,
    value TEXT NOT NULL,
    UNIQUE (kind, value, paper_id)
);
CREATE INDEX identifiers_paper ON identifiers(paper_id);
CREATE TABLE duplicates (
    id INTEGER PRIMARY KEY, paper_id INTEGER NOT NULL REFERENCES papers(id),
    other_id INTEGER NOT NULL REFERENCES papers(id), relation TEXT NOT NULL, rule TEXT NOT NULL,
    evidence TEXT NOT NULL, created_at TEXT NOT NULL,
    UNIQUE (paper_id, other_id),
    CHECK (paper_id < other_id)
);
CREATE INDEX duplicates_other ON duplicates(other_id);
CREATE TABLE embedding (
    id INTEGER PRIMARY KEY CHECK (id = 1), model TEXT NOT NULL, digest TEXT NOT NULL,
    last_move INTEGER NOT NULL
);
CREATE TABLE vectors (
    move_id INTEGER PRIMARY KEY REFERENCES moves(id) ON DELETE CASCADE, vector BLOB NOT NULL
);
CREATE TABLE vector_blocks (
    id INTEGER PRIMARY KEY, framework TEXT NOT NULL, move TEXT NOT NULL, size INTEGER NOT NULL,
    move_ids BLOB NOT NULL, signs BLOB NOT NULL
);
CREATE INDEX vector_blocks_move ON vector_blocks(framework, move, size);
CREATE TABLE reviews (
    id INTEGER PRIMARY KEY, gold TEXT NOT NULL UNIQUE, double REAL NOT NULL,
    created_at TEXT NOT NULL
);
CREATE TABLE review_leases (
    id INTEGER PRIMARY KEY, review_id INTEGER NOT NULL REFERENCES reviews(id),
    paper TEXT NOT NULL, reviewer TEXT NOT NULL, expires_at TEXT NOT NULL,
    UNIQUE (review_id, paper, reviewer)
);
CREATE TABLE review_drafts (
    id INTEGER PRIMARY KEY, review_id INTEGER NOT NULL REFERENCES reviews(id),
    paper TEXT NOT NULL, reviewer TEXT NOT NULL, move TEXT NOT NULL, text TEXT NOT NULL,
    created_at TEXT NOT NULL,
    UNIQUE (review_id, paper, reviewer, move)
);
CREATE TABLE awaited (
    id INTEGER PRIMARY KEY, id_field TEXT NOT NULL, source_id TEXT NOT NULL, title TEXT NOT NULL,
    authors TEXT NOT NULL, published TEXT NOT NULL, categories TEXT NOT NULL, source TEXT NOT NULL,
    added_at TEXT NOT NULL,
    UNIQUE (source_id, id_field)
);
CREATE TABLE lookups (
    id INTEGER PRIMARY KEY, of TEXT NOT NULL, row_id INTEGER NOT NULL, source TEXT NOT NULL,
    found INTEGER NOT NULL, looked_up_at TEXT NOT NULL,
    UNIQUE (of, row_id, source)
)
"""


def m012_lookups(db: sqlite3.Connection) -> None:
    """Create the full-text indexes, and all tables except `zotero_highlights`.

    The function has the name of the last migration before 0.1.0, so that a corpus with that
    migration is not migrated again.
    """
    for statement in _TABLES.split(";"):
        db.execute(statement)
    _full_text(db, "papers", "title", "abstract")
    # "Not stated." is not indexed: otherwise a search for "state" would find most papers.
    _full_text(db, "moves", "text", "facets", only="stated")


def m013_zotero_highlights(db: sqlite3.Connection) -> None:
    """Create the table of highlights that people made in Zotero."""
    db.execute(
        "CREATE TABLE zotero_highlights ("
        "id INTEGER PRIMARY KEY, paper_id INTEGER NOT NULL REFERENCES papers(id),"
        " library TEXT NOT NULL, attachment TEXT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL,"
        " version INTEGER NOT NULL, tags TEXT NOT NULL, text TEXT NOT NULL, comment TEXT NOT NULL,"
        " page TEXT NOT NULL, sort TEXT NOT NULL, author TEXT NOT NULL,"
        " chosen INTEGER NOT NULL, UNIQUE (library, key, kind, paper_id))"
    )
    db.execute("CREATE INDEX zotero_highlights_paper ON zotero_highlights(paper_id)")


def m014_run_indexes(db: sqlite3.Connection) -> None:
    """Create the indexes by which the results of a job are counted."""
    db.execute("CREATE INDEX annotations_run ON annotations(run_id) WHERE run_id IS NOT NULL")
    db.execute("CREATE INDEX failures_run ON failures(run_id)")
    db.execute("CREATE INDEX ballots_run ON ballots(run_id, status)")


def _full_text(db: sqlite3.Connection, table: str, *columns: str, only: str = "") -> None:
    """Create the external-content FTS5 index `TABLE_fts`, and the triggers that update it.

    The name of the content table is in double quotes, because datasette requires them to detect the
    index. The update trigger is limited to the indexed columns and `only`, so that a change of the
    flag `current` does not index the row again.

    Args:
        columns: the columns to index.
        only: a column that is 1 in the rows to index; "" to index all rows.
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


MIGRATIONS = (m012_lookups, m013_zotero_highlights, m014_run_indexes)
