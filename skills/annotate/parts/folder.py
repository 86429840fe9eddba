"""A folder of parts on a file system that all nodes share, or at a URL of fsspec.

    part-20261127T154400-1b2c-0f3a....parquet   a part, named after its run and its papers
    _run                                        the run that may write parts: the latest one
    _broken-part-...                            a part that was not whole, set aside

A part is written under another name and renamed, so that it is in the folder whole or not at all.
Readers of Parquet leave out names that begin with "_".
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import OutputError, UsageError
from skills.corpus.tables.parquet.files import is_part

RUN, TEMPORARY, BROKEN = "_run", ".tmp", "_broken-"
LEAST_FREE = 100_000_000
"""Bytes that must be free in the folder before any work: some 30,000 annotated papers."""


def folder_url(target: Path) -> str:
    """Return the folder that a target names; a path has lost one slash of the "//" of a URL."""
    scheme, colon, rest = str(target).partition(":/")
    is_url = colon and len(scheme) > 1 and scheme.isalnum()
    return f"{scheme}://{rest.lstrip('/')}" if is_url else str(target.expanduser().resolve())


def new_run() -> str:
    """Return the name of a run; later ones are sorted after it."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"


@dataclass(frozen=True, slots=True)
class PartsFolder:
    """The folder at a path or URL. It is sent to the nodes, so that it holds nothing open."""

    url: str

    def create(self) -> None:
        """Create the folder if it is missing.

        Raises:
            UsageError: its file system is unknown, or the package for it is missing.
            OutputError: it is a file, or cannot be created.
        """
        with self._reported("cannot be created"):
            fs, root = self._place()
            if fs.isfile(root):
                raise OutputError("is a file", where=self.url, hint="Name a folder for the parts.")
            fs.makedirs(root, exist_ok=True)

    def take_over(self, run: str) -> None:
        """Let `run` alone write parts from now on, and remove what others had begun."""
        with self._reported("cannot be written"):
            fs, root = self._place()
            fs.pipe_file(f"{root}/{RUN}", run.encode())
            for name in self._names():
                if name.startswith("_") and name.endswith(TEMPORARY):
                    with contextlib.suppress(FileNotFoundError):
                        fs.rm_file(f"{root}/{name}")

    def belongs_to(self, run: str) -> bool:
        """Return True if `run` is the latest one that took the folder over."""
        fs, root = self._place()
        try:
            return bool(fs.cat_file(f"{root}/{RUN}") == run.encode())
        except FileNotFoundError:
            return False

    def names(self) -> list[str]:
        """Return the names of the parts, sorted."""
        with self._reported("cannot be read"):
            return [name for name in self._names() if is_part(name)]

    def open(self, name: str) -> Any:
        """Open a file for reading."""
        fs, root = self._place()
        return fs.open(f"{root}/{name}", "rb")

    def has(self, name: str) -> bool:
        """Return True if there is a file of this name."""
        fs, root = self._place()
        return bool(fs.exists(f"{root}/{name}"))

    def write(self, name: str, content: bytes, run: str) -> None:
        """Write a file, whole or not at all.

        Raises:
            OutputError: it cannot be written, or another run has taken the folder over.
        """
        with self._reported("cannot be written"):
            fs, root = self._place()
            temporary = f"{root}/_{name}.{secrets.token_hex(4)}{TEMPORARY}"
            fs.pipe_file(temporary, content)
            if not self.belongs_to(run):
                fs.rm_file(temporary)
                raise OutputError(
                    "another run writes into this folder now",
                    where=self.url,
                    hint="Let one of them end; its parts are kept.",
                )
            fs.mv(temporary, f"{root}/{name}")

    def set_aside(self, name: str) -> None:
        """Rename a part that is not whole, so that readers leave it out."""
        with self._reported("cannot be written"):
            fs, root = self._place()
            fs.mv(f"{root}/{name}", f"{root}/{BROKEN}{name}")

    @contextlib.contextmanager
    def marked(self, run: str) -> Iterator[None]:
        """Keep a file in the folder during the block, by which nodes recognize it."""
        with self._reported("cannot be written"):
            fs, root = self._place()
            fs.pipe_file(f"{root}/_{run}{TEMPORARY}", b"")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # `take_over` of another run has removed it
                fs.rm_file(f"{root}/_{run}{TEMPORARY}")

    def problem(self, run: str) -> str:
        """Return why this node cannot write parts of `run`, which has marked the folder, or ""."""
        try:
            fs, root = self._place()
            if not fs.exists(f"{root}/_{run}{TEMPORARY}"):
                return f"does not share the folder {self.url}"
            probe = f"{root}/_probe-{secrets.token_hex(4)}{TEMPORARY}"
            fs.pipe_file(probe, b"")
            fs.rm_file(probe)
            free = shutil.disk_usage(root).free if _is_local(fs) else LEAST_FREE
        except (OSError, ImportError, ValueError) as exc:
            return f"cannot write into {self.url}: {exc}"
        if free < LEAST_FREE:
            return f"has {free / 1e6:.0f} MB free for {self.url}; {LEAST_FREE / 1e6:.0f} are needed"
        return ""

    def _names(self) -> list[str]:
        fs, root = self._place()
        fs.invalidate_cache()
        return sorted(path.rpartition("/")[2] for path in fs.ls(root, detail=False))

    def _place(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        fs, root = url_to_fs(self.url)
        return fs, root.rstrip("/")

    @contextlib.contextmanager
    def _reported(self, what: str) -> Iterator[None]:
        try:
            yield
        except (ImportError, ValueError) as exc:  # a scheme of another package, or of none
            raise UsageError(str(exc).rstrip("."), where=self.url) from exc
        except OSError as exc:
            raise OutputError(f"{what}: {exc.strerror or exc}", where=self.url) from exc


def _is_local(fs: Any) -> bool:
    """Return True for a file system of the machine itself, mounted ones included."""
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)
