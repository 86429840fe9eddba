"""The log of every run: opened before any generation, closed as done, failed or interrupted.

A run whose process died keeps the status "running" until the next process opens the log and finds
its pid gone. The log holds what users typed, so the file is theirs alone (0600). A log that cannot
be written costs one notice, never a run.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from harness._version import __version__
from harness.models.pool import Usage
from harness.models.resolution import Resolution
from harness.support.sqlite_migrations import migrate

Status = Literal["running", "done", "failed", "interrupted"]


def m001_runs(db: sqlite3.Connection) -> None:
    db.execute(
        """
        CREATE TABLE runs (
            id INTEGER PRIMARY KEY,
            status TEXT NOT NULL,
            door TEXT NOT NULL,
            line TEXT NOT NULL,
            skill TEXT NOT NULL,
            options TEXT NOT NULL,
            job TEXT NOT NULL,
            started_at TEXT NOT NULL,
            seconds REAL,
            pid INTEGER NOT NULL,
            version TEXT NOT NULL,
            requested TEXT,
            resolved TEXT,
            served TEXT,
            reason TEXT,
            prompt_tokens INTEGER,
            completion_tokens INTEGER,
            generations INTEGER,
            exit_code INTEGER,
            error_type TEXT,
            error TEXT,
            raw_reply TEXT,
            traceback TEXT
        )
        """
    )


def m002_outputs(db: sqlite3.Connection) -> None:
    db.execute(
        """
        CREATE TABLE outputs (
            id INTEGER PRIMARY KEY,
            run_id INTEGER NOT NULL REFERENCES runs(id),
            path TEXT NOT NULL,
            sha256 TEXT NOT NULL
        )
        """
    )
    db.execute("CREATE INDEX outputs_path ON outputs(path)")


MIGRATIONS = (m001_runs, m002_outputs)


@dataclass(slots=True)
class Run:
    """One run's row; without a log it only keeps time, who serves, and what is written."""

    log: RunLog | None = None
    id: int | None = None
    started: float = field(default_factory=time.monotonic)
    resolution: Resolution | None = None
    written: list[Path] = field(default_factory=list)

    def resolved(self, resolution: Resolution) -> None:
        """Note who serves; called again when another model had to take over."""
        self.resolution = resolution
        self._update(
            requested=resolution.requested,
            resolved=resolution.resolved,
            served=resolution.chosen.serve.label,
            reason=resolution.reason or None,
        )

    def wrote(self, path: Path, sha256: str) -> None:
        """Note a target that is about to be in place, so that its job may replace it unasked."""
        if self.log is not None and self.id is not None:
            self.log.execute(
                "INSERT INTO outputs (run_id, path, sha256) VALUES (?, ?, ?)",
                [self.id, str(path.resolve()), sha256],
            )

    def close(self, status: Status, exit_code: int, usage: Usage, **error: str | None) -> None:
        """Close the row. `error` may hold error_type, error, raw_reply and traceback."""
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
                f"UPDATE runs SET {assigned} WHERE id = ?",  # noqa: S608  names are ours
                [*columns.values(), self.id],
            )


class RunLog:
    """The runs of one user, in one SQLite file.

    Args:
        path: created with its folder if need be.
        notice: told once if the log cannot be written.
    """

    def __init__(self, path: Path, notice: Callable[[str], None]) -> None:
        self.path = path
        self._notice = notice
        self._broken = False
        self._ready = False

    def start(
        self, *, door: str, line: str, skill: str, options: Mapping[str, Any], job: str
    ) -> Run:
        run_id = self.execute(
            "INSERT INTO runs (status, door, line, skill, options, job, started_at, pid, version)"
            " VALUES ('running', ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                door,
                line,
                skill,
                json.dumps(options, default=str),
                job,
                datetime.now(UTC).isoformat(timespec="seconds"),
                os.getpid(),
                __version__,
            ],
        )
        return Run(self, run_id)

    def made(self, path: Path, sha256: str, job: str, line: str = "") -> bool:
        """Return True if `path` with this content was last written by the same job.

        Rows with other content belong to processes that were killed before they put it in place.
        Job keys of older versions, which have no "2:", depend on the order of options: the line is
        compared instead.
        """
        rows = self.query(
            "SELECT job, line FROM outputs JOIN runs ON runs.id = run_id"
            " WHERE path = ? AND sha256 = ? ORDER BY outputs.id DESC LIMIT 1",
            [str(path.resolve()), sha256],
        )
        return any(
            row["job"] == job or (not row["job"].startswith("2:") and row["line"] == line)
            for row in rows
        )

    def recent(self, limit: int) -> list[dict[str, Any]]:
        """The newest runs first."""
        return self.query("SELECT * FROM runs ORDER BY id DESC LIMIT ?", [limit])

    def get(self, run_id: int) -> dict[str, Any] | None:
        """One run with its outputs."""
        rows = self.query("SELECT * FROM runs WHERE id = ?", [run_id])
        if not rows:
            return None
        outputs = self.query("SELECT path, sha256 FROM outputs WHERE run_id = ?", [run_id])
        return {**rows[0], "outputs": outputs}

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Rows as dicts; none if there is no log to read."""
        try:
            with closing(self._connect()) as db:
                db.row_factory = sqlite3.Row
                return [dict(row) for row in db.execute(sql, _storable(parameters))]
        except (sqlite3.Error, OSError) as exc:
            self._give_up(exc)
            return []

    def execute(self, sql: str, parameters: Sequence[Any]) -> int | None:
        """Write in a transaction of its own; returns the new row's id."""
        if self._broken:
            return None
        try:
            with closing(self._connect()) as db:
                return db.execute(sql, _storable(parameters)).lastrowid
        except (sqlite3.Error, OSError) as exc:
            self._give_up(exc)
            return None

    def _connect(self) -> sqlite3.Connection:
        if not self._ready:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        db = sqlite3.connect(self.path, timeout=10, isolation_level=None)
        if not self._ready:
            try:
                db.execute("PRAGMA journal_mode = WAL")
                migrate(db, MIGRATIONS)
                _close_dead_runs(db)
            except BaseException:
                db.close()
                raise
            self._ready = True
        return db

    def _give_up(self, exc: Exception) -> None:
        if not self._broken:
            self._broken = True
            self._notice(f"the run log cannot be used: {exc} ({self.path})")


def _storable(parameters: Sequence[Any]) -> list[Any]:
    """The parameters without what SQLite refuses: half a character of a name that is no UTF-8, or
    of a reply."""
    return [
        value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for value in parameters
    ]


def _close_dead_runs(db: sqlite3.Connection) -> None:
    for run_id, pid in db.execute("SELECT id, pid FROM runs WHERE status = 'running'").fetchall():
        if not _alive(pid):
            db.execute(
                "UPDATE runs SET status = 'interrupted', error = 'the process died' WHERE id = ?",
                [run_id],
            )


def _alive(pid: int) -> bool:
    import psutil  # only where a run seems under way, which most lines do not see

    return psutil.pid_exists(pid)  # os.kill(pid, 0) ends the process on Windows
