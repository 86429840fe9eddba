"""Check target files before any work, and write files atomically.

A file is written beside its target, synced, and renamed to the target, so that readers see either
the old or the new file, and a crash leaves the old file.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from harness.api.skill import Call, Skill, Write
from harness.errors import OutputError, UsageError
from harness.support.bounded_files import file_sha256
from harness.support.process import remove_left_over


def check(
    targets: Sequence[Path],
    skill: Skill,
    may_replace: Callable[[Path], bool],
    companions: Iterable[Path] = (),
    folders: Iterable[Path] = (),
    formats: Iterable[str] = (),
) -> None:
    """Check that the targets can be written, before any work, and delete old temporary files.

    Args:
        may_replace: returns True if an existing target may be replaced.
        companions: files beside the targets, with any suffix.
        folders: folders that will be written; missing parent folders will be created.
        formats: suffixes of the formats of plugins.

    Raises:
        UsageError: the skill saves no files, or no files with the suffix of a target.
        OutputError: the folder of a target or companion is missing, a folder is not writable, or a
            target has the wrong file type or may not be replaced.
    """
    for target in targets:
        _check_suffix(target, skill, (*skill.saves, *formats))
    for folder in {target.parent for target in targets}:
        remove_left_over(folder, ".*.tmp")
    for target in (*targets, *companions):
        with reported(target):
            _check_place(target, may_replace)
    for target in folders:
        with reported(target):
            if target.exists() and not target.is_dir():
                raise OutputError("is not a folder", where=str(target))
            place = target.resolve()
            while not place.exists():
                place = place.parent
            _check_writable(place, target)


def split(call: Call, skill: Skill) -> tuple[tuple[Path, ...], dict[Path, str | None]]:
    """Return the targets that are files, and a mapping from target folders to suffixes.

    The suffix of a folder is None if the skill fills the folder itself (`Skill.saves_folder`).
    """
    folders = {
        one: suffix
        for one in call.targets
        if (suffix := folder_suffix(one, call, skill)) is not None
        or skill.saves_folder(one, call.options, call.subcommand)
    }
    return tuple(one for one in call.targets if one not in folders), folders


def folder_suffix(target: Path, call: Call, skill: Skill) -> str | None:
    """Return the suffix in `Skill.folders` that applies to a target folder; it may be "".

    The result is None for a file, and for a folder that the skill fills itself
    (`Skill.saves_folder`).
    """
    if skill.saves_folder(target, call.options, call.subcommand):
        return None
    if found := suffix_of(target, skill.folders):
        return found
    is_other = target in call.folders and not suffix_of(target, skill.saves)
    return "" if is_other and "" in skill.folders else None


def refuse_sources(outputs: Iterable[Path], **sources: Path | None) -> None:
    """Check that no output is a file that the command reads.

    Args:
        sources: the files that the command reads, each with a noun for messages as the keyword.

    Raises:
        UsageError: an output is one of `sources`.
    """
    for path in outputs:
        for name, source in sources.items():
            if source is None:
                continue
            if path.exists() and source.exists():
                # `samefile` also recognizes two hard links to the same file.
                same = path.samefile(source)
            else:
                same = path.resolve() == source.resolve()
            if same:
                raise UsageError(
                    f"is the {name} itself", where=str(path), hint="Save to another file."
                )


@contextlib.contextmanager
def reported(target: Path) -> Iterator[None]:
    """In the block, translate errors of the file system into an OutputError for `target`."""
    try:
        yield
    except (OSError, RuntimeError) as exc:  # raised for a name that is too long, or a loop of links
        reason = getattr(exc, "strerror", None) or exc
        raise OutputError(f"cannot be written: {reason}", where=str(target)) from exc


def _check_place(target: Path, may_replace: Callable[[Path], bool]) -> None:
    with contextlib.suppress(FileNotFoundError):
        target.stat()  # raises an error for a loop of links
    if target.is_dir():
        raise OutputError("is a folder", where=str(target))
    if target.exists() and not target.is_file():  # writing would replace a device or a pipe
        raise OutputError("is not a regular file", where=str(target))
    _check_writable(target.resolve().parent, target)
    if target.exists() and not may_replace(target):
        raise OutputError("exists already", where=str(target), hint="--force overwrites the file.")


def _check_writable(folder: Path, target: Path) -> None:
    if not folder.is_dir():
        raise OutputError(
            f"there is no folder {folder}", where=str(target), hint="Create the folder."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {folder} is not writable", where=str(target))


def _check_suffix(target: Path, skill: Skill, saves: Sequence[str]) -> None:
    if not (saves or skill.folders):
        raise UsageError(f"/{skill.name} has nothing to save")
    if not suffix_of(target, saves):
        known = ", ".join((*saves, *folder_names(skill)))
        what = f"the suffix {target.suffix}" if target.suffix else "a name without a suffix"
        raise UsageError(
            f"/{skill.name} cannot save to {what}",
            where=str(target),
            hint=f"The skill saves {known}. If 'save to {target}' belongs to the text, put `--` "
            "before the text.",
        )


def folder_names(skill: Skill) -> list[str]:
    """Return the forms of the target folders of a skill, such as "FOLDER/", for help."""
    return [f"NAME{suffix}/" if suffix else "FOLDER/" for suffix in skill.folders]


def suffix_of(target: Path, suffixes: Iterable[str]) -> str:
    """Return the longest suffix in `suffixes` with which the name of `target` ends, or "".

    For example, the suffix of "refs.csl.json" is ".csl.json", or ".json" if `suffixes` contains
    only ".json".
    """
    name = target.name.lower()
    found = (one for one in suffixes if name.endswith(one) and len(name) > len(one))
    return max(found, key=len, default="")


def write(
    target: Path,
    produce: Write,
    before_replacing: Callable[[str], None] = lambda _: None,
    may_replace: Callable[[str], bool] | None = None,
) -> None:
    """Write the output of `produce` to `target` atomically; on errors the target is unchanged.

    Args:
        before_replacing: called with the SHA-256 of the new content just before the target is
            created or replaced, so that the caller can record the file first.
        may_replace: returns True if the existing file with this SHA-256 may be replaced. It is
            called when the content is ready, since another process may have written the file after
            `check`. If the argument is None, every file may be replaced.

    Raises:
        OutputError: an existing file may not be replaced, or the file cannot be written.
        Exception: raised by `produce`.
    """
    real = target.resolve()  # a symbolic link stays, and the file to which it leads is replaced
    # The temporary name is short, since the name of the target may have the maximum length.
    temporary = real.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            produce(file)
            file.flush()
            os.fsync(file.fileno())
        before_replacing(file_sha256(temporary))
        if real.exists():
            if may_replace is not None and not may_replace(file_sha256(real)):
                raise OutputError(
                    "exists already: it was written while the work ran",
                    where=str(target),
                    hint="--force overwrites the file.",
                )
            temporary.chmod(stat.S_IMODE(real.stat().st_mode))
        temporary.replace(real)
        _sync_folder(real.parent)
    except OSError as exc:
        raise OutputError(f"not written: {exc.strerror or exc}", where=str(target)) from exc
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write `text` in UTF-8 to `target`, replacing it atomically.

    Raises:
        OutputError: the text cannot be written; the target is unchanged.
    """

    write(target, lambda file: file.write(text.encode()))


def _sync_folder(folder: Path) -> None:
    """Sync a folder, so that a renamed file is on the disk, if the system supports this."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
