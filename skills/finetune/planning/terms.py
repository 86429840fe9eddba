"""What the memory of training is made of, for those that reckon it and those that show it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from skills.finetune.run.recipe import Quantization

Place = Literal["gpu", "cpu"]

TRAINED = 4
"""Bytes of a trained value and of its gradient: peft keeps adapters in float32
(`autocast_adapter_dtype` of get_peft_model), so that small steps are not lost."""


@dataclass(frozen=True, slots=True)
class Item:
    """A part of the whole.

    Attributes:
        formula: how the bytes are reckoned, in words.
        held: it is there all along, however large a batch is.
    """

    name: str
    bytes: int
    formula: str
    held: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """The largest batch of a run.

    Attributes:
        rows: at once.
        length: tokens of the longest row; the others are padded to it.
        completion: tokens of the longest completion.
    """

    rows: int
    length: int
    completion: int

    @property
    def positions(self) -> int:
        return self.rows * self.length


def total(items: Iterable[Item]) -> int:
    """Bytes of all of them."""
    return sum(item.bytes for item in items)


def compute_bytes(quantization: Quantization) -> int:
    """Bytes of a value of the type that is computed in."""
    return 4 if quantization.compute == "float32" else 2
