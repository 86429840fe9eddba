"""Split the rows into training and development rows.

The dev rows come from a separate file or, without one, are a share of the gold rows: those whose
paper has a small hash together with the seed. So a row stays on its side if rows are added or
removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from skills.finetune.preparation.examples import Example, read_examples
from skills.finetune.run.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Split:
    """The two sides, in the order of their files; no paper is on both.

    Attributes:
        kept_out: rows excluded from training because their paper is among the dev rows.
    """

    train: list[Example]
    dev: list[Example]
    kept_out: list[Example]


def read_split(data: Path, dev: Path | None, recipe: Recipe) -> Split:
    """Read and split the rows of a run.

    Raises:
        InputError: a file or a row is invalid; and as `split`.
    """
    rows, dev_rows = read_examples(data), read_examples(dev) if dev else None
    return split(rows, dev_rows, recipe.dev_share, recipe.training.seed)


def split(rows: Sequence[Example], dev: Sequence[Example] | None, share: float, seed: int) -> Split:
    """Split the rows.

    Args:
        dev: rows of a separate file; None to use `share` of the gold rows.
        share: from 0 to below 1, approximate for small sets.

    Raises:
        InputError: a dev row is not a gold row, or no row is left to train on.
    """
    if dev is None:
        dev = [row for row in rows if row.source == "gold" and _draw(row.key, seed) < share]
        rest = [row for row in rows if row.source != "gold" or _draw(row.key, seed) >= share]
    else:
        rest = list(rows)
    for row in dev:
        if row.source != "gold":
            raise InputError(
                f"is a dev row of the source {row.source}",
                where=row.where,
                hint="Dev rows must be gold: written or accepted by a person.",
            )
    train, kept_out = _separate(rest, dev)
    if not train:
        raise InputError(
            f"no row is left to train on: {len(dev)} are dev rows, {len(kept_out)} the same papers",
            hint="Give more rows, a smaller dev_share, or another --dev.",
        )
    return Split(train, list(dev), kept_out)


def _draw(key: str, seed: int) -> float:
    """Return a number from 0 to below 1 that depends only on paper and seed."""
    digest = hashlib.sha256(f"{seed}\n{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _separate(rows: list[Example], dev: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Separate the rows whose paper is in `dev`, by id or abstract.

    This repeats until nothing is found: a row with the id of a dev row may have another abstract,
    which then identifies further rows.
    """
    known = {name for row in dev for name in (row.key, row.sha256)}
    train, kept_out = rows, list[Example]()
    while True:
        found = [row for row in train if row.key in known or row.sha256 in known]
        if not found:
            return train, kept_out
        train = [row for row in train if row.key not in known and row.sha256 not in known]
        kept_out += found
        known.update(name for row in found for name in (row.key, row.sha256))
