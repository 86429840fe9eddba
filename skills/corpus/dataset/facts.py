"""Count what a card states of a split, from its file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skills.corpus.tables.columns import SECTIONS
from skills.nanda.framework import Framework


@dataclass(slots=True)
class Facts:
    """The figures of a split, or of several.

    Attributes:
        stated: by move, the papers that state it.
        doubtful: by move, those of them in which a number or name is not in the abstract.
        support: by move, the sum of the support of those that state it.
        models: the models and versions of the harness that made the annotations.
        days: the days on which they were made.
    """

    rows: int = 0
    stated: Counter[str] = field(default_factory=Counter)
    doubtful: Counter[str] = field(default_factory=Counter)
    support: Counter[str] = field(default_factory=Counter)
    models: Counter[tuple[str, str]] = field(default_factory=Counter)
    days: set[str] = field(default_factory=set)
    has_abstracts: bool = False
    has_sections: bool = False

    def add(self, other: Facts) -> None:
        """Add the figures of another split."""
        self.rows += other.rows
        self.has_abstracts |= other.has_abstracts
        self.has_sections |= other.has_sections
        self.days |= other.days
        for name in ("stated", "doubtful", "support", "models"):
            getattr(self, name).update(getattr(other, name))


def facts_of(path: Path, framework: Framework) -> Facts:
    """Return the figures of a file as `write_parquet` writes it."""
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    found = Facts()
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        found.has_abstracts, found.has_sections = "abstract" in names, SECTIONS in names
        moves = [name for name in framework.names if name in names]
        for batch in file.iter_batches(columns=[*moves, "checks", "provenance"]):
            for row in batch.to_pylist():
                _count(found, row, framework, moves)
    return found


def _count(found: Facts, row: Mapping[str, Any], framework: Framework, moves: list[str]) -> None:
    checks, made = json.loads(row["checks"]), json.loads(row["provenance"])
    found.rows += 1
    found.models[(made["resolved"], made["harness"])] += 1
    found.days.add(made["created"][:10])
    for move in moves:
        if row[move] != framework.not_stated:
            found.stated[move] += 1
            found.support[move] += checks["support"].get(move, 0.0)
            unknown = (checks["unsupported_numbers"], checks["unsupported_names"])
            found.doubtful[move] += any(move in moves for moves in unknown)
