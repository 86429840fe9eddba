"""Split the commands of a model into words, and determine the scope of "always" answers.

Without a sandbox, only the user's answers protect the user's files. Therefore an "always" answer
covers exactly the command that was shown, or a command of `HARMLESS` with any harmless options.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from harness.places import is_free, is_guarded, named_places
from harness.settings import Settings

_NEEDS_SHELL = re.compile(r"[;&|<>$`(){}\[\]*?!\\]|(?:\A|\s)[~#]")
"""Matches characters that have a meaning in a shell. Quotes are not considered: a harmless command
with such a character in quotes must be confirmed each time, but no dangerous command is overlooked.
"""
HARMLESS: Mapping[str, tuple[str, str]] = {
    "cat": (r"-[AbEnsTv]+", "prints files"),
    "git diff": (
        r"-[wbp]+|-U\d+|--(cached|staged|stat|numstat|name-only|name-status|check)",
        "prints changes; would write with --output, and run a program with --ext-diff",
    ),
    "git log": (
        r"-[pn]|-n?\d+|--(all|follow|graph|name-only|name-status|oneline|stat)",
        "prints commits; would write with --output",
    ),
    "git show": (
        r"-[wbp]+|--(stat|name-only|name-status|oneline)",
        "prints a commit or a file of it; would write with --output",
    ),
    "git status": (r"-[bs]+|--(branch|short|porcelain|ignored)", "prints which files are changed"),
    "grep": (r"-[cEFhHilLnoqrsvwx]+|-[ABCem]\d*", "prints lines; would follow links with -R"),
    "head": (r"-[nc]?\d*", "prints the beginning of files"),
    "ls": (r"-[1aAdFhilrRsStU]+", "lists folders; does not follow links below them"),
    "tail": (r"-[nc]?\d*", "prints the end of files; would run forever with -f"),
    "wc": (r"-[clLmw]+", "counts lines; would read a list of files with --files0-from"),
}
"""Commands that neither change files nor run other programs if they have only allowed options. Each
value contains a regular expression for allowed options, and a description, which also mentions
harmful options. Other arguments may be files of the project.
"""
_WITH_VALUE = re.compile(r"-[^-]\S|-\S* [^-]")
_RUNNERS = frozenset(  # in alphabetical order
    """
    ash awk bash bun busybox bwrap chroot chrt cmd command csh dash deno doas env eval exec expect
    find fish flock gawk gdb ionice julia ksh linux ltrace lua mawk nice node nodejs nohup npx
    nsenter numactl osascript parallel perl php pipx powershell prlimit pwsh pypy python r rscript
    ruby runuser screen script sed setarch setpriv setsid sh ssh stdbuf strace su sudo taskset tclsh
    tcsh time timeout tmux toybox unshare uv uvx watch xargs zsh
    """.split()  # noqa: SIM905
)
"""Programs whose arguments may name another program to run, or contain code to run."""


def command_words(command: str) -> tuple[str, ...] | None:
    """Return the words of a command that runs one program, or None for any other command.

    The result is None if the command is empty or malformed, needs a shell, or sets variables, which
    may change the behaviour of the program.
    """
    if not command.isprintable() or _NEEDS_SHELL.search(command):
        return None
    try:
        found = tuple(shlex.split(command))
    except ValueError:  # raised for an unclosed quotation
        return None
    return found if found and found[0] and "=" not in found[0] else None


def lasting(
    command: str, settings: Settings, folders: Sequence[Path], *, confined: bool
) -> str | None:
    """Return the scope of an "always" answer: a key of `HARMLESS`, or exactly this command.

    The result is None for a command that needs a shell or names a path that is not free (see
    `is_free`); the user must then allow the command each time. Without a sandbox, a command that no
    key covers also has the result None if it names a path that controls git or the harness, or if
    its words do not show which programs and files it uses.

    Args:
        folders: the folders of skills; the command may name files in these folders.
        confined: True if the command runs in a sandbox.
    """
    words = command_words(command)
    if words is None:
        return None
    places = [place for word in words[1:] for place in named_places(word, settings)]
    if not all(is_free(place, settings, folders) for place in places):
        return None
    project = settings.project_dir.resolve()
    # A harmless command may read the whole project. If private files are in the project, the
    # answer therefore covers only exactly this command.
    private = any(place.resolve().is_relative_to(project) for place in settings.private)
    for count in () if private else (1, 2):
        key = shlex.join(words[:count])
        options = [word for word in words[count:] if word.startswith("-")]
        if key in HARMLESS and all(re.fullmatch(f"--|{HARMLESS[key][0]}", one) for one in options):
            return key
    guarded = any(is_guarded(place, settings) for place in places)
    granted = confined or (_is_plain(words) and not guarded)
    return shlex.join(words) if granted else None


def _is_plain(words: Sequence[str]) -> bool:
    """Return True if a command names a program without a path, and no argument has a value.

    The result is False for programs of `_RUNNERS`. The value of an argument, such as X in `-I X`,
    `-oX`, `--output=X`, `CC=X` or `@X`, may name a program to run or a file to write.
    """
    name = re.sub(r"[\d.]+\Z", "", words[0].casefold().removesuffix(".exe"))
    if PurePath(words[0]).name != words[0] or name in _RUNNERS:
        return False
    options = [f"{word} {after}" for word, after in itertools.pairwise((*words[1:], "-"))]
    return not any("=" in one or "@" in one or _WITH_VALUE.match(one) for one in options)
