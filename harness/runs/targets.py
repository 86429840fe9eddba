"""Where a result goes: checked before any work, written whole or not at all.

A file is written beside its target, synced, and put in place by one rename, so that a reader sees
the old file or the new one and a crash leaves the old one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from harness.api.skill import Skill, Write
from harness.errors import OutputError, UsageError


def check(
    targets: Sequence[Path],
    skill: Skill,
    may_replace: Callable[[Path], bool],
    companions: Sequence[Path] = (),
    formats: Sequence[str] = (),
) -> None:
    """Refuse, before any work is done, what could not be written afterwards.

    Args:
        may_replace: asked about a target that exists.
        companions: files beside the targets, whose suffixes are the skill's affair.
        formats: suffixes that can be saved besides the skill's own.

    Raises:
        UsageError: the skill saves nothing, or not in the format of the suffix.
        OutputError: the folder is missing or not writable, or the target may not be replaced.
    """
    for target in targets:
        _check_suffix(target, skill, (*skill.saves, *formats))
    for target in (*targets, *companions):
        try:
            _check_place(target, may_replace)
        except (OSError, RuntimeError) as exc:  # a name too long, links in a circle
            reason = exc.strerror if isinstance(exc, OSError) else exc
            raise OutputError(f"cannot be written: {reason}", where=str(target)) from exc


def _check_place(target: Path, may_replace: Callable[[Path], bool]) -> None:
    with contextlib.suppress(FileNotFoundError):
        target.stat()  # raises for what no call below does on every Python: links in a circle
    folder = target.resolve().parent
    if not folder.is_dir():
        raise OutputError(f"there is no folder {folder}", where=str(target), hint="Make it first.")
    if target.is_dir():
        raise OutputError("is a folder", where=str(target))
    if target.exists() and not target.is_file():  # a device or a pipe would be replaced
        raise OutputError("is no regular file", where=str(target))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {folder} is not writable", where=str(target))
    if target.exists() and not may_replace(target):
        raise OutputError("exists already", where=str(target), hint="--force overwrites it.")


def _check_suffix(target: Path, skill: Skill, saves: Sequence[str]) -> None:
    if not saves:
        raise UsageError(f"/{skill.name} has nothing to save")
    if target.suffix.lower() not in saves:
        known = ", ".join(saves)
        what = f"the suffix {target.suffix}" if target.suffix else "a name without a suffix"
        raise UsageError(
            f"/{skill.name} cannot save to {what}",
            where=str(target),
            hint=f"It saves {known}. If 'save to {target}' belongs to the text, put `--` before "
            "the text.",
        )


def digest(path: Path) -> str:
    """The file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(
    target: Path,
    produce: Write,
    about_to: Callable[[str], None] = lambda _: None,
    may_replace: Callable[[str], bool] | None = None,
) -> None:
    """Put what `produce` writes to an open file into `target`.

    Args:
        about_to: told the content's sha256 just before it is put in place, so that a process that
            is killed then has said whose file it is.
        may_replace: told the sha256 of a file that stands there when the content is ready: somebody
            may have written it since `check`. Without it, any file is replaced.

    Raises:
        OutputError: a file stands there that may not be replaced; the disk is full, the folder has
            gone, or the like; the target is as it was.
        Whatever `produce` raises; the target is as it was.
    """
    real = target.resolve()  # a symbolic link stays, and what it points to is replaced
    # Short, since the target's own name may be as long as a name can be.
    temporary = real.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            produce(file)
            file.flush()
            os.fsync(file.fileno())
        about_to(digest(temporary))
        try:
            _put(temporary, real, may_replace)
        except FileExistsError as exc:
            raise OutputError(
                "exists already: it was written while the work ran",
                where=str(target),
                hint="--force overwrites it.",
            ) from exc
        _sync_folder(real.parent)
    except OSError as exc:
        raise OutputError(f"not written: {exc.strerror or exc}", where=str(target)) from exc
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write `text` in UTF-8 to `target`, replacing it atomically.

    Raises:
        OutputError: it cannot be written; the target is unchanged.
    """

    def produce(file: IO[bytes]) -> None:
        file.write(text.encode())

    write(target, produce)


def _put(temporary: Path, real: Path, may_replace: Callable[[str], bool] | None) -> None:
    """Put the temporary file in place.

    Raises:
        FileExistsError: a file stands there that may not be replaced.
    """
    if real.exists():
        if may_replace is not None and not may_replace(digest(real)):
            raise FileExistsError
        temporary.chmod(stat.S_IMODE(real.stat().st_mode))
    elif may_replace is not None:
        try:
            real.hardlink_to(temporary)  # a rename would replace what appears at the last moment
        except FileExistsError:
            raise
        except OSError:  # a disk without links
            real.open("xb").close()
        else:
            temporary.unlink()
            return
    temporary.replace(real)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets a folder be opened."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:  # some network file systems refuse it for folders
        return
    finally:
        os.close(handle)
