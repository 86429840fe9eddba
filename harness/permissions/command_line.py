"""Command lines as permissions see them: whether they need a shell, and what they begin with."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path, PurePath

_NEEDS_SHELL = re.compile(r"[;&|<>$`(){}\[\]*?!\\]|(?:\A|\s)[~#]")
"""Characters that a shell may act upon. Quoting is not considered: too many commands are asked
about, never too few."""


def _names(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_INTERPRETERS = _names("""
    ash awk bash bun cmd csh dash deno fish gawk julia ksh lua mawk node nodejs osascript perl php
    powershell pwsh pypy python r rscript ruby sed sh tclsh tcsh zsh
""")
"""Programs that run the code or file named by their first argument."""
_WRAPPERS = _names("""
    bwrap busybox chroot command doas env eval exec expect find nice nohup npx parallel pipx screen
    script setsid ssh stdbuf su sudo time timeout tmux unshare uv uvx watch xargs
""")
"""Programs that run another command, which stands anywhere among their arguments."""
_COLLECTIONS = _names("""
    apt apt-get aws az brew cargo conda docker gcloud gh git go hg just kubectl make npm ollama pip
    pnpm podman svn systemctl terraform yarn
""")
"""Programs whose subcommands differ so much that one of them has to be named."""
_SUBCOMMAND = re.compile(r"[a-z][a-z0-9-]*")


def words(command: str) -> tuple[str, ...] | None:
    """Return the words of a command that runs one program, or None if it needs a shell.

    None also for variables before the program, which may change what it runs.
    """
    if not command.isprintable() or _NEEDS_SHELL.search(command):
        return None
    try:
        found = tuple(shlex.split(command))
    except ValueError:  # a quotation without end
        return None
    return found if found and found[0] and "=" not in found[0] else None


def prefix(command: str) -> tuple[str, ...] | None:
    """Return the beginning that an "always" answer covers; None if the command needs a shell.

    It has the program and its subcommand. Where that could run anything, it is the whole command.
    """
    found = words(command)
    if found is None:
        return None
    name = re.sub(r"[\d.]+\Z", "", PurePath(found[0]).name.casefold().removesuffix(".exe"))
    second = found[1] if len(found) > 1 else "-"
    if name in _WRAPPERS:
        return found
    if name in _INTERPRETERS:
        return found if second.startswith("-") or len(found) == 1 else found[:2]
    if name in _COLLECTIONS:
        return found[:2] if _SUBCOMMAND.fullmatch(second) else found
    return found[:2] if _SUBCOMMAND.fullmatch(second) else found[:1]


def starts_with(command: str, start: str, inside: Sequence[Path]) -> bool:
    """Return True if an "always" answer with the prefix `start`, or "" for any, covers the command.

    It does not if the command needs a shell, or an argument after the prefix may name a place
    outside of the folders `inside`. Relative paths are those of the first one.
    """
    own, found = prefix(command), words(command)
    if own is None or found is None or (start and shlex.join(own) != start):
        return False
    after = found[len(own) if start else 0 :]
    return not any(_leads_out(word, inside) for word in after)


def _leads_out(word: str, inside: Sequence[Path]) -> bool:
    """Return True if a word may be a path to elsewhere: "../x", "--out=/x", "-o/x", "file:///x"."""
    parts = [word, *re.split("[=:,@]", word)[1:]]
    if word.startswith("-"):
        parts += [word[word.index(sign) :] for sign in ("/", "..") if sign in word]
    return any(_is_outside(part, inside) for part in parts if part)


def _is_outside(part: str, inside: Sequence[Path]) -> bool:
    try:
        path = (inside[0] / part).resolve()
        return not any(path.is_relative_to(folder.resolve()) for folder in inside)
    except (OSError, RuntimeError, ValueError):
        return True
