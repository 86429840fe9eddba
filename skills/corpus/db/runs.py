"""Record each start of a job in the table `runs`."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from harness._version import __version__
from harness.errors import HarnessError, Interrupted
from skills.corpus.db.connection import transaction
from skills.corpus.db.rows import insert, now, update

Status = Literal["running", "done", "failed", "interrupted"]


def start(
    db: sqlite3.Connection, *, skill: str, source: str, model: str, settings: Mapping[str, Any]
) -> int:
    """Insert a row with the status "running" for a new job, and return the row id.

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
    """Record the number of papers to process, for a job that counts its papers after the start."""
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
    """Record the job as failed or interrupted if the block raises an exception.

    The exception is not suppressed.

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
    """Return the status of a job that has ended: "done", "failed" or "interrupted".

    Args:
        stopped: the error that stopped the job, or None.
        failed: number of failed papers.
    """
    if isinstance(stopped, Interrupted):
        return "interrupted"
    return "failed" if stopped or failed else "done"
