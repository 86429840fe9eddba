"""What is kept of arXiv between commands: its pages, for a day, and the time of the last request.

Both lie in the cache folder, so that a loop of one-shot commands in a shell is as polite as one
long process.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import SkillFailed

if TYPE_CHECKING:
    from filelock import FileLock

DAY = 86_400.0
"""Seconds a page is kept: arXiv publishes once a day."""
PATIENCE = 300.0
"""Seconds to wait for other processes that ask arXiv; each takes three."""


class PageCache:
    """Pages by their address, in a folder that may be deleted at any time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, url: str) -> bytes | None:
        """The page of `url`, if one is kept that is younger than a day."""
        path = self._path(url)
        try:
            return path.read_bytes() if _is_fresh(path) else None
        except OSError:
            return None

    def keep(self, url: str, page: bytes) -> None:
        """Keep a page, and forget those that are too old. What cannot be kept is asked again."""
        path = self._path(url)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(page)
            temporary.replace(path)
            for old in self._folder.glob("*.xml"):
                if not _is_fresh(old):
                    old.unlink(missing_ok=True)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _path(self, url: str) -> Path:
        return self._folder / f"{hashlib.sha256(url.encode()).hexdigest()}.xml"


@contextmanager
def turn(folder: Path, delay: float, wait: Callable[[float], None]) -> Iterator[None]:
    """Make one request within: alone among all processes, `delay` seconds after the last one.

    arXiv's terms of use ask for no more than one request every three seconds, and for a single
    connection at a time. A process that is killed within leaves the lock free and the time written.

    Raises:
        SkillFailed: other processes do not come to an end.
    """
    lock = _lock(folder)
    stamp = folder / "last-request"
    try:
        # Where nothing can be written, nobody knows when the last request was.
        left = delay - _seconds_since(stamp) if lock else delay
        if left > 0:
            wait(left)
        _touch(stamp)
        try:
            yield
        finally:
            _touch(stamp)
    finally:
        if lock:
            lock.release()


def _lock(folder: Path) -> FileLock | None:
    """The lock of all requests, acquired; None where the folder cannot be written to."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / "last-request.lock", timeout=PATIENCE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as exc:
        raise SkillFailed(
            f"other processes have been asking arXiv for {PATIENCE:.0f} s",
            where=str(folder),
            hint="End them, or try again when they are done.",
        ) from exc
    except OSError:
        return None
    return lock


def _seconds_since(path: Path) -> float:
    """Seconds since a file was written; none where its time is in the future."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return float("inf")


def _is_fresh(path: Path) -> bool:
    try:
        return 0 <= time.time() - path.stat().st_mtime < DAY
    except OSError:
        return False


def _touch(path: Path) -> None:
    with suppress(OSError):  # a folder that cannot be written to, or was deleted meanwhile
        path.touch()
