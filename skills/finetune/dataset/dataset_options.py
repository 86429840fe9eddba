"""The options of all commands that build a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from harness.api.skill import SkillOptions

MAX_SIMILARITY = 0.6
"""Similarity above which two abstracts count as the same abstract."""
Source = Literal["gold", "curated", "agent"]
WEIGHTS: Mapping[Source, float] = {"gold": 1.0, "curated": 0.75, "agent": 0.5}
"""Weights of rows in training, by source. A row without review has half the weight of a row that a
person wrote; a row that the panel accepted has a weight between the two. The numbers are chosen,
not measured.
"""
Weight = Annotated[float, Field(gt=0, le=100)]


@dataclass(frozen=True, slots=True)
class Choices:
    """The choices for building a data set.

    Attributes:
        curated_only: leave out agent annotations that were not curated.
        max_similarity: similarity above which abstracts count as the same abstract, 0.5 to 1.
        weights: the training weight of a row of each source.
        rare_weight: factor on the weight of rows that state a move in `Dataset.rare`.
    """

    curated_only: bool = False
    max_similarity: float = MAX_SIMILARITY
    weights: Mapping[Source, float] = field(default_factory=lambda: dict(WEIGHTS))
    rare_weight: float = 1.0


class DatasetOptions(SkillOptions):
    """The options of every command that builds a data set."""

    gold: tuple[Path, ...] = Field((), description="a table annotated by people; may be repeated")
    curated_only: bool = Field(
        False, description="leave out agent annotations that were not curated"
    )
    dev: tuple[str, ...] = Field(
        (),
        description="a table, a .txt file of ids, or comma-separated ids, whose papers "
        "are held out of training; may be repeated",
    )
    test: tuple[str, ...] = Field((), description="like --dev, for the test set")
    gold_weight: Weight = Field(WEIGHTS["gold"], description="the training weight of a gold row")
    curated_weight: Weight = Field(
        WEIGHTS["curated"], description="the training weight of a curated row"
    )
    agent_weight: Weight = Field(
        WEIGHTS["agent"], description="the training weight of an agent row"
    )
    rare_weight: Weight = Field(
        1.0,
        description="factor for the training weight of rows that state a rare move, which fewer "
        "than half of the rows state",
    )
    max_similarity: float = Field(
        MAX_SIMILARITY,
        ge=0.5,
        le=1,
        description="similarity above which two abstracts count as the same abstract",
    )
    tokenizer: Path | None = Field(
        None,
        description="a tokenizer.json, or its folder, to count tokens with; "
        "default: the embedded model, if available",
    )

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The input files as paths; a value of --dev or --test may be a list of ids instead."""
        return (*self.gold, *map(Path, (*self.dev, *self.test)))
