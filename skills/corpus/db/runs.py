"""The table `runs`: one row each time a job is started."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from harness._version import __version__
from harness.errors import HarnessError, Interrupted
from skills.corpus.db.connection import transaction

if TYPE_CHECKING:
    from sqlite_utils import Database

Status = Literal["running", "done", "failed", "interrupted"]


def start(db: Database, *, skill: str, source: str, model: str, settings: Mapping[str, Any]) -> int:
    """Note that a job begins, and return the row's id.

    A row that still says "running" though its process is gone was killed.
    """
    with transaction(db):
        cursor = db.conn.execute(
            "INSERT INTO runs (skill, input, model, settings, status, pid, version, started_at)"
            " VALUES (?, ?, ?, ?, 'running', ?, ?, ?)",
            [
                skill,
                source,
                model,
                json.dumps(settings, ensure_ascii=False),
                os.getpid(),
                __version__,
                datetime.now(UTC).isoformat(timespec="seconds"),
            ],
        )
    return int(cursor.lastrowid or 0)


def finish(db: Database, run_id: int, status: Status, summary: Mapping[str, Any]) -> None:
    """Note how a job ended."""
    with transaction(db):
        db.conn.execute(
            "UPDATE runs SET status = ?, summary = ?, finished_at = ? WHERE id = ?",
            [
                status,
                json.dumps(summary, ensure_ascii=False),
                datetime.now(UTC).isoformat(timespec="seconds"),
                run_id,
            ],
        )


@contextlib.contextmanager
def noted(db: Database, run_id: Callable[[], int]) -> Iterator[None]:
    """See that a job's row says how it ended, whatever ends it before it is summed up.

    Args:
        run_id: tells the row; 0 as long as there is none.
    """
    try:
        yield
    except BaseException as error:
        if run_id():
            stopped = isinstance(error, KeyboardInterrupt | Interrupted)
            with contextlib.suppress(Exception):  # the first error is the one to tell
                status: Status = "interrupted" if stopped else "failed"
                finish(db, run_id(), status, {"error": str(error)})
        raise


def status_of(stopped: HarnessError | None, failed: int) -> Status:
    """How a job ended, by why it was stopped and how many of its rows failed."""
    if isinstance(stopped, Interrupted):
        return "interrupted"
    return "failed" if stopped or failed else "done"
