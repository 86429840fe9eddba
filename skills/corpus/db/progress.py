"""How far the running jobs of a corpus are, from what they have stored."""

from __future__ import annotations

import bisect
import sqlite3
import time
from dataclasses import dataclass
from threading import Lock

from skills.corpus.db.rows import Row, stored_json

ANNOTATE = ("annotate", "evaluate")
"""Skills whose jobs add annotations. Of jobs other than these and /curate, nothing is counted."""
INTERVAL = 0.9
"""Seconds for which what was read is returned again: several readers may ask at once."""


@dataclass(slots=True)
class RunProgress:
    """A job that is running, or was killed.

    Attributes:
        done, failed: what it has stored so far.
        due: what it has to do; None if its row does not state it.
    """

    run: int
    skill: str
    input: str
    model: str
    started_at: str
    due: int | None
    is_alive: bool
    done: int = 0
    failed: int = 0
    seen: int | None = None
    """The last annotation that was counted."""


class RunningJobs:
    """Counts the rows of running jobs; an annotation is read once, however long a job takes."""

    def __init__(self) -> None:
        self._known: dict[int, RunProgress] = {}
        self._lock = Lock()
        self._read_at = 0.0

    def read(self, db: sqlite3.Connection) -> list[RunProgress]:
        """Return the jobs that have not ended, the last one first."""
        with self._lock:
            if time.monotonic() - self._read_at > INTERVAL:
                self._update(db)
                self._read_at = time.monotonic()
            return list(self._known.values())

    def _update(self, db: sqlite3.Connection) -> None:
        rows = db.execute(
            "SELECT id, skill, input, model, settings, started_at, pid FROM runs"
            " WHERE status = 'running' ORDER BY id DESC"
        ).fetchall()
        self._known = {row["id"]: self._known.get(row["id"]) or _new(row) for row in rows}
        for row in rows:
            one = self._known[row["id"]]
            one.is_alive, one.due = is_alive(row["pid"]), due(row)
            if one.skill in ANNOTATE:
                _count_annotations(db, one)
            elif one.skill == "curate":
                _count_ballots(db, one)


def is_alive(pid: int) -> bool:
    """Return True if there is a process of this number."""
    import psutil

    return psutil.pid_exists(pid)


def due(row: Row) -> int | None:
    """Return what a job has to do, from its row of `runs`; None if the row does not state it."""
    settings = stored_json(row["settings"])
    known = settings.get("due") if isinstance(settings, dict) else None
    return known if isinstance(known, int) else None


def _new(row: Row) -> RunProgress:
    return RunProgress(
        run=row["id"],
        skill=row["skill"],
        input=row["input"],
        model=row["model"],
        started_at=row["started_at"],
        due=due(row),
        is_alive=True,
    )


def _count_annotations(db: sqlite3.Connection, one: RunProgress) -> None:
    """Add what has been stored since a run was read last."""
    if one.seen is None:
        one.seen = _before(db, one.started_at)
    count, last = db.execute(
        "SELECT sum(run_id = ?), max(id) FROM annotations WHERE id > ?", [one.run, one.seen]
    ).fetchone()
    one.done += count or 0
    one.seen = last or one.seen
    # A repeated failure replaces the row, so all are counted.
    [one.failed] = db.execute(
        "SELECT count(*) FROM failures WHERE run_id = ?", [one.run]
    ).fetchone()


def _count_ballots(db: sqlite3.Connection, one: RunProgress) -> None:
    """Count all ballots of a run: their rows are inserted with the first vote, and completed."""
    one.done, one.failed = db.execute(
        "SELECT count(*) FILTER (WHERE status = 'done'), count(*) FILTER (WHERE status = 'failed')"
        " FROM ballots WHERE run_id = ?",
        [one.run],
    ).fetchone()


def _before(db: sqlite3.Connection, started_at: str) -> int:
    """Return the id of the last annotation from before a time; rows are in its order."""

    def made_at(number: int) -> str:
        sql = "SELECT created_at FROM annotations WHERE id >= ? ORDER BY id LIMIT 1"
        return str(db.execute(sql, [number]).fetchone()[0])

    [last] = db.execute("SELECT coalesce(max(id), 0) FROM annotations").fetchone()
    return bisect.bisect_left(range(1, last + 1), started_at, key=made_at)
