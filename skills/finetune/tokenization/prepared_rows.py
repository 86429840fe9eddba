"""Read prepared rows, and group them into batches.

Rows of similar length share a batch, so that there is little padding. For given rows and a given
batch size, the order depends only on seed and epoch, so that a run that is resumed within an epoch
continues in the same order (see transformers #40690).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from harness.errors import InputError
from harness.support.bounded_files import file_sha256, read_json
from skills.finetune.dataset.dataset_options import Source

GROUP = 50
"""Number of batches in a group; the rows of a group are sorted by length together.

A larger number means less padding, but also less random batches.
"""
IGNORED = -100
"""The label of a position without loss."""


@dataclass(frozen=True, slots=True)
class Row:
    """One example as tokens; the loss is on `input_ids[completion_start:]`.

    Attributes:
        input_ids: prompt and completion, rendered with the base's chat template. The last token is
            the end token, which occurs nowhere else in the completion.
        weight: weight of the tokens in the loss, relative to other rows.
        decisions: for each token that decides whether a move is stated, a tuple of its position in
            `input_ids`, the weight of the decision (`Decisions` of the recipe), and the token that
            means "not stated".
    """

    id: str
    input_ids: tuple[int, ...]
    completion_start: int
    weight: float
    decisions: tuple[tuple[int, float, int], ...] = ()
    source: Source = "gold"


@dataclass(frozen=True, slots=True)
class Prepared:
    """The prepared rows of a run, as read from its folder.

    Attributes:
        facts: the contents of prepared.json.
        digests: SHA-256 of train.jsonl, dev.jsonl and prepared.json, by file name.
    """

    train: tuple[Row, ...]
    dev: tuple[Row, ...]
    facts: Mapping[str, Any]
    digests: Mapping[str, str]

    @property
    def pad(self) -> int:
        return int(self.facts["pad_token_id"])

    @property
    def lengths(self) -> list[int]:
        """The number of tokens of each training row."""
        return [len(row.input_ids) for row in self.train]

    @property
    def completions(self) -> list[int]:
        """The number of tokens of the completion of each training row."""
        return [len(row.input_ids) - row.completion_start for row in self.train]


def prepared_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of train.jsonl, dev.jsonl and prepared.json, by file name.

    Raises:
        InputError: no data is prepared.
    """
    names = ("train.jsonl", "dev.jsonl", "prepared.json")
    try:
        return {name: file_sha256(folder / name) for name in names}
    except OSError as exc:
        raise InputError(
            f"there is no prepared data: {exc.strerror or exc}",
            where=str(folder),
            hint="`/finetune prepare` writes the data.",
        ) from exc


def read_prepared(folder: Path) -> Prepared:
    """Return the prepared rows and facts in a folder.

    Raises:
        InputError: no data is prepared.
    """
    found = prepared_digests(folder)
    facts = read_json(folder / "prepared.json")
    adapter, sides = TypeAdapter(Row), []
    for name in ("train.jsonl", "dev.jsonl"):
        with (folder / name).open(encoding="utf-8") as lines:
            sides.append(tuple(map(adapter.validate_json, lines)))
    return Prepared(sides[0], sides[1], facts, found)


def order(lengths: Sequence[int], batch: int, seed: int, epoch: int) -> list[list[int]]:
    """Return the batches of an epoch, each as a list of row numbers.

    The rows are shuffled, sorted by length within groups of `GROUP` batches and cut into batches,
    which are shuffled. The largest batch of the first epoch comes first, so that a lack of memory
    is found immediately and not after hours.

    Args:
        lengths: number of tokens of each row.
        batch: number of rows per batch; one batch may have fewer rows.
    """
    chance = random.Random(f"{seed}:{epoch}")  # noqa: S311 - not used for secrets
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


@dataclass
class Batches:
    """A batch sampler that yields the batches of `epoch`, which `TrainingCallbacks` sets."""

    lengths: Sequence[int]
    batch: int
    seed: int
    epoch: int = 0

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(order(self.lengths, self.batch, self.seed, self.epoch))


def by_length(rows: Sequence[Row], batch: int) -> list[list[int]]:
    """Return batches of row numbers for evaluation; rows of similar length share a batch."""
    ordered = sorted(range(len(rows)), key=lambda row: len(rows[row].input_ids))
    return [ordered[begin : begin + batch] for begin in range(0, len(ordered), batch)]


def collate(rows: Sequence[Row], pad: int) -> dict[str, Any]:
    """Return B rows as tensors, padded on the right to the T tokens of the longest row.

    The position of a token determines whether it has a label, so `pad` may be the end token.

    Returns: tensors of shape B x T. int64: input_ids, attention_mask, labels, and not_stated (the
        token that means "not stated"). float32: weights (0 without a label), and deciding (the
        weight of the row times the weight of the decision, 0 without a decision).
    """
    import torch

    shape = len(rows), max(len(row.input_ids) for row in rows)
    batch = {
        "input_ids": torch.full(shape, pad),
        "attention_mask": torch.zeros(shape, dtype=torch.int64),
        "labels": torch.full(shape, IGNORED),
        "weights": torch.zeros(shape),
        "deciding": torch.zeros(shape),
        "not_stated": torch.zeros(shape, dtype=torch.int64),
    }
    for place, row in enumerate(rows):
        length, start = len(row.input_ids), row.completion_start
        tokens = torch.tensor(row.input_ids)
        batch["input_ids"][place, :length] = tokens
        batch["attention_mask"][place, :length] = 1
        batch["labels"][place, start:length] = tokens[start:]
        batch["weights"][place, start:length] = row.weight
        for position, weight, token in row.decisions:
            batch["deciding"][place, position] = row.weight * weight
            batch["not_stated"][place, position] = token
    return batch
