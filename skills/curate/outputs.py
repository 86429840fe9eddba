"""The results of /curate, from which --json, the terminal text and the HTML page are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field, RootModel

from skills.reporting.intervals import Interval, Rounded, Share
from skills.reporting.outputs import Output
from skills.reporting.statistics import Agreement as AgreementFigure
from skills.reporting.statistics import Alpha

FEWEST_MASS = 0.5
"""Minimum sum of the probabilities of all answers for a valid vote.

With a lower sum, the model was about to write something other than an answer.
"""

JUDGED = "; for a persona and the panel, of those that pass the gates"


class Auroc(Interval):
    """The probability that a good annotation has a higher score than a bad annotation.

    The value 0.5 is chance.
    """

    n_good: int
    n_bad: int
    at_chance: bool = Field(description="True if the interval contains 0.5")


@dataclass(frozen=True, slots=True)
class VoteForm:
    """The form in which a judge votes; a JSON result has these fields under "form".

    Attributes:
        kind: "logprobs" for votes by the probabilities of the first token; "json" for votes as
            JSON.
        prefill: the beginning of the reply.
        mass: the mean sum of the probabilities of all answers after the prefill; None for votes as
            JSON, or if it was not measured.
        measured: the `mass` of each prefill that was tried.
        items: number of annotations on which `mass` was measured; 0 if it was not measured.
    """

    kind: Literal["logprobs", "json"]
    prefill: str = ""
    mass: float | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    items: int = 0

    @property
    def can_answer(self) -> bool:
        """False if the answers have too little probability, so that the gates decide alone."""
        return self.mass is None or self.mass >= FEWEST_MASS


class JudgeFacts(Output):
    """The judge and its criteria; `model` is None if the gates reject every annotation."""

    model: str | None
    served: str = ""
    digests: dict[str, str] = {}
    answered_by: dict[str, Any] = {}
    form: VoteForm | None = None
    panel: str = Field(description="digest of the prompts of the panel")
    min_votes: int
    thresholds: dict[str, float] = Field(description="the threshold of each persona, by name")
    calibrated: dict[str, Any] | None = Field(
        description="facts about the calibration of the thresholds; None for the default thresholds"
    )


class NotKept(Output):
    """An annotation that is not kept, with the reasons as codes and in words."""

    id: str
    title: str
    decision: str
    reasons: list[str]
    details: list[str]


class PersonaFigures(Output):
    """Figures of the votes of a persona on the input."""

    name: str
    title: str
    criterion: str
    threshold: float
    passed: Share = Field(
        description="share of the persona's valid votes that are for keeping the annotation"
    )
    invalid: int
    mean: float | None = Field(description="mean score of the valid votes")
    mass: float | None = Field(
        description="mean total probability of the possible answers; low if the judge tends to "
        "write something else",
    )
    seconds: float = Field(description="mean duration of a vote in seconds")
    auroc: Auroc = Field(
        description="AUROC of the persona's scores: annotations of the input against known-bad "
        "annotations of the kinds that gates can find"
    )
    weight: dict[str, int] = Field(
        description="numbers of annotations: lost (kept only with the persona), gained (kept only "
        "without the persona), flips (lost plus gained), deciding (decided differently if the "
        "persona's vote were reversed), of (all)",
    )


class BorderlineRow(Output):
    id: str
    where: str
    title: str
    decision: str
    votes: int
    distance: float = Field(
        description="largest distance to the threshold among the scores that must change to "
        "reverse the decision; 0 if the annotation is undecided",
    )


class Borderline(Output):
    """The annotations with a close decision, which a person should read.

    Attributes:
        of: number of these annotations.
        closest: the first 20 of these annotations, the nearest to a threshold first.
    """

    of: int
    closest: list[BorderlineRow]


class PanelFigures(Output):
    personas: list[PersonaFigures]
    splits: dict[str, int] = Field(
        description="number of annotations by votes for and against, such as 4-1"
    )
    alpha: dict[str, Alpha] = Field(
        description="agreement of the personas (Krippendorff's alpha), with the keys votes and "
        "scores",
    )
    effective_votes: float | None = Field(
        description="number of independent personas that would give as much information as the "
        "panel",
    )
    length: dict[str, float | None] = Field(
        description="Spearman's correlation of mean score and length of annotations: value, "
        "p-value p, and number n of annotations",
    )
    vote_against_mean: dict[str, int]
    borderline: Borderline


class ProbesRejected(Output):
    """The shares of known-bad annotations that gates and panel reject, and the panel's AUROC."""

    gates: Share
    panel: Share
    together: Share
    auroc: Auroc


class Added(Output):
    """The shares of annotations that the gates, the panel or a persona reject.

    Attributes:
        who: "gates", "panel", "together" (gates and panel), or the name of a persona.
    """

    who: str
    caught: Share = Field(
        description=f"share of the known-bad annotations that are rejected{JUDGED}"
    )
    cost: Share = Field(description=f"share of the input's annotations that are rejected{JUDGED}")
    alone: int | None = Field(
        description="number of known-bad annotations that only this persona rejects; None if `who` "
        "is not a persona",
    )
    no_vote: int = Field(
        description="number of annotations without a decision because of invalid votes"
    )
    edge: Rounded | None = Field(description="`caught` minus `cost` (Youden's J)")


class ProbeFigures(Output):
    failed: int
    kinds: dict[str, ProbesRejected]
    all: ProbesRejected
    subtle: dict[str, ProbesRejected] = Field(
        description="results for each kind of known-bad annotation that no gate can find"
    )
    added: list[Added]


class Curation(Output):
    """The result of a run of the gates and the panel.

    The fields from `annotations` to `judged` are numbers of annotations of the input.
    """

    input: str
    rows: int
    filtered: dict[str, int] = {}
    annotations: int
    kept: int
    rejected: int
    undecided: int
    failed: int
    pending: int
    gated: int = Field(description="number of annotations that the gates reject")
    judged: int = Field(description="number of annotations that the panel voted on")
    reject_rate: Share
    judge: JudgeFacts
    gates: dict[str, int] = Field(
        description="number of annotations with each finding, by the code of the finding"
    )
    not_kept: list[NotKept] = Field(description="the first 10 annotations that did not pass")
    panel: PanelFigures | None
    probes: ProbeFigures | None = Field(description="results on the known-bad annotations")
    verdict: list[str] = Field([], description="the result in two sentences")
    notes: list[str] = []
    tokens: dict[str, int] = {}
    seconds: float = 0.0
    database: str = ""
    run: int = 0


class Reviewed(Output):
    """The result of a review by a person.

    The fields from `papers` to `disputed` are numbers of papers; each paper has one annotation.
    """

    input: str
    gold: str
    journal: str
    papers: int
    accepted: int
    edited: int
    rejected: int
    to_do: int
    waiting: int = Field(0, description="number of annotations that wait for a second reviewer")
    disputed: int = Field(
        0, description="number of annotations with an unsettled disagreement of two reviewers"
    )
    gold_rows: int
    right: Share | None = Field(
        None, description="share of the moves that reviewers left unchanged in complete rounds"
    )
    right_by_move: dict[str, Share] = Field(
        {}, description="the share for each move, by the label of the move"
    )
    retraining: str = Field(
        "",
        description='the command that trains on the gold table; "" before the end of the first '
        "round, or if the table has fewer than 20 papers",
    )


class Agreed(Output):
    """The agreement of the reviewers in one judgement."""

    what: str = Field(description='"Annotation" for the whole annotation, or the label of a move')
    judged: str = Field(
        description="the judgement that is compared: accepted, kept (left unchanged) or stated"
    )
    same: Share = Field(description="share of the papers on which all reviewers agree")
    kappa: AgreementFigure
    alpha: Alpha


class AgreedPassages(Output):
    """The agreement of the reviewers in the passages of a move."""

    what: str = Field(description="'All moves', or the label of a move")
    papers: int = Field(
        description="number of papers in which at least one reviewer has a passage of the move"
    )
    f1: float | None = Field(description="F1 of the words in the passages of two reviewers")
    alpha: float | None = Field(description="Krippendorff's unitizing alpha of the passages")


class Agreement(Output):
    """The agreement of the reviewers of a gold table."""

    gold: str
    reviewers: list[str]
    papers: int = Field(description="number of papers with at least two decisions")
    disputed: int
    waiting: int
    agreement: list[Agreed] = Field(
        description="agreement about whole annotations, and about each move"
    )
    passages: list[AgreedPassages] = Field(
        description="agreement about the passages of all moves, and of each move"
    )


class CurateSummary(RootModel[Curation | Reviewed | Agreement]):
    """The result of /curate: of a run, of a review (--review), or of --agreement."""
