"""The ids of the rows read so far, in a temporary file: a table may have millions."""

from __future__ import annotations

from skills.corpus.db.temporary import open_temporary


class SeenIds:
    """Where each id occurred first, and with which abstract."""

    def __init__(self) -> None:
        self._db = open_temporary(
            "CREATE TABLE ids (id TEXT PRIMARY KEY, position INTEGER, digest BLOB) WITHOUT ROWID"
        )

    def __enter__(self) -> SeenIds:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def first(self, paper_id: str, position: int, digest: bytes) -> tuple[int, bytes]:
        """Return the position and digest that an id occurred with first: now, or before."""
        row = paper_id, position, digest
        if self._db.execute("INSERT OR IGNORE INTO ids VALUES (?, ?, ?)", row).rowcount:
            return position, digest
        query = "SELECT position, digest FROM ids WHERE id = ?"
        known: tuple[int, bytes] = self._db.execute(query, [paper_id]).fetchone()
        return known
