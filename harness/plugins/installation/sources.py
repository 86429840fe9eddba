"""Where skills are installed from: a folder, a ZIP archive, or a git repository.

Repositories are cloned by the system's git: without hooks, submodules, filters and questions, and
only by the protocols in `PROTOCOLS`. Nothing of what is fetched runs.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.agent_skills.skill_md import slug
from harness.errors import DeadlineExceeded, InputError, UsageError
from harness.plugins.installation.archives import unpack
from harness.support.reading.bounded_files import Unsearched, walk
from harness.support.stopping.stop_token import StopToken

PROTOCOLS = "file:git:http:https:ssh"
SECONDS = 120.0
"""Time limit of one clone."""
MAX_CLONE = 500_000_000
"""Maximum size of a clone, in bytes."""
MAX_ENTRIES = 50_000
"""Maximum number of files and folders of a clone."""
SUFFIXES = (".zip", ".skill")
"""Suffixes of archives."""
_URL = re.compile(r"(?:https?|ssh|git|file)://\S+|[\w.-]+@[\w.-]+:\S+|\S+\.git/?")
_LOGIN = re.compile(r"(?<=//)[^/@\s]*@")
_OFF = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.askPass": "",
    "credential.helper": "",
    "submodule.recurse": "false",
}
_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": PROTOCOLS,
    "GIT_ASKPASS": "",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "SSH_ASKPASS": "",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A folder with skills, and where it comes from.

    Attributes:
        origin: the path, or the address without a login; of a clone, with the commit.
        is_local: it is a folder of this machine, which the user can look at before.
    """

    folder: Path
    origin: str
    is_local: bool = False


@contextlib.contextmanager
def opened(given: str, project: Path, cancel: StopToken) -> Iterator[Source]:
    """Fetch a source; what had to be fetched exists until the end of the block.

    Args:
        project: the folder that paths are relative to.

    Raises:
        InputError: there is no such source, or it exceeds a limit.
        UsageError: git is needed and missing.
    """
    path = project / _expanded(given)
    if path.is_dir() and not (path / "HEAD").is_file():
        yield Source(path, str(path.resolve()), is_local=True)
        return
    with tempfile.TemporaryDirectory(prefix="nanda-skill-") as temporary:
        last = re.split(r"[/:]", given.rstrip("/"))[-1]
        folder = Path(temporary) / slug(re.sub(r"\.(?:git|zip|skill)\Z", "", last, flags=re.I))
        if path.is_file() and path.suffix.lower() in SUFFIXES:
            unpack(path, folder)
            yield Source(folder, str(path.resolve()))
        elif _URL.fullmatch(given):
            if given.lower().endswith(SUFFIXES):
                raise UsageError("archives are not downloaded", where=given, hint="Download it.")
            yield Source(folder, f"{_LOGIN.sub('', given)}@{_clone(given, folder, cancel)}")
        else:
            raise InputError(
                "there is no such folder, archive or repository",
                where=given,
                hint="Give a path, a .zip file, or the URL of a git repository.",
            )


def _expanded(given: str) -> Path:
    try:
        return Path(given).expanduser()
    except RuntimeError as exc:
        raise InputError("there is no such home folder", where=given) from exc


def _clone(url: str, folder: Path, cancel: StopToken) -> str:
    """Clone the newest commit of a repository, and return its name."""
    git = shutil.which("git")
    if git is None:
        raise UsageError("git is not installed", hint="Install it, or download the repository.")
    settings = [word for key, value in _OFF.items() for word in ("-c", f"{key}={value}")]
    options = [
        "--depth=1",
        "--single-branch",
        "--no-tags",
        "--no-recurse-submodules",
        "--template=",
    ]
    command = [git, *settings, "clone", "--quiet", *options, "--", url, str(folder)]
    ssh = os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    environment = {**os.environ, **_ENVIRONMENT, "GIT_SSH_COMMAND": ssh}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        try:
            _wait(process, folder, StopToken(cancel, SECONDS))
        finally:
            _end(process)
        errors.seek(0)
        said = errors.read(4096).decode(errors="replace").strip().splitlines()
    if process.returncode:
        reason = _LOGIN.sub("", said[-1]) if said else f"git ended with {process.returncode}"
        raise InputError(f"cannot be cloned: {reason}", where=_LOGIN.sub("", url))
    head = [git, *settings, "-C", str(folder), "rev-parse", "HEAD"]
    done = subprocess.run(head, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _wait(process: subprocess.Popen[bytes], folder: Path, limit: StopToken) -> None:
    """Wait for the end of a clone, within the limits of time and size."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.2)
            return
        try:
            limit.check()
        except DeadlineExceeded as exc:
            raise InputError(f"the clone was {exc.message}") from exc
        if _size(folder) > MAX_CLONE:
            raise InputError(f"the repository has more than {MAX_CLONE / 1e6:.0f} MB")


def _size(folder: Path) -> int:
    """Return the size of the files, or one above the limit for too many entries."""
    size = 0
    try:
        for place, _, names in walk(folder, MAX_ENTRIES):
            for name in names:
                with contextlib.suppress(OSError):  # a temporary file of git
                    size += (place / name).lstat().st_size
    except Unsearched:
        return MAX_CLONE + 1
    return size


def _end(process: subprocess.Popen[bytes]) -> None:
    """End git and the processes that it started, if it still runs."""
    if process.poll() is None:
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.wait()
