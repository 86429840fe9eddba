"""Locate files of weights, download them once, and verify them by SHA-256 before use.

Each downloaded file is created in a temporary folder, and renamed to its SHA-256 when it is
complete. If a process is killed, the next download of the same file removes the temporary folder.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ChecksumMismatch, ModelUnavailable, OutputError
from harness.support import bounded_files
from harness.support.calls import TTLCache

if TYPE_CHECKING:
    from harness.models.registry import FileEntry

MERGE_VERSION = 1
"""Version of the format of merged files: files of another version are merged again."""
ShowProgress = Callable[[str], contextlib.AbstractContextManager[Callable[[str], None]]]


class FileStore:
    """The files of the registry on this machine.

    Args:
        files: the file entries of the registry, by id, or a function that returns these entries.
        cache_dir: the folder for downloaded files, merged files and known digests.
        notify: called with a line about each download or merge.
        progress: a function such as `Screen.progress`, which shows the progress of a merge.
    """

    def __init__(
        self,
        files: Mapping[str, FileEntry] | Callable[[], Mapping[str, FileEntry]],
        cache_dir: Path,
        notify: Callable[[str], None],
        progress: ShowProgress | None = None,
    ) -> None:
        self._source = files
        self.cache_dir = cache_dir
        self.notify = notify
        self._progress = progress
        # A fallback that needs the same file as the model should not repeat a failed download.
        self._fetches: TTLCache[None] = TTLCache()

    @property
    def _files(self) -> Mapping[str, FileEntry]:
        return self._source() if callable(self._source) else self._source

    def path(self, file_id: str) -> Path:
        """Return the path of a file, even if the file is not downloaded yet."""
        entry = self._files[file_id]
        if entry.local_path is not None:
            return entry.local_path
        return self.cache_dir / "models" / f"{entry.sha256}{Path(entry.member or '').suffix}"

    def name(self, file_id: str) -> str:
        """Return the name of a file in its folder, wheel or repository, not in the cache."""
        entry = self._files[file_id]
        return Path(entry.path or entry.member or file_id).name

    def missing(self, file_id: str) -> str | None:
        """Return why a file cannot be used, or None if it exists or can be downloaded."""
        entry = self._files[file_id]
        return None if self.path(file_id).is_file() or entry.origin else _absent(entry)

    def to_fetch(self, *file_ids: str | None) -> int:
        """Return the number of bytes to download before the files can be used.

        A file of unknown size counts as 0 bytes, and an id of None is ignored.
        """
        return sum(
            self._files[i].size or 0
            for i in file_ids
            if i is not None and not self.path(i).is_file()
        )

    def ensure(self, file_id: str) -> Path:
        """Download a file if necessary, verify its SHA-256, and return its path.

        Raises:
            ModelUnavailable: the file does not exist, or cannot be downloaded.
            ChecksumMismatch: the file does not match the SHA-256 in the registry.
        """
        entry, path = self._files[file_id], self.path(file_id)
        if not path.is_file():
            if not entry.origin:
                raise ModelUnavailable(_absent(entry))
            from harness.models.downloads import create, fetch

            make = partial(fetch, file_id, entry, notify=self.notify)
            self._fetches.get(file_id, lambda: create(file_id, path, make))
        found = self.digest(file_id)
        if entry.sha256 is not None and found != entry.sha256:
            raise ChecksumMismatch(
                f"{file_id} has sha256 {found[:12]}..., the registry names {entry.sha256[:12]}...",
                where=str(path),
                hint="Delete the file and run again to download it."
                if entry.origin
                else "Correct the file, or its sha256 in the registry.",
            )
        return path

    def merged(self, base_id: str, adapter_id: str) -> Path:
        """Return the path of the merged file; merge base and adapter if it is missing or damaged.

        Raises:
            ModelUnavailable: a file is not available, the adapter does not fit the base, or the
                merged file cannot be stored.
            ChecksumMismatch: raised by `ensure`.
        """
        from harness.models import downloads

        base, adapter = self.ensure(base_id), self.ensure(adapter_id)
        path = self._merged_path(base_id, adapter_id)

        def merge(folder: Path) -> Path:
            from harness.models import gguf_file

            why = f" again, since {path.name} does not match its digest" * path.is_file()
            self.notify(f"merging {adapter_id} into {base_id}{why or ', once'}")
            shown = self._progress or (lambda _: contextlib.nullcontext(lambda _: None))
            with shown("merging") as tick:
                gguf_file.merge_adapter(base, adapter, folder / path.name, tick)
            merged = folder / path.name
            _digest_file(path).write_text(bounded_files.file_sha256(merged), encoding="utf-8")
            return merged

        downloads.create(f"{base_id} with {adapter_id}", path, merge, self._is_as_made)
        return path

    def _is_as_made(self, path: Path) -> bool:
        """Return True if a merged file exists, and has the digest stored at its creation."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return _digest_file(path).read_text(encoding="utf-8") == self.digest_of(path)
        return False

    def _merged_path(self, base_id: str, adapter_id: str) -> Path:
        parts = f"{MERGE_VERSION} {self.digest(base_id)} {self.digest(adapter_id)}"
        key = hashlib.sha256(parts.encode()).hexdigest()
        return self.cache_dir / "models" / f"merged-{key}.gguf"

    def identities(self, base_id: str, adapter_id: str | None = None) -> list[set[str]]:
        """Return the sets of SHA-256 digests that identify a model on a server.

        A server has the model if its files include all digests of one of these sets. The first set
        has the known digests of the base and the adapter. The second set has the digest of the
        merged file, if the merged file exists on this machine. An empty set is left out.
        """
        parts = [file_id for file_id in (base_id, adapter_id) if file_id]
        here = [self.path(file_id).is_file() for file_id in parts]
        known = {
            self._files[file_id].sha256 or (is_here and self.digest(file_id))
            for file_id, is_here in zip(parts, here, strict=True)
        }
        found = [{sha256 for sha256 in known if sha256}]
        if adapter_id and all(here):
            merged = self._merged_path(base_id, adapter_id)
            if self._is_as_made(merged):
                found.append({self.digest_of(merged)})
        return [files for files in found if files]

    def digest(self, file_id: str) -> str:
        """Return the SHA-256 of a file, which is computed again only if the file changes."""
        return self.digest_of(self.path(file_id))

    def digest_of(self, path: Path) -> str:
        """Return the SHA-256 of any file, which is computed again only if the file changes."""
        stat = path.stat()
        # A copy can keep the size and the modification time of a file, but neither the change time
        # nor the inode number, which the file system sets.
        stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        key = str(path.resolve())
        stored = None
        with contextlib.suppress(bounded_files.Damaged):
            stored = bounded_files.load_json(self.cache_dir / "digests.json")
        known = stored if isinstance(stored, dict) else {}
        match known.get(key):
            case [*before, str(digest)] if before == stamp:
                return digest
        digest = bounded_files.file_sha256(path)
        # If the digests cannot be stored, they are computed again the next time.
        with contextlib.suppress(OutputError):
            digests = {**known, key: [*stamp, digest]}
            bounded_files.write_json(self.cache_dir / "digests.json", digests, "the digests")
        return digest


def _digest_file(path: Path) -> Path:
    """Return the path of the file that stores the digest of the merged file `path`."""
    return path.with_name(f"{path.name}.sha256")


def _absent(entry: FileEntry) -> str:
    """Return the message for a missing file, with the path as written in the registry."""
    return f"file {entry.path} does not exist"
