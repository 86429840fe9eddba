"""Which rows are trained on, and which measure the training.

The dev rows are a file of their own or, without one, a share of the gold rows: those whose paper
has a small hash together with the seed. So a row stays on its side whatever rows come and go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import InputError
from skills.finetune.preparation.examples import Example


@dataclass(frozen=True, slots=True)
class Split:
    """The two sides, in the order of their files; no paper is on both.

    Attributes:
        kept_out: rows that could have been trained on, but are a paper of the dev rows.
    """

    train: list[Example]
    dev: list[Example]
    kept_out: list[Example]


def split(rows: Sequence[Example], dev: Sequence[Example] | None, share: float, seed: int) -> Split:
    """Part the rows.

    Args:
        dev: rows of a file of their own; None to take `share` of the gold rows.
        share: 0 to below 1; small sets have more or less of it.

    Raises:
        InputError: a dev row is no gold row, or no row is left to train on.
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
                hint="What is measured on is gold: written or accepted by a person.",
            )
    train, kept_out = _apart(rest, dev)
    if not train:
        raise InputError(
            f"no row is left to train on: {len(dev)} measure, {len(kept_out)} are the same papers",
            hint="Give more rows, a smaller dev_share, or another --dev.",
        )
    return Split(train, list(dev), kept_out)


def _draw(key: str, seed: int) -> float:
    """A number of a paper, 0 to below 1, the same wherever and with whatever it stands."""
    digest = hashlib.sha256(f"{seed}\n{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _apart(rows: list[Example], dev: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """The rows that are no paper of `dev`, and those that are: by id, by abstract, or by both in
    turn, since a row with a dev row's id leads to all others with its abstract."""
    known = {name for row in dev for name in (row.key, row.sha256)}
    train, kept_out = rows, list[Example]()
    while True:
        found = [row for row in train if row.key in known or row.sha256 in known]
        if not found:
            return train, kept_out
        train = [row for row in train if row.key not in known and row.sha256 not in known]
        kept_out += found
        known.update(name for row in found for name in (row.key, row.sha256))
