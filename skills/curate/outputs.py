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
    not_kept: list[Any] = Field(description="the first of them: id, title, decision, reasons")
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
    waiting: int = Field(0, description="for a second reviewer")
    disputed: int = Field(0, description="two reviewers disagree")
    gold_rows: int
    right: ShareOutput | None = Field(
        None,
        description="of the moves of the first 20, 40, ... papers: left unchanged by reviewers",
    )
    right_by_move: dict[str, ShareOutput] = Field({}, description="the same, by label")
    retraining: str = Field(
        "", description="the line that trains on the gold table, from 20 papers"
    )


class Agreement(Output):
    """How far two reviewers agree."""

    gold: str
    reviewers: list[str]
    papers: int = Field(description="with two decisions")
    disputed: int
    waiting: int
    agreement: list[Any] = Field(
        description="by judgement: the share judged alike, kappa and alpha with intervals"
    )


class CurateSummary(RootModel[Curation | Reviewed | Agreement]):
    """A run of the gates and the panel, or with --review a review or the agreement."""
