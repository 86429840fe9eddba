"""The saved evaluations that can be compared: only these files are opened, by keys of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.runs.run_log import RunLog
from skills.evaluate.stored_format import File, Listed, load

if TYPE_CHECKING:
    from skills.serve.state import State

MOST = 50
"""Files of the run log that are listed, the last ones."""
MOST_BYTES = 50_000_000
"""Larger files are not listed."""


@dataclass(frozen=True, slots=True)
class Side:
    """A model in a saved evaluation: one side of a comparison.

    Attributes:
        key: names it in addresses.
    """

    key: str
    path: Path
    file: File
    model: Listed

    @property
    def title(self) -> str:
        return f"{self.model.name} · {self.path.name}"


def sides(state: State) -> list[Side]:
    """Return the models of all evaluations: those that lines saved, and those in reach.

    These are the .json files that the run log records, those of the working folder, and those that
    come with the shipped models.
    """
    found = []
    for path in _paths(state):
        try:
            stat = path.stat()
            if stat.st_size > MOST_BYTES:
                continue
            file = _loaded(path, stat.st_mtime_ns, stat.st_size)
        except (OSError, InputError):  # gone, or another kind of file
            continue
        digest = hashlib.sha256(str(path).encode(errors="replace")).hexdigest()[:12]
        found += [
            Side(f"{digest}.{number}", path, file, model)
            for number, model in enumerate(file.annotators)
            if model.kind != "baseline"
        ]
    return found


def _paths(state: State) -> Iterator[Path]:
    settings = state.settings
    named: list[Path] = []
    if settings.run_log.is_file():
        rows = RunLog(settings.run_log, lambda text: None).query(
            "SELECT path, max(outputs.id) AS last FROM outputs JOIN runs ON runs.id = run_id"
            " WHERE skill = 'evaluate' AND path LIKE '%.json' GROUP BY path"
            " ORDER BY last DESC LIMIT ?",
            [MOST],
        )
        named = [Path(row["path"]) for row in rows]
    here = sorted(state.workspace.glob("*.json"))[:MOST]
    shipped = sorted(settings.shipped_registry.parent.glob("*/eval*.json"))
    yield from dict.fromkeys(path.resolve() for path in (*named, *here, *shipped))


@lru_cache(maxsize=32)
def _loaded(path: Path, mtime_ns: int, size: int) -> File:
    """Read a file, once for each state of it."""
    return load(path)
