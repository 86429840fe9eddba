"""Results of /curate as models for programs (`Skill.output_summary`)."""

from __future__ import annotations

from typing import Any

from pydantic import Field, RootModel

from skills.reporting.outputs import Output, ShareOutput


class Curation(Output):
    """A run of the gates and the panel, in annotations."""

    input: str
    rows: int
    annotations: int
    kept: int
    rejected: int
    undecided: int
    failed: int
    pending: int
    gated: int = Field(description="with findings of the gates")
    judged: int = Field(description="by the panel")
    reject_rate: ShareOutput
    gates: dict[str, int] = Field(description="findings, by code")
    verdict: list[str] = Field(description="the result in words")
    notes: list[Any]
    seconds: float


class Reviewed(Output):
    """A review by the user, in annotations."""

    input: str
    gold: str
    journal: str
    papers: int
    accepted: int
    edited: int
    rejected: int
    to_do: int
    gold_rows: int


class CurateSummary(RootModel[Curation | Reviewed]):
    """A run of the gates and the panel, or with --review a review."""
