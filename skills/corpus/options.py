"""Options shared by the skills that read tables and write to the corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.api.skill import SkillOptions


class ColumnOptions(SkillOptions):
    """Names of a table's columns; without them, the columns are recognized by common names."""

    abstract_column: str | None = Field(None, description="the table's column of abstracts")
    id_column: str | None = Field(None, description="the table's column of ids")


class TitledColumnOptions(ColumnOptions):
    title_column: str | None = Field(None, description="the table's column of titles")


class DatabaseOptions(SkillOptions):
    db: Path | None = Field(None, description="the corpus database, instead of your own")


Effort = Literal["fast", "best"]
Wording = Literal["extractive", "abstractive"]


class AnswerOptions(SkillOptions):
    max_tokens: int | None = Field(
        None, ge=16, description="maximum tokens of one answer; the default cuts no annotation"
    )
    effort: Effort = Field(
        "fast",
        description="one answer (fast), or each move chosen among several candidates, which takes "
        "several times as long (best); for moves that quote",
    )
    wording: Wording | None = Field(
        None,
        description="moves that quote the abstract (extractive) or the model's own words "
        "(abstractive); default: what the registry states for the model",
    )


class WorkerOptions(SkillOptions):
    workers: int | None = Field(
        None, ge=1, le=256, description="parallel requests; default: what the model serves"
    )


class ReportOptions(SkillOptions):
    details: bool = Field(False, description="show all figures, not the verdict alone")
