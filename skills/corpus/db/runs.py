"""Write the table `runs`: one row for each start of a job."""

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
    """Record the start of a job and return the id of its row.

    A row with the status "running" whose process does not exist was killed.
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
    """Record what a job has to do, if it learns that after its start."""
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
    """Record the end of a job that an exception ends before its summary.

    Args:
        run_id: returns the id of the row, 0 before there is one.
    """
    try:
        yield
    except BaseException as error:
        if run_id():
            stopped = isinstance(error, KeyboardInterrupt | Interrupted)
            with contextlib.suppress(Exception):  # the first error is the one to report
                status: Status = "interrupted" if stopped else "failed"
                finish(db, run_id(), status, {"error": str(error)})
        raise


def status_of(stopped: HarnessError | None, failed: int) -> Status:
    """Return the status of a job from why it stopped and how many of its rows failed."""
    if isinstance(stopped, Interrupted):
        return "interrupted"
    return "failed" if stopped or failed else "done"
