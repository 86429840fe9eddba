"""Which names the user has disabled: nothing of such a name is loaded, wherever it comes from.

A name is disabled, not one skill: that of an entry point, a folder, a SKILL.md, or a skill. So it
can be done without importing anything, and a name that is given up is nobody's: the skill of a
stranger does not step into the place of one that was disabled.
"""

from __future__ import annotations

from pathlib import Path

from harness.support import json_state


class DisabledNames:
    """The user's decisions, in a JSON file: a list of names."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> frozenset[str]:
        """The names; none where there is no file, or a damaged one."""
        names = json_state.read(self._path)
        return (
            frozenset(n for n in names if isinstance(n, str))
            if isinstance(names, list)
            else frozenset()
        )

    def add(self, name: str) -> None:
        """Disable `name`.

        Raises:
            OutputError: the decision cannot be stored.
        """
        self._write(self.read() | {name})

    def remove(self, name: str) -> None:
        """Enable `name` again. Raises as `add`."""
        self._write(self.read() - {name})

    def _write(self, names: frozenset[str]) -> None:
        json_state.write(self._path, sorted(names), "what is disabled")
