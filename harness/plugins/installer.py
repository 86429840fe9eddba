"""Installing skills from a folder or a git repository: fetched, copied, shown, and put in place.

Repositories are cloned by the system's git: without hooks, submodules, filters and questions, and
only by the protocols in `PROTOCOLS`. Nothing of what is fetched runs.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.agent_skills import skill_md
from harness.agent_skills.skill_md import SkillFile, slug
from harness.errors import DeadlineExceeded, InputError, OutputError, UsageError
from harness.plugins.locations import skill_files
from harness.plugins.user_choices import content_hash
from harness.support.bounded_files import Unsearched, read_bytes, walk
from harness.support.stop_token import StopToken

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


MAX_FILES = 2_000
"""Maximum number of files and folders of one skill."""
MAX_BYTES = 50_000_000
"""Maximum size of one skill."""
SECONDS = 30.0
"""Time limit of the search of a source."""
NOT_COPIED = {".git", ".hg", ".svn", "__pycache__", "node_modules"}
"""Folders and files that are left out of the copy."""
MAX_ENTRIES = 20_000
"""Maximum number of entries of an archive."""
MAX_BYTES = 200_000_000
"""Maximum size of all its files."""
_CHUNK = 64 * 1024


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


def unpack(path: Path, target: Path) -> None:
    """Write the files of an archive to the new folder `target`.

    Raises:
        InputError: it is not a ZIP archive, exceeds a limit, or has an entry that would be written
            elsewhere, is a link or is encrypted; `target` may then hold a part of it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_ENTRIES:
                raise InputError(f"it has more than {MAX_ENTRIES:,} entries", where=str(path))
            names = [_checked(entry, path) for entry in entries]
            target.mkdir()
            left = MAX_BYTES
            for entry, name in zip(entries, names, strict=True):
                left -= _write(archive, entry, target / name, left)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as exc:
        raise InputError(f"is not a readable ZIP archive: {exc}", where=str(path)) from exc
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise InputError(f"cannot be unpacked: {reason}", where=str(path)) from exc


def _checked(entry: zipfile.ZipInfo, path: Path) -> PurePosixPath:
    """Return the relative path of an entry."""
    shown = "".join(c if c.isprintable() else "?" for c in entry.orig_filename)[:120]
    name = PurePosixPath(entry.filename)
    odd = "\\" in entry.orig_filename or "\0" in entry.orig_filename or ":" in entry.filename
    if odd or name.is_absolute() or ".." in name.parts or not name.parts:
        raise InputError(f"the entry {shown!r} would be outside of the folder", where=str(path))
    mode = entry.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InputError(f"the entry {shown!r} is a link or not a regular file", where=str(path))
    if entry.flag_bits & 1:
        raise InputError(f"the entry {shown!r} is encrypted", where=str(path))
    return name


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, limit: int) -> int:
    """Write one entry and return its size, which the archive may state wrongly."""
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with archive.open(entry) as packed, target.open("xb") as file:
        while chunk := packed.read(_CHUNK):
            size += len(chunk)
            if size > limit:
                raise InputError(f"it has more than {MAX_BYTES / 1e6:.0f} MB unpacked")
            file.write(chunk)
    if (entry.external_attr >> 16) & stat.S_IXUSR:
        target.chmod(0o755)
    return size
