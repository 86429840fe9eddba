"""Read untrusted files and folders without blocking and within limits.

`read_bytes`, `read_text` and `read_json` raise an OSError if the path is a pipe, a device or a
folder, or if the file is too large; `strerror` is the reason. `write_json` replaces a file as a
whole, so that a reader never sees an incomplete file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import InputError, OutputError

# Without this flag, opening a pipe would wait for a writer. Windows does not have the flag.
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)

MAX_JSON_BYTES = 32_000_000
"""Maximum size of a JSON file in bytes. The index of the weights of a model with 685 billion
parameters has 9 MB.
"""
MAX_STATE_BYTES = 4_000_000
"""Maximum size in bytes of a JSON file in which the harness stores its own state."""


def read_bytes(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Raises:
        OSError: the file is not a regular file, is larger than `limit`, or cannot be read.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _NONBLOCK)) as file:
        # The open file is checked, since the path may be replaced at any time.
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        content = b"" if status.st_size > limit else file.read(limit + 1)
    if max(status.st_size, len(content)) > limit:
        size = f"{limit // 1024} KB" if limit < 1_000_000 else f"{limit / 1e6:g} MB"
        raise OSError(errno.EFBIG, f"it has more than {size}", str(path))
    return content


def read_text(path: Path, limit: int) -> str:
    """Return the text of a regular UTF-8 file, without the byte order mark if there is one.

    Raises:
        OSError: as for `read_bytes`.
        UnicodeDecodeError: the text is not UTF-8.
    """
    return read_bytes(path, limit).decode("utf-8-sig")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file of any size, as a hexadecimal string.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Unsearched(Exception):
    """Raised if a folder was not searched completely; the text is the reason."""


def walk(
    root: Path, limit: int, *, until: float = math.inf, follow_links: bool = False
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield `root` and each folder below, with the names of the subfolders and other entries.

    As in `os.walk`, subfolders that the caller removes from the list are not entered. The names are
    sorted. A folder that cannot be read has no entries.

    Args:
        limit: maximum number of entries of all folders together.
        until: the time, from `time.monotonic`, at which the walk ends.
        follow_links: True to enter links to folders.

    Raises:
        Unsearched: a limit was reached; the entries up to the limit have been yielded.
    """
    waiting, left = [root], limit
    while waiting:
        folder = waiting.pop()
        children: list[str] = []
        others: list[str] = []
        cut = ""
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                left -= 1
                if left < 0:
                    cut = f"it has more than {limit:,} entries"
                elif time.monotonic() > until:
                    cut = "it took too long"
                if cut:
                    break
                (children if _is_folder(entry) else others).append(entry.name)
        children.sort()
        yield folder, children, sorted(others)
        if cut:
            raise Unsearched(cut)
        below = (folder / child for child in reversed(children))
        waiting += (path for path in below if follow_links or not path.is_symlink())


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


class Damaged(Exception):
    """Raised if a file exists, but cannot be used; the text is the reason."""


def read_json(path: Path, limit: int = MAX_JSON_BYTES) -> Any:
    """Return the parsed content of a JSON file of at most `limit` bytes.

    Raises:
        OSError: the file cannot be read, is larger than `limit`, or is not a regular file.
        ValueError: the content is not JSON, or nested too deeply.
    """
    try:
        return json.loads(read_text(path, limit))
    except RecursionError as exc:
        raise ValueError("it is nested too deeply") from exc


def parsed_json(path: Path, limit: int, shown: Path | None = None) -> tuple[str, Any]:
    """Return the text and the parsed content of a JSON file that a person has written.

    Args:
        limit: maximum size of the file in bytes.
        shown: the path for messages, if `path` is a copy.

    Raises:
        InputError: the file cannot be read, is larger than `limit`, or is not JSON; if possible,
            the message contains the line.
    """
    where = str(shown or path)
    try:
        text = read_text(path, limit)
        return text, json.loads(text)
    except OSError as exc:
        raise InputError(f"cannot be read: {exc.strerror or exc}", where=where) from exc
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        raise InputError("it is not UTF-8 text", where=f"{where}:{line}") from exc
    except json.JSONDecodeError as exc:
        raise InputError(f"it is not JSON: {exc.msg}", where=f"{where}:{exc.lineno}") from exc
    # raised for a number with too many digits, or deep nesting
    except (ValueError, RecursionError) as exc:
        raise InputError("it is not usable JSON", where=where) from exc


def load_json(path: Path) -> Any:
    """Return the parsed content of a JSON file of the harness, or None if it does not exist.

    Raises:
        Damaged: the file cannot be read, is too large, or is not JSON.
    """
    try:
        return read_json(path, MAX_STATE_BYTES)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise Damaged(f"cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise Damaged("is not JSON") from exc


def set_aside(path: Path) -> None:
    """Rename a damaged file to NAME.damaged, so that it is not overwritten."""
    with contextlib.suppress(OSError):
        if path.is_file():
            path.replace(path.with_name(f"{path.name}.damaged"))


def write_json(path: Path, content: Any, what: str, *, mode: int = 0o666) -> None:
    """Create a JSON file or replace it as a whole; create a missing folder.

    Args:
        what: a noun for the content, such as "the trust", for the error message.
        mode: the permissions with which the file is created, before the umask is applied.

    Raises:
        OutputError: the content cannot be written; the file is unchanged.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(mode)
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
        temporary.replace(path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OutputError(f"{what} cannot be stored: {exc.strerror}", where=str(path)) from exc
