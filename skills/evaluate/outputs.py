"""The result of /evaluate, as printed by --json, stored in files and shown in reports."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from skills.reporting.outputs import Output, RefusedRow
from skills.reporting.statistics import Figure

OVERALL = "overall"
"""The key of the figures for all moves together, beside the keys of the single moves."""
Kind = Literal["seeds", "prompts"]
Figures = dict[str, dict[str, Figure]]
"""Figures with their intervals, by metric, then by move or `OVERALL`."""


class PaperDigests(Output):
    """The id of a paper, with the digests of its abstract and of its gold annotation or labels."""

    id: str
    abstract: str
    gold: str


class Answer(Output):
    """The annotation of a paper by a model or a baseline, with facts about the model's answers."""

    moves: dict[str, str] | None
    anchors: dict[str, Any] | None = None
    confidence: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    valid: bool = Field(description="True if the first answer was a valid annotation")
    valid_freely: bool | None = Field(
        None,
        description="True if the first answer without constrained output was valid, with the moves "
        "in order; None if not measured",
    )
    tokens: tuple[int, int] | None = Field(
        description="tokens of prompts and of replies; None for a baseline or a failed annotation"
    )
    again: dict[Kind, list[dict[str, str] | None]] | None = Field(
        None,
        description="the moves of repeated annotations, by the varied setting (seeds or prompts). "
        'The first item of "prompts" is `moves`, the annotation with the usual prompt',
    )


class Speed(Output):
    papers_per_minute: float | None
    papers: int
    memory: int | None = Field(
        description="memory of the process in bytes; None if a server runs the model"
    )


class ReliabilityBin(Output):
    low: float
    high: float
    moves: int
    confidence: float = Field(description="mean confidence of the moves")
    right: float = Field(
        description="share of the moves whose anchor has a sentence in common with the gold anchor"
    )


class Reliability(Output):
    """The shares of moves with a right anchor, by the confidence of the moves."""

    moves: int = Field(
        description="number of stated moves that have a confidence and a gold anchor"
    )
    bins: list[ReliabilityBin]
    sure: int = Field(
        description="number of moves with a gold anchor and a confidence of 0.8 or more"
    )
    sure_not_in_gold: int = Field(
        description="number of stated moves with a confidence of 0.8 or more that the gold does "
        "not state",
    )


class Evaluated(Output):
    """A model or a baseline, with its figures.

    For a baseline, the fields about a model have their default values.
    """

    name: str
    kind: str = Field(
        description='"model", "stored" (read from an earlier evaluation) or "baseline"'
    )
    model: str = ""
    served: str = ""
    form: str = ""
    digests: dict[str, str] = {}
    slots: int = 0
    answered_by: dict[str, Any] = {}
    failed: dict[str, int] = Field({}, description="number of failed annotations by class of error")
    speed: Speed | None = None
    by_paper: list[Answer] | None = None
    reliability: Reliability | None = None
    anchors: dict[str, dict[str, int]] = Field(
        {}, description="for each move, the number of its anchors by the label of the sentence"
    )
    metrics: Figures
    score_by_paper: list[float] | None = None


class Outcomes(Output):
    """The numbers of papers that the first annotator wins, ties and loses by score.

    Attributes:
        score: the metric that is compared for each paper.
    """

    score: str
    win: int
    tie: int
    loss: int


class Difference(Output):
    """The figures of the first annotator minus the figures of another annotator."""

    first: str
    other: str
    paired: bool = True
    metrics: Figures
    papers: Outcomes | None


class WorstPaper(Output):
    """A paper on which the first model has a low score."""

    index: int
    id: str
    score: float
    moves: dict[str, str] | None


class Evaluation(Output):
    """A comparison of annotators on the same papers."""

    input: str
    against: str
    papers: int
    filtered: dict[str, int] = {}
    framework: dict[str, Any]
    resamples: int = 0
    seed: int = 0
    harness: str = ""
    libraries: dict[str, str] = {}
    metrics: dict[str, str] = Field(description="the meaning of each metric, by its name")
    gold: Figures | None
    by_paper: list[PaperDigests] | None = None
    score: str = Field("", description="the metric by which annotators are compared paper by paper")
    annotators: list[Evaluated] = Field(min_length=1)
    differences: list[Difference] = Field(
        [], description="differences between the first annotator and every other annotator"
    )
    worst: list[WorstPaper] = Field(
        [], description="the papers with the lowest scores of the first model"
    )
    regressions: list[tuple[str, str]] | None = Field(
        None,
        description="(metric, move) pairs whose figures are worse than in the stored evaluation",
    )
    verdict: list[str] = Field([], description="the result in sentences")
    refused: list[RefusedRow] = []
