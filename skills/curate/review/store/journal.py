"""The journal of a review: a file to which every reviewer's process appends decisions.

Each appends under a lock, after it has read what the others appended. A decision is synced to the
disk before anything else happens with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from harness.errors import InputError, OutputError
from harness.support.reading.text_input import place, shown, unreadable
from skills.curate.review.store.decision import Decision
from skills.nanda.framework import Framework

if TYPE_CHECKING:
    from filelock import FileLock

WAIT = 30.0
"""Timeout for the lock of another process, in seconds."""


@dataclass(slots=True)
class Journal:
    """The file of decisions.

    Attributes:
        locks: the folder for the file of its lock.
    """

    path: Path
    framework: Framework
    locks: Path
    _read: int = 0
    _lines: int = 0
    _lock: FileLock | None = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the other processes and threads from appending; a nested block is part of it.

        Raises:
            OutputError: another process holds the lock for longer than `WAIT`.
        """
        import filelock

        if self._lock is None:
            self.locks.mkdir(parents=True, exist_ok=True)
            name = hashlib.sha256(os.fsencode(self.path.resolve())).hexdigest()[:16]
            self._lock = filelock.FileLock(self.locks / f"{name}.journal.lock", timeout=WAIT)
        try:
            with self._lock:
                yield
        except filelock.Timeout as exc:
            raise OutputError(
                "another process is writing to it",
                where=shown(self.path),
                hint="Those before it are stored; the same command continues from there.",
            ) from exc

    def read_new(self) -> Iterator[Decision]:
        """Yield what was appended since the last call; an incomplete last line is left out."""
        if not self.path.exists():
            return
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                text = file.read()
        except OSError as exc:
            raise unreadable(self.path, exc) from exc
        for line in text[: text.rfind(b"\n") + 1].splitlines(keepends=True):
            decision = self._decision(line)
            self._read += len(line)
            self._lines += 1
            yield decision

    def append(self, decision: Decision) -> None:
        """Append a line and sync it to the disk, within `locked` and after `read_new`.

        An incomplete line of a killed process is removed.

        Raises:
            OutputError: it cannot be written; the file is as it was.
        """
        line = decision.model_dump_json().encode() + b"\n"
        try:
            if self.path.exists() and self.path.stat().st_size > self._read:
                os.truncate(self.path, self._read)
            with self.path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as exc:
            with contextlib.suppress(OSError):
                os.truncate(self.path, self._read)
            raise OutputError(
                f"the decision is not stored: {exc.strerror or exc}",
                where=shown(self.path),
                hint="Those before it are stored; the same command continues from there.",
            ) from exc
        self._read += len(line)
        self._lines += 1

    def repair(self) -> None:
        """Remove an incomplete last line, within `locked` and after `read_new`."""
        try:
            if self.path.exists() and self.path.stat().st_size > self._read:
                os.truncate(self.path, self._read)
        except OSError as exc:
            raise unreadable(self.path, exc) from exc

    def _decision(self, line: bytes) -> Decision:
        try:
            decision = Decision.model_validate_json(line)
        except ValidationError as exc:
            raise self._damaged("is not a decision of a review") from exc
        if set(decision.moves) != set(self.framework.names):
            raise self._damaged(f"has other moves than the framework {self.framework.name}")
        return decision

    def _damaged(self, what: str) -> InputError:
        return InputError(
            what,
            where=place(self.path, "line", self._lines + 1),
            hint="Repair the line, or move the file away: the gold table then stays as it is.",
        )
