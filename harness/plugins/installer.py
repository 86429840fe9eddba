"""Install skills from a folder, a git repository or an index.

Repositories are cloned by the system's git, without hooks, submodules, Git LFS downloads and
prompts. Only the protocols in `PROTOCOLS` are used, and http for an http URL. Fetched code is never
run.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from harness.agent_skills import skill_md
from harness.agent_skills.skill_file import FILE, SkillFile
from harness.agent_skills.skill_md import slug
from harness.errors import DeadlineExceeded, InputError, OutputError, UsageError
from harness.plugins.locations import skill_files
from harness.plugins.trust import content_hash
from harness.redaction import redact
from harness.support.bounded_files import Unsearched, read_bytes, walk
from harness.support.stop_token import StopToken
from harness.support.text_input import at_home

T = TypeVar("T")
PROTOCOLS = "file:git:https:ssh"
"""Protocols that git may use. http is added only for an http URL, so that a redirect cannot lead
from https to http.
"""
CLONE_SECONDS = 120.0
"""Time limit of a clone in seconds."""
SEARCH_SECONDS = 30.0
"""Time limit in seconds for searching the folder of a source for skills."""
MAX_FILES = 2_000
"""Maximum number of files and folders of a skill."""
MAX_BYTES = 50_000_000
"""Maximum size of a skill in bytes."""
MOST_LISTED = 20
"""Maximum number of skills that a message lists, and of files that the user is shown."""
NOT_COPIED = {".git", ".hg", ".svn", "__pycache__", "node_modules"}
"""Names of files and folders that are not installed."""
_URL = re.compile(r"(?:https?|ssh|git|file)://\S+|[\w.-]+@[\w.-]+:\S+|\S+\.git/?")
_ORIGIN = re.compile(r"(\S+)@([0-9a-f]{40}|[0-9a-f]{64}|sha256:[0-9a-f]{64})")
_SETTINGS = (
    f"core.hooksPath={os.devnull}",
    "core.fsmonitor=false",
    "core.askPass=",
    "credential.helper=",
    "submodule.recurse=false",
)
_DEFAULTS = {"GIT_SSH_COMMAND": "ssh -o BatchMode=yes"}
_ENVIRONMENT = {
    "GIT_ASKPASS": "",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "SSH_ASKPASS": "",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A folder with skills, and its origin.

    Attributes:
        address: the path, or the URL without user name and password.
        revision: the commit of a clone, or "".
        digests: the digests of the skills that were downloaded from an index, by name.
        remarks: a line about each entry of an index that cannot be used.
        is_local: True for a folder of this machine, which the user can inspect before the
            installation.
    """

    folder: Path
    address: str
    revision: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    is_local: bool = False

    def origin(self, skill: str = "") -> str:
        """Return the address, followed by "@" and the digest of a skill or else the revision.

        Without a digest and a revision, the result is only the address.

        Args:
            skill: the name of the skill; "" for the origin of the source itself.
        """
        revision = self.digests.get(skill, self.revision)
        return f"{self.address}@{revision}" if revision else self.address


def split_origin(origin: str) -> tuple[str, str]:
    """Return the address and the revision or digest of a recorded origin.

    The second value is "" if the origin contains neither a revision nor a digest.
    """
    match = _ORIGIN.fullmatch(origin)
    return (match[1], match[2]) if match else (origin, "")


@contextlib.contextmanager
def opened(
    given: str,
    project: Path,
    cancel: StopToken,
    *,
    names: Sequence[str] = (),
    every: bool = False,
    revision: str = "",
) -> Iterator[Source]:
    """Yield a source: a local folder, or a download, which is deleted after the `with` block.

    Args:
        given: the path of a folder, the URL of a git repository, or the address of a host.
        project: the folder to which paths are relative.
        names, every: select the skills to download from an index; see `chosen`.
        revision: the commit of a repository; "" for the latest commit.

    Raises:
        InputError: the source does not exist, cannot be fetched, exceeds a time limit, or is an
            index without the selected skills.
        UsageError: git is not installed, an index has an http address, or a SKILL.md is unusable.
        TooLong: a download exceeds its limit.
    """
    path = project / at_home(given)
    if path.is_dir() and not (path / "HEAD").is_file():
        yield Source(path, str(path.resolve()), is_local=True)
        return
    from harness.plugins import skill_index

    address = skill_index.address_of(given)
    if not address and not _URL.fullmatch(given):
        raise InputError(
            "there is no such folder or repository",
            where=given,
            hint="Give the path of a folder (unpack an archive), the URL of a git repository, or "
            "https://HOST.",
        )
    with tempfile.TemporaryDirectory(prefix="nanda-skill-") as temporary:
        folder = Path(temporary)
        if address:
            listed, remarks = skill_index.read(address)
            skills = chosen(listed, names, every=every)
            for skill in skills:
                skill_index.download(skill, address, folder / skill.name, MAX_FILES, MAX_BYTES)
            digests = {skill.name: skill.digest for skill in skills}
            yield Source(folder, redact(address), digests=digests, remarks=remarks)
            return
        name = re.split(r"[/:]", given.rstrip("/"))[-1].removesuffix(".git")
        folder /= slug(name)
        yield Source(folder, redact(given), _clone(given, folder, cancel, revision))


def chosen(found: Mapping[str, T], names: Sequence[str], *, every: bool) -> list[T]:
    """Return the selected skills.

    Args:
        found: all skills by name.
        names: the names of the skills to select. If there is a single skill, `names` may be empty.
        every: True to select all skills if `names` is empty.

    Raises:
        InputError: a named skill does not exist, or no skill is selected.
    """
    listed = ", ".join([*found][:MOST_LISTED]) + ", ..." * (len(found) > MOST_LISTED)
    if unknown := [name for name in names if name not in found]:
        raise InputError(f"there is no skill {unknown[0]!r}", hint=f"Skills: {listed}.")
    if names or every or len(found) == 1:
        return [found[name] for name in names or found]
    raise InputError(
        f"there are {len(found)} skills: {listed}", hint="Name skills with --skill, or add --all."
    )


def _clone(url: str, folder: Path, cancel: StopToken, revision: str) -> str:
    """Clone a single commit of a repository into a new folder, and return the commit's hash.

    Args:
        revision: the hash of the commit; "" for the latest commit.

    Raises:
        InputError: the repository cannot be cloned, or the time limit has passed.
        UsageError: git is not installed.
    """
    if (git := shutil.which("git")) is None:
        raise UsageError("git is not installed", hint="Install git, or download the repository.")
    protocols = PROTOCOLS + ":http" * url.startswith("http:")
    environment = {**_DEFAULTS, **os.environ, **_ENVIRONMENT, "GIT_ALLOW_PROTOCOL": protocols}
    limit = StopToken(cancel, CLONE_SECONDS)

    def run(*words: str) -> str:
        process = subprocess.Popen(
            [git, *(word for setting in _SETTINGS for word in ("-c", setting)), *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        output: tuple[str, str] | None = None
        try:
            while output is None:
                limit.check()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    output = process.communicate(timeout=0.2)
        except DeadlineExceeded as exc:
            raise InputError(f"the clone was {exc.message}") from exc
        finally:
            _kill(process)
        printed, errors = output
        if process.returncode:
            lines = errors.strip().splitlines() or [f"git ended with {process.returncode}"]
            raise InputError(f"cannot be cloned: {lines[-1]}", where=url)
        return printed.strip()

    options = ["--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules"]
    run("clone", *options, "--single-branch", "--template=", "--", url, str(folder))
    inside = "-C", str(folder)
    if revision and run(*inside, "rev-parse", "HEAD") != revision:
        run(*inside, "fetch", *options, "origin", revision)
        run(*inside, "checkout", "--quiet", "--detach", "FETCH_HEAD")
    return run(*inside, "rev-parse", "HEAD")


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill git and its child processes if git is still running."""
    if process.poll() is None:
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.communicate()


def skills_of(source: Source) -> list[SkillFile]:
    """Return the skill in the folder of a source, or else the usable skills below this folder.

    Raises:
        InputError: there is no usable skill.
        UsageError: the SKILL.md in the folder itself cannot be used.
    """
    with contextlib.suppress(OSError):
        for path in sorted(source.folder.iterdir()):
            if path.name.upper() == FILE.upper() and path.is_file():
                return [skill_md.read(path)]
    found = skill_files(source.folder, SEARCH_SECONDS).found
    if not source.is_local:  # links in a repository may lead to any place on this machine
        found = [(path, file) for path, file in found if not _is_linked(path, source.folder)]
    if usable := [file for _, file in found if isinstance(file, SkillFile)]:
        return usable
    faults = [str(file) for _, file in found if isinstance(file, UsageError)]
    reason = f": {faults[0]}" if faults else ""
    raise InputError(f"there is no usable {FILE}{reason}", where=source.origin())


def _is_linked(path: Path, root: Path) -> bool:
    """Return True if the path from `root` to `path` contains a link."""
    return any(place.is_symlink() for place in (path, *path.parents) if place.is_relative_to(root))


@dataclass(frozen=True, slots=True)
class Staged:
    """A copy of a skill in a hidden folder, before the skill is installed.

    Attributes:
        file: the SKILL.md of the copy.
        files: the names of the files, each with its size in bytes.
        sha256: the hash of the names and contents of the files (see `content_hash`).
        origin: the address of the skill's source, with the revision or digest, if any.
        is_local: True if the source is a folder of this machine.
    """

    file: SkillFile
    files: tuple[tuple[str, int], ...]
    sha256: str
    origin: str
    is_local: bool

    @property
    def size(self) -> int:
        return sum(size for _, size in self.files)

    @property
    def has_code(self) -> bool:
        """True if the skill is a plugin, whose code runs in this program if the user trusts it."""
        return any(name == "plugin.py" for name, _ in self.files)

    def place(self, target: Path) -> None:
        """Move the approved content to `target`, replacing an existing folder.

        Raises:
            OutputError: the content has changed since it was copied, or cannot be moved. The
                existing folder is then kept.
        """
        approved, replaced = (self.file.folder.with_name(name) for name in (".new", ".replaced"))
        if content_hash(self.file.folder, approved) != self.sha256:
            reason = "was changed while you were asked, and is not installed"
            raise OutputError(reason, where=str(self.file.folder), hint="Repeat the line.")
        try:
            if target.is_symlink() or target.exists():
                target.rename(replaced)
            try:
                approved.rename(target)
            except OSError:
                if replaced.exists():
                    replaced.rename(target)
                raise
        except OSError as exc:
            raise OutputError(f"cannot be installed: {exc.strerror}", where=str(target)) from exc


@contextlib.contextmanager
def staged(found: SkillFile, source: Source, root: Path) -> Iterator[Staged]:
    """Yield a copy of a skill; its hidden folder in `root` is removed after the block.

    Raises:
        InputError: the skill contains a link, a special file or compiled Python, or is too large.
        OutputError: the copy cannot be written.
    """
    hidden = root / f".{os.getpid()}-{secrets.token_hex(4)}.tmp"  # discovery skips such names
    folder = hidden / found.name
    try:
        try:
            files = tuple(_copied(found.folder, folder))
        except OSError as exc:
            raise OutputError(f"cannot be copied: {exc.strerror}", where=str(root)) from exc
        file, sha256 = skill_md.read(folder / found.path.name), content_hash(folder)
        yield Staged(file, files, sha256, source.origin(found.name), source.is_local)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _copied(source: Path, target: Path) -> Iterator[tuple[str, int]]:
    """Copy the files of a skill into a new folder; yield each file's name and size in bytes.

    Raises:
        InputError: the skill contains a link, a special file or compiled Python outside of the
            folders in `NOT_COPIED`, or is too large.
    """
    left = MAX_BYTES
    try:
        for place, children, names in walk(source, MAX_FILES):
            children[:] = [child for child in children if child not in NOT_COPIED]
            inside = place.relative_to(source)
            (target / inside).mkdir(parents=True)
            for name in (*children, *names):
                path, shown = place / name, inside / name
                mode = path.lstat().st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    kind = "a link" if stat.S_ISLNK(mode) else "not a regular file"
                    raise InputError(f"is {kind}, which is not installed", where=str(shown))
                if path.suffix == ".pyc":
                    raise InputError("is compiled Python, which cannot be read", where=str(shown))
                if name in children or name in NOT_COPIED:
                    continue
                content = _read(path, left)
                left -= len(content)
                (target / shown).write_bytes(content)
                (target / shown).chmod(0o755 if mode & stat.S_IXUSR else 0o644)
                yield shown.as_posix(), len(content)
    except Unsearched as exc:
        raise InputError(str(exc), where=str(source)) from exc


def _read(path: Path, limit: int) -> bytes:
    try:
        return read_bytes(path, limit)
    except OSError as exc:
        if exc.errno == errno.EFBIG:
            size = f"{MAX_BYTES / 1e6:.0f} MB"
            raise InputError(f"the skill has more than {size}", where=path.name) from exc
        raise InputError(f"cannot be read: {exc.strerror}", where=path.name) from exc


def remove(folder: Path) -> None:
    """Delete an installed skill; if it is a link, delete only the link.

    Raises:
        OutputError: the skill cannot be deleted.
    """
    try:
        if folder.is_symlink():
            folder.unlink()
            return
        hidden = folder.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.tmp")
        folder.rename(hidden)  # discovery ignores the hidden folder if deleting is interrupted
        shutil.rmtree(hidden)
    except OSError as exc:
        raise OutputError(f"cannot be deleted: {exc.strerror}", where=str(folder)) from exc
