"""The names that the user has disabled; nothing with such a name is loaded, whatever its source.

A name may be that of an entry point, a folder, a SKILL.md or a skill, so nothing has to be imported
to disable it, and no other plugin can take over a disabled name.
"""

from __future__ import annotations

from pathlib import Path

from harness.support import json_state


class DisabledNames:
    """A JSON file with a list of names."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> frozenset[str]:
        """Return the names; a missing or damaged file holds none."""
        names = json_state.read(self._path)
        return (
            frozenset(n for n in names if isinstance(n, str))
            if isinstance(names, list)
            else frozenset()
        )

    def add(self, name: str) -> None:
        """Disable `name`.

        Raises:
            OutputError: the file cannot be written.
        """
        self._write(self.read() | {name})

    def remove(self, name: str) -> None:
        """Enable `name` again; raises as `add` does."""
        self._write(self.read() - {name})

    def _write(self, names: frozenset[str]) -> None:
        json_state.write(self._path, sorted(names), "the list of disabled names")


def _is_text(name: object) -> bool:
    return isinstance(name, str)
