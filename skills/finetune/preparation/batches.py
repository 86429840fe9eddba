"""The prepared rows, and which of them stand together in a batch.

Rows of like length share a batch, so that little of it is padding. The order follows from seed and
epoch alone: a run that is resumed in the midst of an epoch goes on in the same order, however it
got there (what transformers #40690 was about).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.runs import targets

GROUP = 50
"""Batches that are sorted by length together: more of them leave less padding, and less chance."""
IGNORED = -100
"""The label of a position that no loss is taken of."""


@dataclass(frozen=True, slots=True)
class Row:
    """One example as tokens.

    Attributes:
        input_ids: prompt and completion under the base's chat template, the end token last.
        start: where the completion begins; 1 at least.
        weight: what its tokens count in the loss against those of other rows.
        decisions: of each token that decides whether a move is stated, its place in `input_ids`,
            what the decision counts, and the token that says it is not.
    """

    id: str
    input_ids: tuple[int, ...]
    start: int
    weight: float
    decisions: tuple[tuple[int, float, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the stage `prepare` has left.

    Attributes:
        facts: prepared.json.
        digests: sha256 of train.jsonl and dev.jsonl.
    """

    train: tuple[Row, ...]
    dev: tuple[Row, ...]
    facts: Mapping[str, Any]
    digests: Mapping[str, str]

    @property
    def pad(self) -> int:
        return int(self.facts["pad_token_id"])


def digests(folder: Path) -> dict[str, str]:
    """sha256 of each file of the prepared data.

    Raises:
        InputError: there is none.
    """
    names = ("train.jsonl", "dev.jsonl", "prepared.json")
    try:
        return {name: targets.digest(folder / name) for name in names}
    except OSError as exc:
        raise InputError(
            f"there is no prepared data: {exc.strerror or exc}",
            where=str(folder),
            hint="`/finetune prepare` makes it.",
        ) from exc


def read_prepared(folder: Path) -> Prepared:
    """Read the rows.

    Raises:
        InputError: there are none, or one of them cannot be trained on.
    """
    found = digests(folder)
    path = folder / "prepared.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        int(facts["pad_token_id"])
    except (ValueError, KeyError, TypeError) as exc:
        raise InputError(
            f"cannot be read: {exc!r}", where=str(path), hint="`/finetune prepare` makes it anew."
        ) from exc
    train = tuple(_rows(folder / "train.jsonl"))
    if not train:
        raise InputError("there is no row to train on", where=str(folder / "train.jsonl"))
    return Prepared(train, tuple(_rows(folder / "dev.jsonl")), facts, found)


def order(lengths: Sequence[int], batch: int, seed: int, epoch: int) -> list[list[int]]:
    """The batches of an epoch, as numbers of rows.

    The rows are shuffled, sorted by length within groups of `GROUP` batches, cut into batches, and
    the batches shuffled. The heaviest batch of the first epoch comes first, so that memory that
    does not suffice is found at once and not after hours.

    Args:
        lengths: tokens of each row.
        batch: rows in a batch; one batch may have fewer.
    """
    chance = random.Random(f"{seed}:{epoch}")  # noqa: S311 - shuffles, and keeps no secret
    rows = list(range(len(lengths)))
    chance.shuffle(rows)
    size = GROUP * batch
    grouped: list[int] = []
    for begin in range(0, len(rows), size):
        grouped += sorted(rows[begin : begin + size], key=lambda row: lengths[row])
    batches = [grouped[begin : begin + batch] for begin in range(0, len(grouped), batch)]
    chance.shuffle(batches)
    if epoch == 0:
        heaviest = max(batches, key=lambda rows: max(lengths[row] for row in rows) * len(rows))
        batches.remove(heaviest)
        batches.insert(0, heaviest)
    return batches


class Batches:
    """A batch sampler: the batches of `epoch`, which whoever trains sets before each one."""

    def __init__(self, rows: Sequence[Row], batch: int, seed: int) -> None:
        self.lengths = [len(row.input_ids) for row in rows]
        self.batch = batch
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(order(self.lengths, self.batch, self.seed, self.epoch))

    @property
    def padding(self) -> float:
        """The share of padding in the batches of the first epoch."""
        batches = order(self.lengths, self.batch, self.seed, 0)
        cells = sum(max(self.lengths[row] for row in rows) * len(rows) for rows in batches)
        return 1 - sum(self.lengths) / cells


def by_length(rows: Sequence[Row], batch: int) -> list[list[int]]:
    """Batches for measuring, where the order does not matter."""
    ordered = sorted(range(len(rows)), key=lambda row: len(rows[row].input_ids))
    return [ordered[begin : begin + batch] for begin in range(0, len(ordered), batch)]


def collate(rows: Sequence[Row], pad: int) -> dict[str, Any]:
    """A batch of B rows as tensors, padded on the right to the longest, T tokens.

    Labels go by position, so that `pad` may be the end token.

    Returns: input_ids, attention_mask and labels, int64 of B x T; weights, float32 of B x T, 0
        where there is no label; deciding, float32 of B x T, what a decision counts, 0 where there
        is none; and not_stated, int64 of B x T, the token that says so.
    """
    import torch

    longest = max(len(row.input_ids) for row in rows)
    input_ids = torch.full((len(rows), longest), pad)
    attention_mask = torch.zeros((len(rows), longest), dtype=torch.int64)
    labels = torch.full((len(rows), longest), IGNORED)
    weights, deciding = torch.zeros((2, len(rows), longest))
    not_stated = torch.zeros((len(rows), longest), dtype=torch.int64)
    for place, row in enumerate(rows):
        length = len(row.input_ids)
        tokens = torch.tensor(row.input_ids)
        input_ids[place, :length] = tokens
        attention_mask[place, :length] = 1
        labels[place, row.start : length] = tokens[row.start :]
        weights[place, row.start : length] = row.weight
        for position, weight, token in row.decisions:
            deciding[place, position] = row.weight * weight
            not_stated[place, position] = token
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "labels": labels,
        "weights": weights,
        "deciding": deciding,
        "not_stated": not_stated,
    }


def _rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            yield _row(line, f"{path}:{number}")


def _row(line: str, where: str) -> Row:
    try:
        found = json.loads(line)
        row = Row(
            str(found["id"]),
            tuple(found["input_ids"]),
            int(found["completion_start"]),
            float(found["weight"]),
            tuple(
                (int(place), float(weight), int(token))
                for place, weight, token in found.get("decisions", ())
            ),
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise InputError(
            f"is no prepared row: {exc!r}", where=where, hint="`/finetune prepare` makes it anew."
        ) from exc
    if not 1 <= row.start < len(row.input_ids):
        raise InputError(f"{row.id} has no completion", where=where)
    if row.weight <= 0:
        raise InputError(f"{row.id} has the weight {row.weight:g}", where=where)
    if any(not row.start <= place < len(row.input_ids) for place, *_ in row.decisions):
        raise InputError(f"{row.id} has a decision outside its completion", where=where)
    return row
