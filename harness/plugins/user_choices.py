"""The user's choices about plugins: which folders are trusted, and which names are disabled.

Trust applies to the content of a folder, not to its name, so a changed file requires trust again.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from harness.errors import UsageError
from harness.support import json_state
from harness.support.reading.bounded_files import Unsearched, read_bytes, walk

MAX_BYTES = 256_000_000
"""Maximum size of a folder that can be trusted, since it is read at every start."""
MAX_ENTRIES = 10_000
"""Maximum number of its entries."""


def content_hash(folder: Path) -> str:
    """Return the SHA-256 of the names and contents of all files in the folder, or of a file.

    Raises:
        UsageError: the folder cannot be trusted: it contains a link that leads out of it, compiled
            Python, or a file that cannot be read, or is too large.
    """
    digest, root, left = hashlib.sha256(), folder.resolve(), MAX_BYTES
    for path in _files(folder):
        try:
            leaves = path.is_symlink() and not path.resolve(strict=True).is_relative_to(root)
            content = read_bytes(path, left) if path.is_file() else bytes(path.readlink())
        except (OSError, RuntimeError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            raise UsageError(f"cannot be trusted: {reason}", where=str(path)) from exc
        if leaves:
            raise UsageError("cannot be trusted: the link leads out of the folder", where=str(path))
        if path.suffix == ".pyc":
            raise UsageError(
                "cannot be trusted: it is compiled Python", where=str(path), hint="Delete it."
            )
        left -= len(content)
        name = os.fsencode(path.relative_to(folder).as_posix())
        for part in (name, content):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    """Return all files and links of the folder, sorted; for a file, the file itself."""
    if folder.is_file():
        return [folder]
    found: list[Path] = []
    try:
        for place, children, others in walk(folder, MAX_ENTRIES):
            found += [place / name for name in (*children, *others)]
    except Unsearched as exc:
        raise UsageError(f"cannot be trusted: {exc}", where=str(folder)) from exc
    return sorted(path for path in found if path.is_file() or path.is_symlink())


class TrustStore:
    """A JSON file that maps each trusted folder or file to its content hash."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def trusts(self, folder: Path) -> bool:
        """Return whether the folder is trusted with its present content."""
        known = self._read()[0].get(str(folder.resolve()))
        try:
            return known is not None and known == content_hash(folder)
        except UsageError:
            return False

    def trust(self, folder: Path) -> None:
        """Trust the folder with its present content.

        Raises:
            UsageError: it cannot be trusted; see `content_hash`.
            OutputError: the file cannot be written.
        """
        known, damage = self._read()
        decisions = {**known, str(folder.resolve()): content_hash(folder)}
        _write(self._path, decisions, damage, "the trust")

    def damage(self) -> str:
        """Return what is wrong with the file and what follows, in one line, or ""."""
        return _remark(self._path, self._read()[1], "no plugin of a project is trusted")

    def _read(self) -> tuple[dict[str, str], str]:
        """Return the content, and what is wrong with it."""
        try:
            stored = json_state.load(self._path)
        except json_state.Damaged as exc:
            return {}, str(exc)
        if stored is None:
            return {}, ""
        if not isinstance(stored, dict) or not all(isinstance(v, str) for v in stored.values()):
            return {}, "is not a mapping of folders to hashes"
        return stored, ""


class DisabledNames:
    """A JSON file with a list of names; nothing with such a name is loaded, whatever its source.

    A name may be that of an entry point, a folder, a SKILL.md or a skill, so nothing has to be
    imported to disable it, and no other plugin can take over a disabled name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> frozenset[str]:
        """Return the names; a missing or damaged file holds none."""
        return self._read()[0]

    def add(self, name: str) -> None:
        """Disable `name`.

        Raises:
            OutputError: the file cannot be written.
        """
        names, damage = self._read()
        self._write(names | {name}, damage)

    def remove(self, name: str) -> None:
        """Enable `name` again; raises as `add` does."""
        names, damage = self._read()
        self._write(names - {name}, damage)

    def damage(self) -> str:
        """Return what is wrong with the file and what follows, in one line, or ""."""
        return _remark(self._path, self._read()[1], "no name is disabled")

    def _read(self) -> tuple[frozenset[str], str]:
        """Return the names, and what is wrong with the file."""
        try:
            stored = json_state.load(self._path)
        except json_state.Damaged as exc:
            return frozenset(), str(exc)
        if stored is None:
            return frozenset(), ""
        names = stored if isinstance(stored, list) else [None]
        if not all(isinstance(name, str) and name.isprintable() for name in names):
            return frozenset(), "is not a list of names"
        return frozenset(names), ""

    def _write(self, names: frozenset[str], damage: str) -> None:
        _write(self._path, sorted(names), damage, "the list of disabled names")


def _remark(path: Path, damage: str, effect: str) -> str:
    if not damage:
        return ""
    return f"{path} {damage}, so {effect}; correct or delete it"


def _write(path: Path, content: object, damage: str, what: str) -> None:
    """Replace the file; a damaged one is kept as NAME.damaged."""
    if damage:
        json_state.set_aside(path)
    json_state.write(path, content, what)
