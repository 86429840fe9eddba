"""The user's choices about plugins: which folders are trusted, and which names are disabled.

Trust applies to the content of a folder, not to its name, so a changed file requires trust again.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from harness.errors import UsageError
from harness.support import json_state


def content_hash(folder: Path) -> str:
    """Return the SHA-256 of the names and contents of all files in the folder.

    Raises:
        UsageError: the folder cannot be trusted: it contains a link that leads out of it, compiled
            Python, or a file that cannot be read.
    """
    digest, root = hashlib.sha256(), folder.resolve()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() or p.is_symlink()):
        try:
            leaves = path.is_symlink() and not path.resolve(strict=True).is_relative_to(root)
            content = path.read_bytes() if path.is_file() else bytes(path.readlink())
        except (OSError, RuntimeError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            raise UsageError(f"cannot be trusted: {reason}", where=str(path)) from exc
        if leaves:
            raise UsageError("cannot be trusted: the link leads out of the folder", where=str(path))
        if path.suffix == ".pyc":
            raise UsageError(
                "cannot be trusted: it is compiled Python", where=str(path), hint="Delete it."
            )
        name = os.fsencode(path.relative_to(folder).as_posix())
        for part in (name, content):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


class TrustStore:
    """A JSON file that maps each trusted folder to its content hash."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def trusts(self, folder: Path) -> bool:
        """Return whether the folder is trusted with its present content."""
        known = self._read().get(str(folder.resolve()))
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
        decisions = {**self._read(), str(folder.resolve()): content_hash(folder)}
        json_state.write(self._path, decisions, "the trust")

    def _read(self) -> dict[str, str]:
        decisions = json_state.read(self._path)
        return decisions if isinstance(decisions, dict) else {}


class DisabledNames:
    """A JSON file with a list of names; nothing with such a name is loaded, whatever its source.

    A name may be that of an entry point, a folder, a SKILL.md or a skill, so nothing has to be
    imported to disable it, and no other plugin can take over a disabled name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> frozenset[str]:
        """Return the names; a missing or damaged file holds none."""
        names = json_state.read(self._path)
        return (
            frozenset(n for n in names if isinstance(n, str))
            if isinstance(names, list)
            else frozenset()
        )

    def add(self, name: str) -> None:
        """Disable `name`.

        Raises:
            OutputError: the file cannot be written.
        """
        self._write(self.read() | {name})

    def remove(self, name: str) -> None:
        """Enable `name` again; raises as `add` does."""
        self._write(self.read() - {name})

    def _write(self, names: frozenset[str]) -> None:
        json_state.write(self._path, sorted(names), "the list of disabled names")
