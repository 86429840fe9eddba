"""Write the table `runs`: one row for each start of a job."""

from __future__ import annotations

import bisect
import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal

from harness._version import __version__
from harness.errors import HarnessError, Interrupted
from harness.support.process import is_alive
from skills.corpus.db.connection import transaction
from skills.corpus.db.rows import Row, insert, now, stored_json, update

Status = Literal["running", "done", "failed", "interrupted"]
ANNOTATE = ("annotate", "evaluate")
"""Skills whose jobs add annotations; of the other skills, only /curate has progress."""
INTERVAL = 0.9
"""Seconds for which the same progress is returned, since several pages may query it."""


def start(
    db: sqlite3.Connection, *, skill: str, source: str, model: str, settings: Mapping[str, Any]
) -> int:
    """Record the start of a job and return the id of its row.

    A row with the status "running" and without a process is a job that was killed.
    """
    with transaction(db):
        return insert(
            db,
            "runs",
            skill=skill,
            input=source,
            model=model,
            settings=json.dumps(settings, ensure_ascii=False),
            status="running",
            pid=os.getpid(),
            version=__version__,
            started_at=now(),
        )


def set_due(db: sqlite3.Connection, run_id: int, due: int) -> None:
    """Record the number of rows to process, if it is known only after the start of a job."""
    with transaction(db):
        db.execute(
            "UPDATE runs SET settings = json_set(settings, '$.due', ?) WHERE id = ?", [due, run_id]
        )


def finish(db: sqlite3.Connection, run_id: int, status: Status, summary: Mapping[str, Any]) -> None:
    """Record the end of a job."""
    text = json.dumps(summary, ensure_ascii=False)
    with transaction(db):
        update(db, "runs", run_id, status=status, summary=text, finished_at=now())


@contextlib.contextmanager
def recorded(db: sqlite3.Connection, run_id: Callable[[], int]) -> Iterator[None]:
    """Record the end of a job if an exception ends the block before the summary.

    Args:
        run_id: returns the id of the row, or 0 before the row exists.
    """
    try:
        yield
    except BaseException as error:
        if run_id():
            stopped = isinstance(error, KeyboardInterrupt | Interrupted)
            with contextlib.suppress(Exception):  # the original error is reported
                status: Status = "interrupted" if stopped else "failed"
                finish(db, run_id(), status, {"error": str(error)})
        raise


def status_of(stopped: HarnessError | None, failed: int) -> Status:
    """Return the status of a job, from the error that stopped it and its number of failed rows."""
    if isinstance(stopped, Interrupted):
        return "interrupted"
    return "failed" if stopped or failed else "done"


@dataclass(slots=True)
class RunProgress:
    """The progress of a job that is running or was killed.

    Attributes:
        done, failed: number of stored annotations or ballots, and of failures.
        due: number of rows to process; None if it is not recorded.
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
    """The id of the last annotation that was counted."""


class RunningJobs:
    """Counts the rows of running jobs, reading each annotation only once."""

    def __init__(self) -> None:
        self._known: dict[int, RunProgress] = {}
        self._lock = Lock()
        self._read_at = 0.0

    def read(self, db: sqlite3.Connection) -> list[RunProgress]:
        """Return the jobs that have not ended, the latest first."""
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


def due(row: Row) -> int | None:
    """Return the number of rows that a job has to process, or None if it is not recorded."""
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
    """Count the annotations that were stored after the last call, and all failures."""
    if one.seen is None:
        one.seen = _before(db, one.started_at)
    count, last = db.execute(
        "SELECT sum(run_id = ?), max(id) FROM annotations WHERE id > ?", [one.run, one.seen]
    ).fetchone()
    one.done += count or 0
    one.seen = last or one.seen
    # A repeated failure replaces its row, so that all failures are counted.
    [one.failed] = db.execute(
        "SELECT count(*) FROM failures WHERE run_id = ?", [one.run]
    ).fetchone()


def _count_ballots(db: sqlite3.Connection, one: RunProgress) -> None:
    """Count all ballots of a run; a row is inserted with the first vote and completed later."""
    one.done, one.failed = db.execute(
        "SELECT count(*) FILTER (WHERE status = 'done'), count(*) FILTER (WHERE status = 'failed')"
        " FROM ballots WHERE run_id = ?",
        [one.run],
    ).fetchone()


def _before(db: sqlite3.Connection, started_at: str) -> int:
    """Return the id of the last annotation before a time; ids are in the order of time."""

    def made_at(number: int) -> str:
        sql = "SELECT created_at FROM annotations WHERE id >= ? ORDER BY id LIMIT 1"
        return str(db.execute(sql, [number]).fetchone()[0])

    [last] = db.execute("SELECT coalesce(max(id), 0) FROM annotations").fetchone()
    return bisect.bisect_left(range(1, last + 1), started_at, key=made_at)
