"""The skills of a fetched source, and the copy of one that is shown before it is installed."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.agent_skills import skill_md
from harness.agent_skills.skill_md import SkillFile
from harness.errors import InputError, OutputError, UsageError
from harness.plugins.installation.sources import Source
from harness.plugins.skill_folders import skill_files
from harness.plugins.user_choices import content_hash
from harness.support.reading.bounded_files import Unsearched, read_bytes, walk

MAX_FILES = 2_000
"""Maximum number of files and folders of one skill."""
MAX_BYTES = 50_000_000
"""Maximum size of one skill."""
SECONDS = 30.0
"""Time limit of the search of a source."""
NOT_COPIED = {".git", ".hg", ".svn", "__pycache__", "node_modules"}
"""Folders and files that are left out of the copy."""


def skills_of(source: Source) -> list[SkillFile]:
    """Return the usable skills of a source: the folder itself, or those below it.

    Raises:
        InputError: there are none.
    """
    with contextlib.suppress(OSError):
        for path in sorted(source.folder.iterdir()):
            if path.name.upper() == skill_md.FILE.upper() and path.is_file():
                return [skill_md.read(path)]
    found = skill_files(source.folder, SECONDS).found
    if not source.is_local:  # links of a repository may lead anywhere on this machine
        found = [(path, file) for path, file in found if not _is_linked(path, source.folder)]
    if usable := [file for _, file in found if isinstance(file, SkillFile)]:
        return usable
    faults = [str(file) for _, file in found if isinstance(file, UsageError)]
    reason = f": {faults[0]}" if faults else ""
    raise InputError(f"there is no usable {skill_md.FILE}{reason}", where=source.origin)


def _is_linked(path: Path, root: Path) -> bool:
    """Return whether the way from `root` to the path has a link."""
    return any(place.is_symlink() for place in (path, *path.parents) if place.is_relative_to(root))


@dataclass(frozen=True, slots=True)
class Staged:
    """A copy of a skill in a hidden folder beside its place.

    Attributes:
        files: the names of its files, each with the size in bytes.
        sha256: the hash of their names and contents, as trust uses it.
    """

    file: SkillFile
    files: tuple[tuple[str, int], ...]
    sha256: str

    @property
    def size(self) -> int:
        return sum(size for _, size in self.files)

    @property
    def has_code(self) -> bool:
        """Whether it is a plugin, whose code runs in the program once it is trusted."""
        return any(name == "plugin.py" for name, _ in self.files)

    def place(self, target: Path) -> None:
        """Move the copy to its place; a folder that is there is replaced.

        Raises:
            OutputError: it cannot be moved; the present folder is kept.
        """
        replaced = self.file.folder.with_name(".replaced")
        try:
            if target.is_symlink() or target.exists():
                target.rename(replaced)
            try:
                self.file.folder.rename(target)
            except OSError:
                if replaced.exists():
                    replaced.rename(target)
                raise
        except OSError as exc:
            raise OutputError(f"cannot be installed: {exc.strerror}", where=str(target)) from exc


@contextlib.contextmanager
def staged(found: SkillFile, root: Path) -> Iterator[Staged]:
    """Copy a skill to a hidden folder of `root`, which is removed after the block.

    Raises:
        InputError: it has a link, a special file or compiled Python, or is too large.
        OutputError: it cannot be written.
    """
    hidden = root / f".{secrets.token_hex(4)}.tmp"  # discovery skips such names
    folder = hidden / found.name
    try:
        try:
            files = tuple(_copied(found.folder, folder))
        except OSError as exc:
            raise OutputError(f"cannot be copied: {exc.strerror}", where=str(root)) from exc
        yield Staged(skill_md.read(folder / found.path.name), files, content_hash(folder))
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _copied(source: Path, target: Path) -> Iterator[tuple[str, int]]:
    """Copy the files of a skill; yield the name and size of each."""
    left = MAX_BYTES
    try:
        for place, children, names in walk(source, MAX_FILES):
            children[:] = [child for child in children if child not in NOT_COPIED]
            inside = place.relative_to(source)
            (target / inside).mkdir(parents=True)
            for name in (*children, *names):
                _check(place / name, inside / name)
            for name in names:
                if name not in NOT_COPIED:
                    content = _read(place / name, left)
                    left -= len(content)
                    (target / inside / name).write_bytes(content)
                    (target / inside / name).chmod(_mode(place / name))
                    yield (inside / name).as_posix(), len(content)
    except Unsearched as exc:
        raise InputError(str(exc), where=str(source)) from exc


def _check(path: Path, shown: Path) -> None:
    """Refuse a link, something that is neither a file nor a folder, and compiled Python."""
    mode = path.lstat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        what = "a link" if stat.S_ISLNK(mode) else "not a regular file"
        raise InputError(f"is {what}, which is not installed", where=str(shown))
    if path.suffix == ".pyc":
        raise InputError("is compiled Python, which cannot be read", where=str(shown))


def _read(path: Path, limit: int) -> bytes:
    try:
        return read_bytes(path, limit)
    except OSError as exc:
        if exc.filename is None or limit < path.stat().st_size:
            size = f"{MAX_BYTES / 1e6:.0f} MB"
            raise InputError(f"the skill has more than {size}", where=path.name) from exc
        raise InputError(f"cannot be read: {exc.strerror}", where=path.name) from exc


def _mode(path: Path) -> int:
    return 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644


def remove(folder: Path) -> None:
    """Delete an installed skill; of a link, only the link.

    Raises:
        OutputError: it cannot be deleted.
    """
    try:
        if folder.is_symlink():
            folder.unlink()
            return
        hidden = folder.with_name(f".{secrets.token_hex(4)}.tmp")
        folder.rename(hidden)  # so that no part of it is found if deleting it is interrupted
        shutil.rmtree(hidden)
    except OSError as exc:
        raise OutputError(f"cannot be deleted: {exc.strerror}", where=str(folder)) from exc
