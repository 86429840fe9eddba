"""Whether a project's plugin may run: only with the content somebody has looked at and trusted.

Trust is given to a folder's content, not to its name: a changed file asks again.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from harness.errors import UsageError
from harness.support import json_state


def content_hash(folder: Path) -> str:
    """sha256 over names and contents of all files of the folder.

    Raises:
        UsageError: it cannot be trusted: a link leads out of it, where contents change unseen; it
            holds compiled Python, which nobody can read; or a file cannot be read.
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
            raise UsageError("leads out of the folder, which cannot be trusted", where=str(path))
        if path.suffix == ".pyc":
            raise UsageError(
                "is compiled Python, which cannot be trusted", where=str(path), hint="Delete it."
            )
        name = os.fsencode(path.relative_to(folder).as_posix())  # a name may be no UTF-8
        for part in (name, content):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


class TrustStore:
    """The user's decisions, in a JSON file of folder -> content hash."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def trusts(self, folder: Path) -> bool:
        """Whether the folder was trusted with the content it has now."""
        known = self._read().get(str(folder.resolve()))
        try:
            return known is not None and known == content_hash(folder)
        except UsageError:  # it has become one that cannot be trusted
            return False

    def trust(self, folder: Path) -> None:
        """Trust the folder as it is now.

        Raises:
            UsageError: as `content_hash`.
            OutputError: the decision cannot be stored.
        """
        decisions = {**self._read(), str(folder.resolve()): content_hash(folder)}
        json_state.write(self._path, decisions, "the trust")

    def _read(self) -> dict[str, str]:
        decisions = json_state.read(self._path)
        return decisions if isinstance(decisions, dict) else {}  # else nothing is trusted
