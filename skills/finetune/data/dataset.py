"""A data set: its rows, and those that were left out."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from skills.finetune.data.annotation_pairs import (
    format_annotation_prompt,
    format_annotation_system,
)
from skills.finetune.data.held_out import HeldOutSet
from skills.finetune.data.near_duplicates import MAX_SIMILARITY
from skills.finetune.data.options import AGENT_WEIGHT, CURATED_WEIGHT, GOLD_WEIGHT
from skills.finetune.data.rows import SOURCES, WHYS, AnnotationRow, LeftOut, Source
from skills.nanda.framework import Framework


@dataclass(frozen=True, slots=True)
class InputFile:
    """An input file: its role, its path as given, and its SHA-256."""

    role: str
    path: str
    sha256: str


def _weights() -> dict[Source, float]:
    return {"gold": GOLD_WEIGHT, "curated": CURATED_WEIGHT, "agent": AGENT_WEIGHT}


@dataclass(frozen=True, slots=True)
class Choices:
    """How a data set is built.

    Attributes:
        curated_only: leave out agent annotations that were not curated.
        max_similarity: more similar abstracts count as one, 0.5 to 1.
        weights: the training weight of a row of each source.
        rare_weight: factor for rows that state a move which most rows do not.
    """

    curated_only: bool = False
    max_similarity: float = MAX_SIMILARITY
    weights: Mapping[Source, float] = field(default_factory=_weights)
    rare_weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Dataset:
    """The training set.

    Attributes:
        rows: one per paper: gold, then curated, then agent, each in the order of its files.
        left_out: all other rows that were read, in the same order.
        choices, held_out, inputs: what it was built with.
    """

    framework: Framework
    rows: tuple[AnnotationRow, ...]
    left_out: tuple[LeftOut, ...]
    choices: Choices
    held_out: tuple[HeldOutSet, ...] = ()
    inputs: tuple[InputFile, ...] = ()

    @property
    def counts(self) -> dict[Source, dict[str, int]]:
        """The rows read, left out by reason, and written, for each source; they add up."""
        out = Counter((left.source, left.why) for left in self.left_out)
        written = Counter(row.source for row in self.rows)
        found: dict[Source, dict[str, int]] = {}
        for source in SOURCES:
            left = {str(why): out[source, why] for why in WHYS}
            read = written[source] + sum(left.values())
            found[source] = {"read": read, **left, "written": written[source]}
        return found

    @property
    def rare(self) -> dict[str, int]:
        """The moves that fewer than half of the rows state, with the number that do."""
        stated = Counter(name for row in self.rows for name in self._stated(row))
        return {
            name: stated[name]
            for name in self.framework.names
            if 0 < stated[name] < len(self.rows) / 2
        }

    def examples(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of the file.

        prompt, completion and system contain no chat template; id_field is the name of id in the
        source; sha256 is that of the abstract on one line.
        """
        rare = set(self.rare)
        system = format_annotation_system(self.framework)
        for row in self.rows:
            is_rare = not rare.isdisjoint(self._stated(row))
            weight = self.choices.weights[row.source]
            yield {
                "prompt": format_annotation_prompt(row.paper.abstract, self.framework),
                "completion": row.completion,
                "system": system,
                "id": row.paper.id,
                "id_field": row.paper.id_field,
                "source": row.source,
                "weight": weight * self.choices.rare_weight if is_rare else weight,
                "sha256": row.paper.sha256,
            }

    def _stated(self, row: AnnotationRow) -> Iterable[str]:
        return self.framework.stated(row.moves)

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of the file as JSON in UTF-8."""
        for example in self.examples():
            yield json.dumps(example, ensure_ascii=False).encode() + b"\n"

    def write(self, file: IO[bytes]) -> None:
        """Write the data set as .jsonl."""
        file.writelines(self.lines())

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file that `write` writes."""
        digest = hashlib.sha256()
        for line in self.lines():
            digest.update(line)
        return digest.hexdigest()
