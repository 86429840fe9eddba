"""Completion of paths: `~`, folders, and quotes around blanks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from prompt_toolkit.completion import Completion

MOST = 200
"""Entries of a folder that are offered."""


def paths(word: str) -> Iterator[Completion]:
    """Complete the path that is being typed; a hidden file only after its dot.

    Args:
        word: the beginning of the path, which may have an opening quote.
    """
    quote = word[0] if word[:1] in ("'", '"') else ""
    typed = word.removeprefix(quote)
    folder = typed[: typed.rfind("/") + 1]
    beginning = typed.removeprefix(folder)
    found = [e for e in _entries(folder) if e.name.startswith(beginning)]
    shown = [e for e in found if e.name.isprintable() and (beginning or e.name[0] != ".")]
    for entry in sorted(shown, key=lambda e: e.name.lower())[:MOST]:
        name = entry.name + "/" * entry.is_dir()
        path = _quoted(folder + name, quote)
        yield Completion(path, start_position=-len(word), display=name)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(Path(folder or ".").expanduser()) as entries:
            return list(entries)
    except (OSError, RuntimeError, ValueError):  # no such folder or user; a null byte
        return []


def _quoted(path: str, quote: str) -> str:
    """Return the path in quotes if it needs them; those of a folder are left open."""
    if not quote and not any(map(str.isspace, path)):
        return path
    quote = quote or ("'" if '"' in path else '"')
    return f"{quote}{path}" if path.endswith("/") else f"{quote}{path}{quote}"
