"""SQLite files that several threads or processes open at the same time."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from harness.support.sqlite import UserDatabase


def m001_numbers(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE numbers (value INTEGER)")


def test_a_new_file_is_opened_by_several_connections_at_once(tmp_path: Path) -> None:
    files, threads = 200, 3
    start = threading.Barrier(threads)
    errors: list[str] = []

    def insert() -> None:
        for number in range(files):
            path = tmp_path / f"{number}.db"
            database = UserDatabase(path, (m001_numbers,), "not usable", errors.append)
            start.wait()
            database.run(lambda db: db.execute("INSERT INTO numbers VALUES (1)"), None)

    workers = [threading.Thread(target=insert) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert errors == []
