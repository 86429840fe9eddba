"""Record each start of a job in the table `runs`, and read the progress of running jobs."""

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
"""The skills whose progress is the number of stored annotations."""
INTERVAL = 0.9
"""Seconds for which `RunningJobs.read` returns the same progress without a query."""


def start(
    db: sqlite3.Connection, *, skill: str, source: str, model: str, settings: Mapping[str, Any]
) -> int:
    """Insert a row with the status "running" for a new job, and return its id.

    If a job is killed, its row keeps the status "running".
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
    """Record the number of papers to process, for jobs that count them after the start."""
    with transaction(db):
        db.execute(
            "UPDATE runs SET settings = json_set(settings, '$.due', ?) WHERE id = ?", [due, run_id]
        )


def finish(db: sqlite3.Connection, run_id: int, status: Status, summary: Mapping[str, Any]) -> None:
    """Record the status and the summary of a job that has ended."""
    text = json.dumps(summary, ensure_ascii=False)
    with transaction(db):
        update(db, "runs", run_id, status=status, summary=text, finished_at=now())


@contextlib.contextmanager
def recorded(db: sqlite3.Connection, run_id: Callable[[], int]) -> Iterator[None]:
    """If the block raises an exception, record the job as failed or interrupted.

    Args:
        run_id: returns the id of the job's row, or 0 while the row does not exist.
    """
    try:
        yield
    except BaseException as error:
        if run_id():
            stopped = isinstance(error, KeyboardInterrupt | Interrupted)
            with contextlib.suppress(Exception):  # so that the original error is raised
                status: Status = "interrupted" if stopped else "failed"
                finish(db, run_id(), status, {"error": str(error)})
        raise


def status_of(stopped: HarnessError | None, failed: int) -> Status:
    """Return the status of a job that has ended.

    Args:
        stopped: the error that stopped the job, or None.
        failed: number of failed papers.
    """
    if isinstance(stopped, Interrupted):
        return "interrupted"
    return "failed" if stopped or failed else "done"


@dataclass(slots=True)
class RunProgress:
    """The progress of a job with the status "running"; the job may have been killed.

    Attributes:
        run: the id of the job's row in `runs`.
        input: the table that the job processes.
        due: number of papers to process; None if it was not recorded.
        is_alive: False if the process of the job has ended.
        done: number of stored annotations, or of complete ballots.
        failed: number of failures.
        seen: the id of the last annotation that was counted; None before the first count.
    """

    run: int
    skill: str
    input: str
    model: str
    started_at: str
    due: int | None = None
    is_alive: bool = True
    done: int = 0
    failed: int = 0
    seen: int | None = None


class RunningJobs:
    """Reads the progress of running jobs; thread-safe. Each annotation is counted only once."""

    def __init__(self) -> None:
        self._known: dict[int, RunProgress] = {}
        self._lock = Lock()
        self._read_at = 0.0

    def read(self, db: sqlite3.Connection) -> list[RunProgress]:
        """Return the progress of the jobs with the status "running", the latest first."""
        with self._lock:
            if time.monotonic() - self._read_at > INTERVAL:
                self._update(db)
                self._read_at = time.monotonic()
            return list(self._known.values())

    def _update(self, db: sqlite3.Connection) -> None:
        rows = db.execute(
            "SELECT id, skill, input, model, started_at, settings, pid FROM runs"
            " WHERE status = 'running' ORDER BY id DESC"
        ).fetchall()
        before, self._known = self._known, {}
        for row in rows:
            run, skill, source, model, started_at, _, pid = row
            one = before.get(run) or RunProgress(run, skill, source, model, started_at)
            self._known[run] = one
            one.is_alive, one.due = is_alive(pid), due(row)
            if one.skill in ANNOTATE:
                _count_annotations(db, one)
            elif one.skill == "curate":
                _count_ballots(db, one)


def due(row: Row) -> int | None:
    """Return the number of papers that a job has to process, or None if it was not recorded."""
    settings = stored_json(row["settings"])
    known = settings.get("due") if isinstance(settings, dict) else None
    return known if isinstance(known, int) else None


def _count_annotations(db: sqlite3.Connection, one: RunProgress) -> None:
    """Add the annotations that were stored since the last call, and count all failures again."""
    if one.seen is None:
        one.seen = _before(db, one.started_at)
    count, last = db.execute(
        "SELECT sum(run_id = ?), max(id) FROM annotations WHERE id > ?", [one.run, one.seen]
    ).fetchone()
    one.done += count or 0
    one.seen = last or one.seen
    # A repeated failure replaces its row, so that an increment would count it twice.
    [one.failed] = db.execute(
        "SELECT count(*) FROM failures WHERE run_id = ?", [one.run]
    ).fetchone()


def _count_ballots(db: sqlite3.Connection, one: RunProgress) -> None:
    """Count the ballots of a run again: a vote may change the status of an earlier ballot."""
    one.done, one.failed = db.execute(
        "SELECT count(*) FILTER (WHERE status = 'done'), count(*) FILTER (WHERE status = 'failed')"
        " FROM ballots WHERE run_id = ?",
        [one.run],
    ).fetchone()


def _before(db: sqlite3.Connection, started_at: str) -> int:
    """Return the id of the last annotation before a time.

    The search is binary, since later annotations have higher ids.
    """

    def made_at(number: int) -> str:
        sql = "SELECT created_at FROM annotations WHERE id >= ? ORDER BY id LIMIT 1"
        return str(db.execute(sql, [number]).fetchone()[0])

    [last] = db.execute("SELECT coalesce(max(id), 0) FROM annotations").fetchone()
    return bisect.bisect_left(range(1, last + 1), started_at, key=made_at)
