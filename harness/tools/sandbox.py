"""Confinement of commands with bubblewrap, where it is installed and works.

Commands have no network and write only below the project, in which the places that control the
harness are read-only. /tmp is empty and lost afterwards; sockets below /run are hidden.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_PROGRAM = "bwrap"
_TMP = "/tmp"  # noqa: S108  an empty one of the sandbox
_BASE = (
    *("--die-with-parent", "--unshare-pid", "--unshare-ipc", "--cap-drop", "ALL"),
    *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", _TMP),
    *("--setenv", "TMPDIR", _TMP),
    *("--tmpfs", "/run", "--ro-bind-try", "/run/current-system", "/run/current-system"),
    *("--ro-bind-try", "/run/systemd/resolve", "/run/systemd/resolve"),
)
_NO_NETWORK = "--unshare-net"
_SECONDS = 10


@functools.cache
def missing() -> str:
    """Return why there is no sandbox, or "" if there is one."""
    if sys.platform != "linux":
        return f"there is none for {sys.platform}"
    if shutil.which(_PROGRAM) is None:
        return "bubblewrap is not installed"
    try:
        tried = subprocess.run(
            [_PROGRAM, *_BASE, _NO_NETWORK, "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"bubblewrap does not work: {exc}"
    reason = tried.stderr.decode(errors="replace").strip()
    return f"bubblewrap does not work: {reason}" if tried.returncode else ""


@contextlib.contextmanager
def confined(
    command: Sequence[str],
    project: Path,
    protected: Iterable[Path],
    readable: Iterable[Path] = (),
    *,
    network: bool = False,
) -> Iterator[list[str]]:
    """Yield the command that runs `command` in the sandbox.

    Protected folders of the project that do not exist are created for this time, since only what
    exists can be made read-only.

    Args:
        readable: folders that the command may read although they may be below /tmp.
    """
    options = [*_BASE, *([] if network else [_NO_NETWORK])]
    for folder in readable:
        options += ["--ro-bind-try", str(folder), str(folder)]
    options += ["--bind", str(project), str(project)]
    made: list[Path] = []
    try:
        options += _read_only(project, [path.resolve() for path in protected], made)
        yield [_PROGRAM, *options, "--chdir", str(project), "--", *command]
    finally:
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()


def _read_only(project: Path, places: Sequence[Path], made: list[Path]) -> Iterator[str]:
    """Yield the options that make places below the project read-only.

    The folders around them become mounts, too: they cannot be renamed, which would move the place.
    A mount hides those below it, so the outer ones come first, and each only once.
    """
    if any(project.is_relative_to(place) for place in places):
        yield from ("--ro-bind", str(project), str(project))
        return
    below = [place for place in places if place.is_relative_to(project)]
    outermost = [place for place in below if not any(other in place.parents for other in below)]
    kept = [place for place in dict.fromkeys(outermost) if _can_exist(place)]
    around = {above for place in kept for above in place.parents if project in above.parents}
    for folder in sorted(around):
        yield from ("--bind", str(_existing(folder, made)), str(folder))
    for place in kept:
        yield from ("--ro-bind", str(_existing(place, made)), str(place))


def _can_exist(place: Path) -> bool:
    """Return True for what exists and for folders, which can be created for this time."""
    return place.exists() or place.suffix in ("", ".d")


def _existing(place: Path, made: list[Path]) -> Path:
    """Return the place, created as a folder if it does not exist."""
    if not place.exists():
        place.mkdir()
        made.append(place)
    return place
