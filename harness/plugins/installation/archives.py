"""Unpacking of ZIP archives that may come from anywhere."""

from __future__ import annotations

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from harness.errors import InputError

MAX_ENTRIES = 20_000
"""Maximum number of entries of an archive."""
MAX_BYTES = 200_000_000
"""Maximum size of all its files."""
_CHUNK = 64 * 1024


def unpack(path: Path, target: Path) -> None:
    """Write the files of an archive to the new folder `target`.

    Raises:
        InputError: it is not a ZIP archive, exceeds a limit, or has an entry that would be written
            elsewhere, is a link or is encrypted; `target` may then hold a part of it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_ENTRIES:
                raise InputError(f"it has more than {MAX_ENTRIES:,} entries", where=str(path))
            names = [_checked(entry, path) for entry in entries]
            target.mkdir()
            left = MAX_BYTES
            for entry, name in zip(entries, names, strict=True):
                left -= _write(archive, entry, target / name, left)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as exc:
        raise InputError(f"is not a readable ZIP archive: {exc}", where=str(path)) from exc
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise InputError(f"cannot be unpacked: {reason}", where=str(path)) from exc


def _checked(entry: zipfile.ZipInfo, path: Path) -> PurePosixPath:
    """Return the relative path of an entry."""
    shown = "".join(c if c.isprintable() else "?" for c in entry.orig_filename)[:120]
    name = PurePosixPath(entry.filename)
    odd = "\\" in entry.orig_filename or "\0" in entry.orig_filename or ":" in entry.filename
    if odd or name.is_absolute() or ".." in name.parts or not name.parts:
        raise InputError(f"the entry {shown!r} would be outside of the folder", where=str(path))
    mode = entry.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InputError(f"the entry {shown!r} is a link or not a regular file", where=str(path))
    if entry.flag_bits & 1:
        raise InputError(f"the entry {shown!r} is encrypted", where=str(path))
    return name


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, limit: int) -> int:
    """Write one entry and return its size, which the archive may state wrongly."""
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with archive.open(entry) as packed, target.open("xb") as file:
        while chunk := packed.read(_CHUNK):
            size += len(chunk)
            if size > limit:
                raise InputError(f"it has more than {MAX_BYTES / 1e6:.0f} MB unpacked")
            file.write(chunk)
    if (entry.external_attr >> 16) & stat.S_IXUSR:
        target.chmod(0o755)
    return size
