"""Store leases of papers to reviewers of a gold table, and texts that are being edited.

A lease reserves a paper for a reviewer until the lease expires, so that the paper of a reviewer who
left is offered again. Leases and texts are in the corpus database.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from skills.corpus.db.connection import open_corpus, transaction
from skills.corpus.db.rows import insert, now, one

MINUTES = 30
"""Duration of a lease in minutes; each edit of the paper, and each draft, renews the lease."""
Wanted = tuple[str, int]
"""The key of a paper, and the number of reviewers who may lease it at the same time."""


@dataclass(frozen=True, slots=True)
class Leases:
    """The leases of a gold table, created by `open_leases`.

    Attributes:
        review: the id of the gold table in the database table `reviews`.
        double: the share of papers on which two reviewers decide.
    """

    database: Path
    review: int
    double: float
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def claim(self, reviewer: str, wanted: Sequence[Wanted]) -> str | None:
        """Lease the first free paper of `wanted` to a reviewer, and return its key.

        If the reviewer has leased this paper already, the lease is renewed. All other leases of the
        reviewer end. If no paper is free, nothing changes and the result is None.
        """
        expires_at = self._expiry()
        with open_corpus(self.database) as db, transaction(db):
            holders = self._holders(db)
            for paper, reviewers in wanted:
                held_by = holders.get(paper, ())
                # A reviewer's own lease is renewed even if more reviewers than allowed have leased
                # the paper: another reviewer may have decided on it, and may still have a lease.
                if reviewer not in held_by and len(held_by) >= reviewers:
                    continue
                own = {"review_id": self.review, "reviewer": reviewer}
                _delete(db, "review_leases", **own)
                insert(db, "review_leases", **own, paper=paper, expires_at=expires_at)
                return paper
        return None

    def release(self, reviewer: str, paper: str) -> None:
        """End the reviewer's lease of a paper."""
        with open_corpus(self.database) as db:
            _delete(db, "review_leases", review_id=self.review, reviewer=reviewer, paper=paper)

    def forget_drafts(self, reviewer: str, paper: str) -> None:
        """Delete all texts of a paper that are stored for the reviewer."""
        with open_corpus(self.database) as db:
            _delete(db, "review_drafts", review_id=self.review, reviewer=reviewer, paper=paper)

    def holders(self) -> dict[str, list[str]]:
        """Return the reviewers who hold a lease of each paper, by the key of the paper."""
        with open_corpus(self.database) as db:
            return self._holders(db)

    def _expiry(self) -> str:
        """Return the time at which a lease that begins now expires."""
        return (self.clock() + timedelta(minutes=MINUTES)).isoformat()

    def _holders(self, db: sqlite3.Connection) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        sql = "SELECT paper, reviewer FROM review_leases WHERE review_id = ? AND expires_at > ?"
        for row in db.execute(sql, [self.review, self.clock().isoformat()]):
            found.setdefault(row["paper"], []).append(row["reviewer"])
        return found

    def save_draft(self, reviewer: str, paper: str, move: str, text: str | None) -> None:
        """Store the text of a move that the reviewer is editing; None deletes the stored text.

        The reviewer's lease of the paper is renewed if it has not expired.
        """
        key = {"review_id": self.review, "paper": paper, "reviewer": reviewer, "move": move}
        with open_corpus(self.database) as db, transaction(db):
            db.execute(
                "UPDATE review_leases SET expires_at = ?"
                " WHERE review_id = ? AND paper = ? AND reviewer = ? AND expires_at > ?",
                [self._expiry(), self.review, paper, reviewer, self.clock().isoformat()],
            )
            _delete(db, "review_drafts", **key)
            if text is not None:
                insert(db, "review_drafts", **key, text=text, created_at=now())

    def drafts(self, reviewer: str, paper: str) -> dict[str, str]:
        """Return the texts of a paper that are stored for the reviewer, by move."""
        with open_corpus(self.database) as db:
            rows = db.execute(
                "SELECT move, text FROM review_drafts"
                " WHERE review_id = ? AND paper = ? AND reviewer = ?",
                [self.review, paper, reviewer],
            )
            return {row["move"]: row["text"] for row in rows}


def _delete(db: sqlite3.Connection, table: str, **columns: Any) -> None:
    """Delete the rows of a table that have the given value in each given column."""
    matching = " AND ".join(f"{name} = ?" for name in columns)
    db.execute(
        f"DELETE FROM {table} WHERE {matching}",  # noqa: S608  not user input
        list(columns.values()),
    )


def open_leases(database: Path, gold: Path, double: float | None = None) -> Leases:
    """Return the leases of a gold table, and store its share of papers with two reviewers.

    Args:
        database: the corpus database, which is created if it does not exist.
        double: the new share of papers on which two reviewers decide; None keeps the stored share.
    """
    with open_corpus(database) as db, transaction(db):
        db.execute(
            "INSERT INTO reviews (gold, double, created_at) VALUES (?, ?, ?)"
            " ON CONFLICT (gold) DO UPDATE SET double = coalesce(?, double)",
            [str(gold.resolve()), double or 0.0, now(), double],
        )
        row = one(db, "SELECT id, double FROM reviews WHERE gold = ?", [str(gold.resolve())])
    assert row is not None
    return Leases(database, row["id"], row["double"])
