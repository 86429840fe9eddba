"""A data set: its rows, and what became of all others."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from skills.finetune.data.annotation_pairs import format_annotation_prompt, format_annotation_system
from skills.finetune.data.held_out import HeldOutSet
from skills.finetune.data.near_duplicates import MAX_SIMILARITY
from skills.finetune.data.options import AGENT_WEIGHT, CURATED_WEIGHT, GOLD_WEIGHT
from skills.finetune.data.rows import SOURCES, WHYS, AnnotationRow, LeftOut, Source
from skills.nanda.framework import Framework


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that went in: as what, its path as it was given, and its sha256."""

    role: str
    path: str
    sha256: str


def _weights() -> dict[Source, float]:
    return {"gold": GOLD_WEIGHT, "curated": CURATED_WEIGHT, "agent": AGENT_WEIGHT}


@dataclass(frozen=True, slots=True)
class Choices:
    """How a data set is made.

    Attributes:
        curated_only: annotations of models that the curated ones lack are left out.
        max_similarity: two abstracts more alike than this count as one, 0.5 to 1.
        weights: what a row of each source counts in training.
        rare_weight: times so much counts a row that states a move which most rows do not.
    """

    curated_only: bool = False
    max_similarity: float = MAX_SIMILARITY
    weights: Mapping[Source, float] = field(default_factory=_weights)
    rare_weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a model is trained on.

    Attributes:
        rows: one a paper: gold, then curated, then agent, each in the order of its files.
        left_out: every other row that was read, in the same order.
        read: how many rows each source had.
        choices, held_out, inputs: what it was made with.
    """

    framework: Framework
    rows: tuple[AnnotationRow, ...]
    left_out: tuple[LeftOut, ...]
    read: Mapping[Source, int]
    choices: Choices
    held_out: tuple[HeldOutSet, ...] = ()
    inputs: tuple[InputFile, ...] = ()

    @property
    def counts(self) -> dict[Source, dict[str, int]]:
        """Of each source the rows read, left out by reason, and written, which add up."""
        out = Counter((left.source, left.why) for left in self.left_out)
        written = Counter(row.source for row in self.rows)
        return {
            source: {
                "read": self.read[source],
                **{why: out[source, why] for why in WHYS},
                "written": written[source],
            }
            for source in SOURCES
        }

    @property
    def rare(self) -> dict[str, int]:
        """The moves that fewer than half of the rows state, and how many do."""
        stated = Counter(name for row in self.rows for name in self._stated(row))
        return {
            name: stated[name]
            for name in self.framework.names
            if 0 < stated[name] < len(self.rows) / 2
        }

    def examples(self) -> Iterator[dict[str, Any]]:
        """The lines of the file.

        prompt, completion and system are texts without a chat template; id stands in the source
        under the name id_field; sha256 is of the abstract on one line.
        """
        system, rare = format_annotation_system(self.framework), set(self.rare)
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
        return self.framework.stated(dict(row.moves))

    def lines(self) -> Iterator[bytes]:
        """The file: one JSON object a line, in UTF-8."""
        for example in self.examples():
            yield json.dumps(example, ensure_ascii=False).encode() + b"\n"

    def write(self, file: IO[bytes]) -> None:
        """Write it as .jsonl."""
        file.writelines(self.lines())

    @property
    def sha256(self) -> str:
        """Of what `write` writes."""
        digest = hashlib.sha256()
        for line in self.lines():
            digest.update(line)
        return digest.hexdigest()
