"""Log runs in SQLite: a row is opened before the work, and closed with its status.

If a process dies, its run keeps the status "running" until another process opens the log and closes
the run. The log contains the user's input, and can be read only by the user (mode 0600). If the log
cannot be written, a notice is printed, and runs continue, except that runs that save files fail if
the disk is full or the log is locked (`RunLog.check_usable`).
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness._version import __version__
from harness.api.hookspecs import End, Listener, RunFinished, RunStarted, notify
from harness.errors import HarnessError, InternalError, Interrupted, OutputError, ReaderGone
from harness.models.pool import Resolution
from harness.models.served import ServedModel, Usage
from harness.support import traces
from harness.support.process import is_alive
from harness.support.sqlite import UserDatabase, is_full_or_locked, storable

if TYPE_CHECKING:
    from harness.api.skill import Call, Result

Status = Literal["running", "done", "failed", "interrupted"]
WITHOUT_ASKING = "without asking"
"""The text in the log for a model's call that changes nothing, and needs no permission."""


def m004_allowed(db: sqlite3.Connection) -> None:
    """Create all tables.

    The function must not be renamed: files from before version 0.1.0 contain its name as the name
    of their last migration, so that their tables are not created again.
    """
    db.execute(
        """
        CREATE TABLE runs (
            id INTEGER PRIMARY KEY, status TEXT NOT NULL, door TEXT NOT NULL, line TEXT NOT NULL,
            skill TEXT NOT NULL, options TEXT NOT NULL, job TEXT NOT NULL,
            started_at TEXT NOT NULL, seconds REAL, pid INTEGER NOT NULL, version TEXT NOT NULL,
            requested TEXT, resolved TEXT, served TEXT, reason TEXT, place TEXT, digests TEXT,
            prompt_tokens INTEGER, completion_tokens INTEGER, generations INTEGER,
            exit_code INTEGER, error_type TEXT, error TEXT, raw_reply TEXT, traceback TEXT,
            allowed TEXT
        )
        """
    )
    db.execute(
        """
        CREATE TABLE outputs (
            id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL REFERENCES runs(id),
            path TEXT NOT NULL, sha256 TEXT NOT NULL
        )
        """
    )
    db.execute("CREATE INDEX outputs_path ON outputs(path)")


@dataclass(slots=True)
class Run:
    """A run, and its row in the log. Without a log, only the attributes are set.

    Attributes:
        started: the time of the start, from `time.monotonic`.
        resolution: the choice of the model that served last, or None.
        answered_by: `ServedModel.about` of the model that served last, or None.
        written: the files and folders that were written.
        allowed: how the user allowed a model's call; "" for a line of the user.
    """

    log: RunLog | None = None
    id: int | None = None
    started: float = field(default_factory=time.monotonic)
    resolution: Resolution | None = None
    answered_by: Mapping[str, Any] | None = None
    written: list[Path] = field(default_factory=list)
    allowed: str = ""

    def allow(self, how: str) -> None:
        """Record how the user allowed a model's call; texts of earlier answers are kept."""
        self.allowed = "; ".join(filter(None, (self.allowed, how)))
        self._update(allowed=self.allowed)

    def served_by(self, served: ServedModel) -> None:
        """Record the model that serves the run, in place of an earlier model."""
        resolution = self.resolution = served.resolution
        self.answered_by = served.about
        self._update(
            requested=resolution.requested,
            resolved=resolution.resolved,
            served=resolution.chosen.serve.label,
            reason=resolution.reason or None,
            place=served.place,
            digests=json.dumps(dict(served.digests)),
        )

    def wrote(self, path: Path, sha256: str) -> None:
        """Record a target before it is written, so that the same job may replace the file later.

        Raises:
            OutputError: as for `RunLog.check_usable`.
        """
        if self.log is not None:
            if self.id is not None:
                self.log.execute(
                    "INSERT INTO outputs (run_id, path, sha256) VALUES (?, ?, ?)",
                    [self.id, str(path.resolve()), sha256],
                )
            self.log.check_usable()

    def close(self, status: Status, exit_code: int, usage: Usage, **error: str | None) -> None:
        """Close the row.

        Args:
            error: values of the columns error_type, error, raw_reply and traceback.
        """
        self._update(
            status=status,
            exit_code=exit_code,
            seconds=round(time.monotonic() - self.started, 3),
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            generations=usage.generations,
            **error,
        )

    def _update(self, **columns: Any) -> None:
        if self.log is not None and self.id is not None:
            assigned = ", ".join(f"{name} = ?" for name in columns)
            self.log.execute(
                f"UPDATE runs SET {assigned} WHERE id = ?",  # noqa: S608 the names are constants
                [*columns.values(), self.id],
            )


class RunLog:
    """The run log of a user, in an SQLite file.

    Args:
        path: the file, which is created with its folder if it does not exist.
        notice: called once with a message if the log cannot be used.
        died: called if an earlier run is still open, but its process has ended.
    """

    def __init__(
        self,
        path: Path,
        notice: Callable[[str], None],
        died: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        problem, close = "the run log cannot be used", partial(_close_dead_runs, died=died)
        self._database = UserDatabase(path, [m004_allowed], problem, notice, close)

    def start(
        self,
        *,
        door: str,
        line: str,
        skill: str,
        options: Mapping[str, Any],
        job: str,
        run: Run,
    ) -> None:
        """Add the row of `run` to the log, and set `run.log` and `run.id`."""
        run.log = self
        given = json.dumps(options, default=str)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        run.id = self.execute(
            "INSERT INTO runs"
            " (status, door, line, skill, options, job, started_at, pid, version, allowed)"
            " VALUES ('running', ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [door, line, skill, given, job, now, os.getpid(), __version__, run.allowed or None],
        )

    def made(self, path: Path, sha256: str, job: str) -> bool:
        """Return True if `job` was the last job that wrote content with this SHA-256 to `path`.

        Rows with other content are ignored: a process stores the row before it writes the file, and
        may have been killed in between.
        """
        rows = self.query(
            "SELECT job FROM outputs JOIN runs ON runs.id = run_id"
            " WHERE path = ? AND sha256 = ? ORDER BY outputs.id DESC LIMIT 1",
            [str(path.resolve()), sha256],
        )
        return rows == [{"job": job}]

    def recent(self, limit: int) -> list[dict[str, Any]]:
        """Return the columns of at most `limit` runs, the latest run first."""
        return self.query("SELECT * FROM runs ORDER BY id DESC LIMIT ?", [limit])

    def get(self, run_id: int) -> dict[str, Any] | None:
        """Return the columns of a run, and its files as "outputs"; None if there is no such run."""
        rows = self.query("SELECT * FROM runs WHERE id = ?", [run_id])
        if not rows:
            return None
        outputs = self.query("SELECT path, sha256 FROM outputs WHERE run_id = ?", [run_id])
        return {**rows[0], "outputs": outputs}

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Execute a query and return its rows as dictionaries; [] if the log cannot be read."""
        given = [*map(_storable, parameters)]
        return self._database.run(lambda db: [dict(row) for row in db.execute(sql, given)], [])

    def execute(self, sql: str, parameters: Sequence[Any]) -> int | None:
        """Execute a statement in a separate transaction, and return the id of the inserted row.

        The result is None if the log cannot be written.
        """
        if self._database.error is not None:
            return None
        given = [*map(_storable, parameters)]
        return self._database.run(lambda db: db.execute(sql, given).lastrowid, None)

    def check_usable(self) -> None:
        """Check that no earlier statement found the disk full or the log locked.

        Without a record of the targets, the same line could not replace them later.

        Raises:
            OutputError: the disk is full or has failed, or another program has locked the log.
        """
        if is_full_or_locked(self._database.error):
            raise OutputError(
                f"the run log cannot be written: {self._database.error}",
                where=str(self.path),
                hint="Repeat the line when the disk has space, and no program locks the file.",
            )


def _storable(value: Any) -> Any:
    return storable(value) if isinstance(value, str) else value


def _close_dead_runs(db: sqlite3.Connection, died: Callable[[], None]) -> None:
    running = db.execute("SELECT id, pid FROM runs WHERE status = 'running'").fetchall()
    dead = [[run_id] for run_id, pid in running if not is_alive(pid)]
    if dead:
        died()
    db.executemany(
        "UPDATE runs SET status = 'interrupted', error = 'the process died' WHERE id = ?", dead
    )


@contextlib.contextmanager
def recorded(
    call: Call, run: Run, started: RunStarted, listeners: Sequence[Listener]
) -> Iterator[Callable[[Result], None]]:
    """Report the start and the end of a run to listening plugins, and close its row in the log.

    The run is also recorded as a trace.

    Yields: a function that closes the run with its result.

    Raises:
        Interrupted: Ctrl-C was pressed. The call's `cancel` is set before the error is raised.
        Exception: raised in the block.
    """

    def close(status: End, exit_code: int, **error: str | None) -> None:
        usage, resolution = call.models.usage, run.resolution
        run.close(status, exit_code, usage, **error)
        finished = RunFinished(
            **asdict(started),
            status=status,
            exit_code=exit_code,
            seconds=round(time.monotonic() - run.started, 3),
            requested=resolution.requested if resolution else None,
            resolved=resolution.resolved if resolution else None,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            written=tuple(run.written),
            error_type=error.get("error_type"),
        )
        notify(listeners, "run_finished", finished, call.screen)
        traced.set(nanda__run__status=status, nanda__run__exit_code=exit_code)
        if status != "done":
            traced.failed(error.get("error_type") or f"exit_{exit_code}")

    def fail(error: HarnessError) -> None:
        stopped = isinstance(error, (Interrupted, ReaderGone))
        cause = error.__cause__
        close(
            "interrupted" if stopped else "failed",
            error.exit_code,
            error_type=type(error).__name__,
            error=str(error),
            raw_reply=error.reply or None,
            traceback="".join(traceback.format_exception(cause)) if cause else None,
        )

    def finish(result: Result) -> None:
        if result.stopped is not None:
            fail(result.stopped)
        else:
            close("failed" if result.code else "done", result.code)

    traces.start(call.screen.notice)
    with traces.run(started.skill, started.subcommand, started.door, started.id) as traced:
        try:
            notify(listeners, "run_started", started, call.screen)
            yield finish
        except KeyboardInterrupt as exc:
            call.cancel.request_stop()
            fail(Interrupted("interrupted"))
            raise Interrupted("interrupted") from exc
        except HarnessError as exc:
            fail(exc)
            raise
        except Exception as exc:
            fail(InternalError(exc))
            raise
