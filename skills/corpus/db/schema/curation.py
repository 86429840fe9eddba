"""Define the migrations of the tables of /curate."""

from __future__ import annotations

import sqlite3


def m006_ballots(db: sqlite3.Connection) -> None:
    """Create ballots, which are found by their content key, and their votes.

    A ballot identifies the annotation by the digests of its moves and abstract, since it need not
    be in the corpus, and a probe never is; `annotation_id` is set if it is. The earlier table
    `votes` was never written.
    """
    db.execute("DROP TABLE IF EXISTS votes")
    db.execute(
        """
        CREATE TABLE ballots (
            id INTEGER PRIMARY KEY,
            key TEXT NOT NULL UNIQUE,
            annotation_id INTEGER REFERENCES annotations(id),
            run_id INTEGER REFERENCES runs(id),
            source_id TEXT NOT NULL,
            input_sha256 TEXT NOT NULL,
            moves_sha256 TEXT NOT NULL,
            probe TEXT,
            model TEXT NOT NULL,
            status TEXT NOT NULL,
            error_type TEXT,
            reason TEXT,
            retryable INTEGER,
            raw_reply TEXT,
            attempts INTEGER NOT NULL,
            created_at TEXT NOT NULL
        )
        """
    )
    db.execute("CREATE INDEX ballots_annotation ON ballots(annotation_id)")
    db.execute(
        """
        CREATE TABLE votes (
            id INTEGER PRIMARY KEY,
            ballot_id INTEGER NOT NULL REFERENCES ballots(id),
            persona TEXT NOT NULL,
            score REAL,
            mass REAL,
            answers TEXT NOT NULL,
            threshold REAL,
            passed INTEGER,
            explanation TEXT,
            prompt_tokens INTEGER NOT NULL,
            cached_tokens INTEGER NOT NULL,
            seconds REAL NOT NULL,
            UNIQUE (ballot_id, persona)
        )
        """
    )


def m007_verdicts(db: sqlite3.Connection) -> None:
    db.execute(
        """
        CREATE TABLE verdicts (
            id INTEGER PRIMARY KEY,
            run_id INTEGER NOT NULL REFERENCES runs(id),
            ballot_id INTEGER REFERENCES ballots(id),
            source_id TEXT NOT NULL,
            probe TEXT,
            decision TEXT NOT NULL,
            votes INTEGER,
            mean REAL,
            reasons TEXT NOT NULL
        )
        """
    )
    db.execute("CREATE INDEX verdicts_run ON verdicts(run_id)")
    db.execute(
        """
        CREATE TABLE judge_forms (
            id INTEGER PRIMARY KEY,
            judge TEXT NOT NULL,
            panel TEXT NOT NULL,
            kind TEXT NOT NULL,
            prefill TEXT NOT NULL,
            mass REAL,
            measured TEXT NOT NULL,
            created_at TEXT NOT NULL,
            UNIQUE (judge, panel)
        )
        """
    )
    db.execute(
        """
        CREATE TABLE calibrations (
            id INTEGER PRIMARY KEY,
            judge TEXT NOT NULL,
            panel TEXT NOT NULL,
            thresholds TEXT NOT NULL,
            min_votes INTEGER NOT NULL,
            reject_rate REAL NOT NULL,
            achieved REAL NOT NULL,
            annotations INTEGER NOT NULL,
            input TEXT NOT NULL,
            why TEXT NOT NULL,
            created_at TEXT NOT NULL
        )
        """
    )
    db.execute("CREATE INDEX calibrations_judge ON calibrations(judge, panel)")


def m011_reviews(db: sqlite3.Connection) -> None:
    """Create what reviewers at one gold table have to know of each other.

    Decisions are in the journal beside the table. A lease keeps a paper for a reviewer until it
    expires, a draft is a text that is being edited; both are found by the key of the paper's id.
    """
    db.execute(
        """
        CREATE TABLE reviews (
            id INTEGER PRIMARY KEY,
            gold TEXT NOT NULL UNIQUE,
            double REAL NOT NULL,
            created_at TEXT NOT NULL
        )
        """
    )
    db.execute(
        """
        CREATE TABLE review_leases (
            id INTEGER PRIMARY KEY,
            review_id INTEGER NOT NULL REFERENCES reviews(id),
            paper TEXT NOT NULL,
            reviewer TEXT NOT NULL,
            expires_at TEXT NOT NULL,
            UNIQUE (review_id, paper, reviewer)
        )
        """
    )
    db.execute(
        """
        CREATE TABLE review_drafts (
            id INTEGER PRIMARY KEY,
            review_id INTEGER NOT NULL REFERENCES reviews(id),
            paper TEXT NOT NULL,
            reviewer TEXT NOT NULL,
            move TEXT NOT NULL,
            text TEXT NOT NULL,
            created_at TEXT NOT NULL,
            UNIQUE (review_id, paper, reviewer, move)
        )
        """
    )
