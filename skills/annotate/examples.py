"""Finished annotations that a general model is shown before the paper (few-shot).

A model's entry of the registry names a table with a column for each move, as gold has them.
"""

from __future__ import annotations

import functools
from pathlib import Path

from pydantic import ValidationError

from harness.errors import InputError
from harness.models.schema import ModelEntry
from skills.corpus.tables.columns import Columns
from skills.corpus.tables.files import regular_file
from skills.corpus.tables.reader import Row, open_table
from skills.nanda.framework import Framework
from skills.nanda.reply_formats import Example


def examples_for(entry: ModelEntry, framework: Framework) -> tuple[Example, ...]:
    """All rows of the table that `entry` names, in order; nothing where it names none.

    Raises:
        InputError: the table cannot be read, has no row, or a row lacks a move.
    """
    if entry.examples_path is None:
        return ()
    path = regular_file(entry.examples_path)
    return _read(path, path.stat().st_mtime_ns, framework)


@functools.lru_cache(maxsize=8)
def _read(path: Path, _changed: int, framework: Framework) -> tuple[Example, ...]:
    table = open_table(path, Columns(), moves=framework.names)
    found = tuple(_example(row, framework) for row in table.rows())
    if not found:
        raise InputError("has no example", where=str(path))
    return found


def _example(row: Row, framework: Framework) -> Example:
    try:
        moves = framework.annotation_model().model_validate(row.moves).model_dump()
    except ValidationError as exc:
        error = exc.errors()[0]
        raise InputError(
            f"is no example: {error['loc'][0]}: {error['msg']}",
            where=row.where,
            hint=f"An example has an abstract and each of {', '.join(framework.names)}.",
        ) from exc
    if not row.paper.abstract:
        raise InputError("is no example: it has no abstract", where=row.where)
    return Example(row.paper.abstract, moves)
