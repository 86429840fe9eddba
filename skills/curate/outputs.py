"""The results of /curate: the source of --json, of the text on a terminal and of the page."""

from __future__ import annotations

from typing import Any

from pydantic import Field, RootModel

from skills.reporting.outputs import Interval, Output, Rounded, Share
from skills.reporting.statistics import Agreement as AgreementFigure
from skills.reporting.statistics import Alpha


class Auroc(Interval):
    """The probability that a good annotation scores above a bad one; 0.5 is chance."""

    n_good: int
    n_bad: int
    at_chance: bool = Field(description="whether 0.5 is within the interval")


class FormFacts(Output):
    """How a judge votes: `panel.VoteForm`."""

    kind: str
    prefill: str
    mass: float | None
    measured: dict[str, float]
    items: int


class JudgeFacts(Output):
    """The judge and its criteria; `model` is None if the gates left nothing to judge."""

    model: str | None
    served: str = ""
    digests: dict[str, str] = {}
    answered_by: dict[str, Any] = {}
    form: FormFacts | None = None
    panel: str = Field(description="digest of the prompts")
    min_votes: int
    thresholds: dict[str, float] = Field(description="by persona")
    calibrated: dict[str, Any] | None = Field(description="the calibration; None for defaults")


class NotKept(Output):
    """An annotation that is not kept, with the reasons as codes and in words."""

    id: str
    title: str
    decision: str
    reasons: list[str]
    details: list[str]


class PersonaFigures(Output):
    """A persona's votes on the input."""

    name: str
    title: str
    criterion: str
    threshold: float
    passed: Share = Field(description="of the valid votes")
    invalid: int
    mean: float | None = Field(description="of the valid scores")
    mass: float | None = Field(description="mean probability of all answers")
    seconds: float = Field(description="mean of a vote")
    auroc: Auroc = Field(description="of annotations of the input against probes")
    weight: dict[str, int] = Field(description="decisions that depend on its vote")


class BorderlineRow(Output):
    id: str
    where: str
    title: str
    decision: str
    votes: int
    distance: float = Field(description="from the thresholds")


class Borderline(Output):
    """Annotations that a person should look at, the closest to the thresholds first."""

    of: int
    closest: list[BorderlineRow]


class PanelFigures(Output):
    personas: list[PersonaFigures]
    splits: dict[str, int] = Field(description="annotations by votes for and against")
    alpha: dict[str, Alpha] = Field(description="of the votes and of the scores")
    effective_votes: float | None = Field(description="number of independent votes")
    length: dict[str, float | None] = Field(description="correlation of score and length")
    vote_against_mean: dict[str, int]
    borderline: Borderline


class ProbesRejected(Output):
    """Known-bad annotations that are rejected."""

    gates: Share
    panel: Share
    together: Share
    auroc: Auroc


class Added(Output):
    """The rejections by the gates, a persona, the panel, or gates and panel together."""

    who: str
    caught: Share = Field(description="of the known-bad annotations that it judged")
    cost: Share = Field(description="of the annotations that are taken to be good")
    alone: int | None = Field(description="caught by no other persona")
    no_vote: int = Field(description="annotations left open by invalid votes")
    edge: Rounded | None = Field(description="share caught less share of the cost (Youden's J)")


class ProbeFigures(Output):
    failed: int
    kinds: dict[str, ProbesRejected]
    all: ProbesRejected
    subtle: dict[str, ProbesRejected] = Field(description="kinds that no gate can find")
    added: list[Added]


class Curation(Output):
    """A run of the gates and the panel, in annotations."""

    input: str
    rows: int
    filtered: dict[str, int] = {}
    annotations: int
    kept: int
    rejected: int
    undecided: int
    failed: int
    pending: int
    gated: int = Field(description="with findings of the gates")
    judged: int = Field(description="by the panel")
    reject_rate: Share
    judge: JudgeFacts
    gates: dict[str, int] = Field(description="findings, by code")
    not_kept: list[NotKept] = Field(description="the first of them")
    panel: PanelFigures | None
    probes: ProbeFigures | None = Field(description="known-bad annotations")
    verdict: list[str] = Field([], description="the result in words")
    notes: list[str] = []
    tokens: dict[str, int] = {}
    seconds: float = 0.0
    database: str = ""
    run: int = 0


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
    right: Share | None = Field(
        None,
        description="of the moves of the first 20, 40, ... papers: left unchanged by reviewers",
    )
    right_by_move: dict[str, Share] = Field({}, description="the same, by label")
    retraining: str = Field(
        "", description="the line that trains on the gold table, from 20 papers"
    )


class Agreed(Output):
    """Agreement in one judgement."""

    what: str = Field(description="annotation, or the label of a move")
    judged: str = Field(description="accepted, kept (right as it was) or stated")
    same: Share = Field(description="papers on which all reviewers judge alike")
    kappa: AgreementFigure
    alpha: Alpha


class Agreement(Output):
    """How far two reviewers agree."""

    gold: str
    reviewers: list[str]
    papers: int = Field(description="with two decisions")
    disputed: int
    waiting: int
    agreement: list[Agreed] = Field(description="by judgement")


class CurateSummary(RootModel[Curation | Reviewed | Agreement]):
    """A run of the gates and the panel, or with --review a review or the agreement."""
