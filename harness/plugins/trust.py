"""The folders and files of a project that the user trusts, and private copies of their content.

Trust applies to a folder with its present content, so that a changed file requires trust again.
Installed skills also require trust; `InstalledSkills` records these skills.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any, TypedDict

from harness.agent_skills.skill_file import NAME
from harness.errors import UsageError
from harness.plugins.user_choices import ChoicesFile
from harness.support.bounded_files import Unsearched, read_bytes, walk
from harness.support.process import remove_left_over

MAX_BYTES = 256_000_000
"""Maximum size of a trusted folder in bytes, since all of its files are read at every start."""
MAX_ENTRIES = 10_000
"""Maximum number of files and folders in a folder that can be trusted."""
_copied: dict[Path, Path] = {}
"""The original folder of each private copy that this process has made."""


def content_hash(folder: Path, copy: Path | None = None) -> str:
    """Return the SHA-256 of the names and contents of all files in a folder, or of one file.

    Args:
        copy: a new folder or file, to which the hashed bytes are written. A link to a file
            is copied as a file, and a link to a folder as a link within the copy.

    Raises:
        UsageError: the folder cannot be trusted, since it is too large, or contains a link that
            leads outside, compiled Python, or a file that cannot be read.
    """
    digest, root, left = hashlib.sha256(), folder.resolve(), MAX_BYTES
    for path in _entries(folder):
        name = path.relative_to(folder)
        try:
            real = path.resolve(strict=True)
            if not real.is_relative_to(root):
                message = "cannot be trusted: the link leads out of the folder"
                raise UsageError(message, where=str(path))
            if path.is_dir() and not path.is_symlink():
                if copy is not None:
                    (copy / name).mkdir(parents=True)
                continue
            is_file = path.is_file()
            content = read_bytes(path, left) if is_file else bytes(path.readlink())
            if copy is not None and is_file:
                (copy / name).write_bytes(content)
                (copy / name).chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
            elif copy is not None:
                (copy / name).symlink_to(copy / real.relative_to(root))
        except (OSError, RuntimeError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            raise UsageError(f"cannot be trusted: {reason}", where=str(path)) from exc
        if path.suffix == ".pyc":
            raise UsageError(
                "cannot be trusted: it is compiled Python",
                where=str(path),
                hint="Delete the compiled file.",
            )
        left -= len(content)
        for part in (os.fsencode(name.as_posix()), content):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def is_unchanged(folder: Path, sha256: str) -> bool:
    """Return True if the files of a folder can be read and have the hash `sha256`."""
    try:
        return content_hash(folder) == sha256
    except UsageError:
        return False


def _entries(folder: Path) -> list[Path]:
    """Return the sorted paths of a folder and its content, or only the path of a file.

    Raises:
        UsageError: the folder has too many entries.
    """
    if folder.is_file():
        return [folder]
    found = [folder]
    try:
        for place, children, others in walk(folder, MAX_ENTRIES):
            found += [place / name for name in (*children, *others)]
    except Unsearched as exc:
        raise UsageError(f"cannot be trusted: {exc}", where=str(folder)) from exc
    return sorted(path for path in found if path.is_file() or path.is_dir() or path.is_symlink())


@functools.cache
def private_folder() -> Path:
    """Return the folder for copies of trusted content; the first call creates the folder.

    The folder is deleted when the process ends. The first call deletes folders of killed processes.
    """
    remove_left_over(Path(tempfile.gettempdir()), "nanda-trusted-*")
    folder = Path(tempfile.mkdtemp(prefix=f"nanda-trusted-{os.getpid()}-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def private_copy(folder: Path) -> tuple[Path, str]:
    """Copy a folder or file; return the path of the private copy and the hash of its content.

    Each file is read once, so that the copy contains the hashed bytes.

    Raises:
        UsageError: the folder cannot be trusted (see `content_hash`).
    """
    copy = Path(tempfile.mkdtemp(dir=private_folder())) / folder.name
    _copied[copy] = folder
    try:
        return copy, content_hash(folder, copy)
    except UsageError:
        shutil.rmtree(copy.parent, ignore_errors=True)
        raise


def with_originals(command: str) -> str:
    """Return a command with the original folders in place of their private copies.

    The original paths are the same in every session, so that a stored permission for the command
    remains valid.
    """
    for copy, folder in _copied.items():
        command = command.replace(str(copy), str(folder))
    return command


class TrustStore(ChoicesFile):
    """The trusted folders and files, each with the hash of its content."""

    content = "the trust"
    fault_of_form = "is not a mapping of folders to hashes"
    effect = "no plugin of a project is trusted; correct or delete it"

    def trusted(self, folder: Path) -> Path | None:
        """Return a private copy of a folder or file, or None if its present content is not trusted.

        Callers must use the copy, since the folder may change after this check.
        """
        known = (self._load()[0] or {}).get(str(folder.resolve()))
        if known is None:
            return None
        with contextlib.suppress(UsageError):
            copy, present = private_copy(folder)
            if present == known:
                return copy
            shutil.rmtree(copy.parent, ignore_errors=True)
        return None

    def trust(self, folder: Path, shown: str = "") -> None:
        """Trust a folder or file with its present content.

        Args:
            shown: the hash of the content that the user has seen, which is compared with the
                present content; "" for no comparison.

        Raises:
            UsageError: the folder cannot be trusted (see `content_hash`), or differs from the
                content that was shown.
            OutputError: the trust cannot be stored.
        """
        present = content_hash(folder)
        if shown not in ("", present):
            reason = "was changed while you were asked"
            raise UsageError(
                reason, where=str(folder), hint="Read the files again, and repeat the line."
            )
        self._store({**(self._load()[0] or {}), str(folder.resolve()): present})

    def _is_valid(self, stored: Any) -> bool:
        return isinstance(stored, dict) and all(isinstance(v, str) for v in stored.values())


class Installed(TypedDict):
    """The record of an installed skill.

    Attributes:
        source: the path or address of the source. An address is followed by "@" and the commit of
            the repository, or the digest in the index.
        sha256: the hash of the names and contents of the files (see `content_hash`).
        date: the day of the installation, YYYY-MM-DD.
    """

    source: str
    sha256: str
    date: str


class InstalledSkills(ChoicesFile):
    """The record of installed skills, by name."""

    content = "the record of installed skills"
    fault_of_form = "is not a mapping of names to installed skills"
    effect = "the plugins of your own folder need trust; correct or delete it"
    earlier = "installed.json"

    def read(self) -> dict[str, Installed]:
        """Return the installed skills by name."""
        return self._load()[0] or {}

    def needs_trust(self, name: str) -> bool:
        """Return True if the plugin with this name in the user's folder needs trust.

        An installed plugin needs trust, and a plugin that the user has written does not. If the
        record of installed skills is damaged, all plugins in the user's folder need trust.
        """
        return bool(self.fault()) or name in self.read()

    def add(self, name: str, installed: Installed) -> None:
        """Record that a skill is installed, in place of an earlier record of the same name.

        Raises:
            OutputError: the file cannot be written.
        """
        self._store(dict(sorted({**self.read(), name: installed}.items())))

    def remove(self, name: str) -> None:
        """Remove the record of a skill, if there is one.

        Raises:
            OutputError: the file cannot be written.
        """
        known = self.read()
        if known.pop(name, None) is not None:
            self._store(known)

    def _is_valid(self, stored: Any) -> bool:
        return isinstance(stored, dict) and all(
            NAME.fullmatch(name)
            and isinstance(skill, dict)
            and all(isinstance(skill.get(key), str) for key in Installed.__annotations__)
            for name, skill in stored.items()
        )
