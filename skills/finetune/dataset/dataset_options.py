"""The options of a data set, shared by all commands that build one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.api.skill import SkillOptions

GOLD_WEIGHT, CURATED_WEIGHT, AGENT_WEIGHT = 1.0, 0.75, 0.5
"""Relative weights in training. A row without review has half the weight of a row written by a
person; a row accepted by the panel has a weight between them. These are choices, not
measurements.
"""
MAX_SIMILARITY = 0.6
"""Similarity above which two abstracts count as the same abstract."""
LEAST_MAX_SIMILARITY = 0.5
Source = Literal["gold", "curated", "agent"]


@dataclass(frozen=True, slots=True)
class Choices:
    """The choices for building a data set.

    Attributes:
        curated_only: leave out agent annotations that were not curated.
        max_similarity: similarity above which abstracts count as the same abstract, 0.5 to 1.
        weights: the training weight of a row of each source.
        rare_weight: factor on the weight of rows that state a move which most rows do not state.
    """

    curated_only: bool = False
    max_similarity: float = MAX_SIMILARITY
    weights: Mapping[Source, float] = field(
        default_factory=lambda: {
            "gold": GOLD_WEIGHT,
            "curated": CURATED_WEIGHT,
            "agent": AGENT_WEIGHT,
        }
    )
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
    gold_weight: float = Field(
        GOLD_WEIGHT, gt=0, le=100, description="the training weight of a gold row"
    )
    curated_weight: float = Field(
        CURATED_WEIGHT, gt=0, le=100, description="the training weight of a curated row"
    )
    agent_weight: float = Field(
        AGENT_WEIGHT, gt=0, le=100, description="the training weight of a row that was not curated"
    )
    rare_weight: float = Field(
        1.0,
        gt=0,
        le=100,
        description="factor on the weight of rows that state a move which most rows do not state",
    )
    max_similarity: float = Field(
        MAX_SIMILARITY,
        ge=LEAST_MAX_SIMILARITY,
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
        """The values that may be input files, including ids in --dev and --test."""
        return (*self.gold, *map(Path, (*self.dev, *self.test)))
