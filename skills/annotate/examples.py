"""Few-shot examples for general models, from the table that a registry entry names."""

from __future__ import annotations

import functools
from pathlib import Path

from harness.errors import InputError
from harness.models.schema import ModelEntry
from harness.support.reading.text_input import regular_file
from skills.corpus.tables.reader import open_table
from skills.nanda.forms.base import Example
from skills.nanda.framework import Framework


def examples_for(entry: ModelEntry, framework: Framework) -> tuple[Example, ...]:
    """Return the rows of the entry's table of examples, or () if it has none.

    Raises:
        InputError: the table cannot be read, has no row, or a row lacks a move.
    """
    if entry.examples_path is None:
        return ()
    path = regular_file(entry.examples_path)
    return _read(path, path.stat().st_mtime_ns, framework)


@functools.lru_cache(maxsize=8)
def _read(path: Path, _changed: int, framework: Framework) -> tuple[Example, ...]:
    table = open_table(path, moves=framework.names)
    table.require_moves()
    found = []
    for row in table.rows():
        moves = row.valid_moves(framework)
        if not row.paper.abstract:
            raise InputError("has no abstract", where=row.where)
        found.append(Example(row.paper.abstract, moves))
    if not found:
        raise InputError("has no example", where=str(path))
    return tuple(found)
