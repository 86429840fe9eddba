"""The options of a data set, for every command that makes one."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from harness.api.skill import SkillOptions
from skills.finetune.data.near_duplicates import LEAST_MAX_SIMILARITY, MAX_SIMILARITY

GOLD_WEIGHT, CURATED_WEIGHT, AGENT_WEIGHT = 1.0, 0.75, 0.5
"""What a row counts in training, against the others: one that nobody looked at half of one that a
person wrote, and one that a panel let pass in between. A choice, and not a measurement."""


class DatasetOptions(SkillOptions):
    """What makes a data set, whoever brings the annotations of models."""

    gold: tuple[Path, ...] = Field((), description="a table annotated by people; may be repeated")
    curated_only: bool = Field(
        False, description="leave out annotations that the curated ones lack"
    )
    dev: tuple[str, ...] = Field(
        (),
        description="a table, a .txt of ids, or ids with commas between, whose papers "
        "are kept out of training; may be repeated",
    )
    test: tuple[str, ...] = Field((), description="as --dev, for the test")
    gold_weight: float = Field(
        GOLD_WEIGHT, gt=0, le=100, description="what a row of gold counts in training"
    )
    curated_weight: float = Field(
        CURATED_WEIGHT, gt=0, le=100, description="the same of a curated row"
    )
    agent_weight: float = Field(
        AGENT_WEIGHT, gt=0, le=100, description="the same of a row nobody looked at"
    )
    rare_weight: float = Field(
        1.0,
        gt=0,
        le=100,
        description="how often a row counts that states a move which most do not",
    )
    max_similarity: float = Field(
        MAX_SIMILARITY,
        ge=LEAST_MAX_SIMILARITY,
        le=1,
        description="two abstracts more alike than this count as one",
    )
    tokenizer: Path | None = Field(
        None,
        description="the tokenizer.json that tokens are counted with, or its folder; "
        "else the embedded model counts, if it is there",
    )

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files that are read, which must not be written over; ids are among them, and harm
        nothing there."""
        return (*self.gold, *map(Path, (*self.dev, *self.test)))
