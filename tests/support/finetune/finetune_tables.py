"""Invented annotated papers for the tests of data sets, and tables of them."""

from __future__ import annotations

import csv
import itertools
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from skills.nanda.framework import nanda

_SYLLABLES = [first + second for first in "bdfghklmnprs" for second in "ae"]
WORDS = ["".join(pair) for pair in itertools.product(_SYLLABLES, repeat=2)]
Row = dict[str, str]


def abstract(number: int, words: int = 40) -> str:
    """Return a unique abstract of invented words."""
    chosen = random.Random(number)
    return f"Ledger {number} " + " ".join(chosen.choices(WORDS, k=words)) + "."


def row(number: int, by: str = "gold", **changed: str) -> Row:
    """Return paper `number` as annotated by `by`."""
    moves = {name: f"The {name} that {by} saw in {number}." for name in nanda().names}
    found = {
        "arxiv_id": f"24{number // 9999 + 1:02}.{number % 9999 + 1:05}",
        "title": f"P {number}",
    }
    return {**found, "abstract": abstract(number), **moves, "limitation": "Not stated.", **changed}


def rows(numbers: Iterable[int], by: str = "gold") -> Iterator[Row]:
    return (row(number, by) for number in numbers)


def table(path: Path, content: Iterable[Mapping[str, str]]) -> Path:
    """Write rows as .csv, with the columns of the first."""
    content = list(content)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(content[0]))
        writer.writeheader()
        writer.writerows(content)
    return path
