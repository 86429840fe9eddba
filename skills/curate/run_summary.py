"""Summarise a run of /curate: its decisions, the votes of the panel, and the probes."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from skills.curate import panel_statistics
from skills.curate.curator import Criteria, Decision, Judge, Verdict
from skills.curate.items import Input
from skills.curate.outputs import (
    Borderline,
    BorderlineRow,
    Curation,
    JudgeFacts,
    NotKept,
    PanelFigures,
    PersonaFigures,
    ProbeFigures,
    ProbesRejected,
)
from skills.curate.panel import Panel, Persona
from skills.curate.probes import KINDS, SUBTLE
from skills.nanda.framework import Framework
from skills.reporting import statistics
from skills.reporting.intervals import Share

SHOWN_BORDERLINE = 20
SHOWN_NOT_KEPT = 10
DECISIONS: tuple[Decision, ...] = ("kept", "rejected", "undecided", "failed", "pending")


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has ended, completely or early.

    Attributes:
        judge: None if the gates rejected every annotation, so that no model was loaded.
        verdicts: the verdicts on the annotations of the input, in the order of the input.
        probes: the verdicts on the probes.
    """

    source: Input
    framework: Framework
    panel: Panel
    judge: Judge | None
    criteria: Criteria
    verdicts: Sequence[Verdict]
    probes: Sequence[Verdict]

    @property
    def judged(self) -> list[Verdict]:
        """The verdicts on the annotations that the panel has voted on."""
        return [verdict for verdict in self.verdicts if verdict.ballot]

    @property
    def plain_probes(self) -> list[Verdict]:
        """The verdicts on the probes that are not subtle."""
        return [verdict for verdict in self.probes if verdict.item.probe in KINDS]


def of_run(run: Run) -> Curation:
    """Return the summary of a run, without the fields that `skills.curate.curation` adds.

    These fields are `verdict`, `notes`, `tokens`, `seconds`, `database` and `run`.
    """
    counts = Counter(verdict.decision for verdict in run.verdicts)
    gated = [verdict for verdict in run.verdicts if verdict.item.findings]
    codes = Counter(code for verdict in gated for code in verdict.reasons)
    lost = (one for one in run.verdicts if one.decision not in ("kept", "pending"))
    return Curation(
        input=run.source.name,
        rows=len(run.verdicts) + run.source.filtered.total(),
        filtered=dict(run.source.filtered),
        annotations=len(run.verdicts),
        **{decision: counts[decision] for decision in DECISIONS},
        gated=len(gated),
        judged=len(run.judged),
        reject_rate=Share(counts["rejected"], len(run.verdicts)),
        judge=_judge(run),
        gates=dict(codes.most_common()),
        not_kept=[
            NotKept(**_about(one), reasons=list(one.reasons), details=list(one.details))
            for one in itertools.islice(lost, SHOWN_NOT_KEPT)
        ],
        panel=_panel(run) if run.judged else None,
        probes=_probes(run) if run.probes else None,
    )


def _about(verdict: Verdict) -> dict[str, str]:
    paper = verdict.item.paper
    return {"id": paper.id, "title": paper.title, "decision": verdict.decision}


def _judge(run: Run) -> JudgeFacts:
    model: dict[str, Any] = {"model": None}
    if run.judge:
        resolution = run.judge.model.resolution
        model = {
            "model": resolution.resolved,
            "served": resolution.chosen.serve.label,
            "digests": dict(run.judge.model.digests),
            "answered_by": run.judge.model.about,
            "form": run.judge.form,
        }
    return JudgeFacts(
        **model,
        panel=run.panel.digest,
        min_votes=run.criteria.min_votes,
        thresholds=dict(zip(run.panel.names, run.criteria.thresholds, strict=True)),
        calibrated=run.criteria.calibrated,
    )


def _panel(run: Run) -> PanelFigures:
    scores = [verdict.scores for verdict in run.judged]
    passes = [verdict.passes for verdict in run.judged]
    means = [verdict.mean for verdict in run.judged]
    lengths = [one.item.words for one in run.judged]
    thresholds, min_votes = run.criteria.thresholds, run.criteria.min_votes
    weights = panel_statistics.weights(passes, min_votes)
    return PanelFigures(
        personas=[
            _persona(run, place, persona, weights[place])
            for place, persona in enumerate(run.panel.personas)
        ],
        splits=panel_statistics.splits(passes),
        alpha={"votes": statistics.alpha(passes), "scores": statistics.alpha(scores)},
        effective_votes=statistics.effective_votes(scores),
        length=statistics.length_correlation(means, lengths),
        vote_against_mean=panel_statistics.vote_against_mean(scores, thresholds, min_votes),
        borderline=_borderline(run, scores),
    )


def _persona(run: Run, place: int, persona: Persona, weight: dict[str, int]) -> PersonaFigures:
    """Return figures of a persona's votes on the input, and its AUROC against the plain probes.

    Args:
        place: the index of the persona in the panel.
        weight: the influence of the persona, as in the result of `panel_statistics.weights`.
    """
    votes = [one.ballot.votes[place] for one in run.judged if one.ballot]
    passed = [one.passes[place] for one in run.judged]
    valid = [vote.score for vote in votes if vote.score is not None]
    masses = [vote.mass for vote in votes if vote.mass is not None]
    bad = [one.scores[place] for one in run.plain_probes if one.ballot]
    return PersonaFigures(
        name=persona.name,
        title=persona.title,
        criterion=persona.criterion,
        threshold=run.criteria.thresholds[place],
        passed=Share(passed.count(True), len(valid)),
        invalid=passed.count(None),
        mean=round(fmean(valid), 3) if valid else None,
        mass=round(fmean(masses), 3) if masses else None,
        seconds=round(fmean(vote.seconds for vote in votes), 3),
        auroc=panel_statistics.auroc(valid, bad),
        weight=weight,
    )


def _borderline(run: Run, scores: Sequence[Sequence[float | None]]) -> Borderline:
    """Return the number of borderline annotations, and at most `SHOWN_BORDERLINE` of them."""
    low, high = run.panel.scale
    margin = panel_statistics.MARGIN * (high - low) / 4  # `MARGIN` is for a scale of 1 to 5
    criteria, judged = run.criteria, run.judged
    rows = panel_statistics.borderline(scores, criteria.thresholds, criteria.min_votes, margin)
    closest = [
        BorderlineRow(
            **_about(judged[row]),
            where=judged[row].item.where,
            votes=votes,
            distance=round(distance, 4),
        )
        for distance, row, votes in rows[:SHOWN_BORDERLINE]
    ]
    return Borderline(of=len(rows), closest=closest)


def _probes(run: Run) -> ProbeFigures:
    """Return the shares of rejected probes, and the contributions of gates, personas and panel.

    All annotations of the input count as good.
    """
    bad, good = (
        [
            None if one.item.findings else one.passes
            for one in side
            if one.ballot or one.item.findings
        ]
        for side in (run.probes, run.verdicts)
    )
    return ProbeFigures(
        failed=sum(bool(verdict.error) for verdict in run.probes),
        kinds=_by_kind(run, KINDS),
        all=_rejected(run, run.plain_probes),
        subtle=_by_kind(run, SUBTLE),
        added=panel_statistics.added(bad, good, run.panel.names, run.criteria.min_votes),
    )


def _by_kind(run: Run, kinds: Sequence[str]) -> dict[str, ProbesRejected]:
    by_kind = {
        kind: [verdict for verdict in run.probes if verdict.item.probe == kind] for kind in kinds
    }
    return {kind: _rejected(run, found) for kind, found in by_kind.items() if found}


def _rejected(run: Run, probes: Sequence[Verdict]) -> ProbesRejected:
    voted = [verdict for verdict in probes if verdict.ballot]
    by_panel = [panel_statistics.is_kept(one.passes, run.criteria.min_votes) for one in voted]
    ended = [verdict for verdict in probes if verdict.decision not in ("failed", "pending")]
    good, bad = [one.mean for one in run.judged], [one.mean for one in voted]
    return ProbesRejected(
        gates=Share(sum(bool(one.item.findings) for one in probes), len(probes)),
        panel=Share(by_panel.count(False), len(by_panel)),
        together=Share(sum(one.decision == "rejected" for one in ended), len(ended)),
        auroc=panel_statistics.auroc(good, bad),
    )
