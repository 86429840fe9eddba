"""What a run of /curate comes to: one object, from which the report is written and `--json` prints.

annotations   of the input: gated, judged, kept, rejected, undecided, failed, pending
judge         who judged, how it voted, and the bar; without a model where none was needed
gates         rejections by code
panel         each persona; splits, agreement, effective votes, length, the mean, borderline rows
probes        known-bad annotations: what gates and panel reject of each kind, and the AUROC;
              subtle: of kinds that no gate can see, which do not count in "all"
notes         what a reader has to know before believing any of it
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from skills.curate.curator import Judge
from skills.curate.inputs.items import Input
from skills.curate.inputs.probes import KINDS
from skills.curate.inputs.subtle_probes import SUBTLE
from skills.curate.panel.panel import Panel
from skills.curate.statistics import agreement, decisions, separation
from skills.curate.store.verdicts import Bar, Decision, Verdict
from skills.nanda.framework import Framework
from skills.reporting.statistics import Share

SHOWN_BORDERLINE = 20
DECISIONS: tuple[Decision, ...] = ("kept", "rejected", "undecided", "failed", "pending")


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has ended, as far as it came.

    Attributes:
        judge: who judged; None where the gates left nothing to judge, and no model was loaded.
        verdicts: of the input, in its order.
        probes: of the probes.
    """

    source: Input
    framework: Framework
    panel: Panel
    judge: Judge | None
    bar: Bar
    verdicts: Sequence[Verdict]
    probes: Sequence[Verdict]

    @property
    def judged(self) -> list[Verdict]:
        """The annotations that the panel has voted on."""
        return [verdict for verdict in self.verdicts if verdict.ballot]


def of_run(run: Run) -> dict[str, Any]:
    """The whole summary."""
    counts = Counter(verdict.decision for verdict in run.verdicts)
    gated = [verdict for verdict in run.verdicts if verdict.item.findings]
    codes = Counter(code for verdict in gated for code in verdict.reasons)
    summary: dict[str, Any] = {
        "input": run.source.name,
        "rows": run.source.rows,
        "filtered": dict(run.source.filtered),
        "annotations": len(run.verdicts),
        **{decision: counts[decision] for decision in DECISIONS},
        "gated": len(gated),
        "judged": len(run.judged),
        "reject_rate": Share(counts["rejected"], len(run.verdicts)).as_dict(),
        "judge": judge_of(run),
        "gates": dict(codes.most_common()),
        "panel": _panel(run) if run.judged else None,
        "probes": _probes(run) if run.probes else None,
    }
    return summary


def judge_of(run: Run) -> dict[str, Any]:
    """Who judged, how it voted, and what had to be reached."""
    return {
        **(_model_of(run.judge) if run.judge else {"model": None}),
        "panel": run.panel.digest,
        "min_votes": run.bar.min_votes,
        "thresholds": dict(zip(run.panel.names, run.bar.thresholds, strict=True)),
        "calibrated": run.bar.calibrated,
    }


def _model_of(judge: Judge) -> dict[str, Any]:
    form, resolution = judge.form, judge.model.resolution
    return {
        "model": resolution.resolved,
        "served": resolution.chosen.serve.label,
        "digests": dict(judge.model.digests),
        "form": {
            "kind": form.kind,
            "prefill": form.prefill,
            "mass": form.mass,
            "measured": dict(form.measured),
        },
    }


def _panel(run: Run) -> dict[str, Any]:
    scores = [verdict.scores for verdict in run.judged]
    passes = [verdict.passes for verdict in run.judged]
    thresholds, min_votes = run.bar.thresholds, run.bar.min_votes
    lengths = [sum(len(text.split()) for text in one.item.moves.values()) for one in run.judged]
    difference = decisions.vote_against_mean(scores, thresholds, min_votes)
    return {
        "personas": _personas(run),
        "splits": decisions.splits(passes),
        "alpha": {
            "votes": agreement.alpha(passes, "nominal").as_dict(),
            "scores": agreement.alpha(scores, "interval").as_dict(),
        },
        "effective_votes": agreement.effective_votes(scores),
        "length": agreement.length_correlation(
            [verdict.mean for verdict in run.judged], lengths
        ).as_dict(),
        "vote_against_mean": difference.as_dict(),
        "borderline": _borderline(run, scores),
    }


def _personas(run: Run) -> list[dict[str, Any]]:
    """Each persona's votes on the input, and its AUROC against the probes."""
    found = []
    weights = decisions.weights([verdict.passes for verdict in run.judged], run.bar.min_votes)
    for place, persona in enumerate(run.panel.personas):
        votes = [one.ballot.votes[place] for one in run.judged if one.ballot]
        passed = [one.passes[place] for one in run.judged]
        valid = [vote.score for vote in votes if vote.score is not None]
        masses = [vote.mass for vote in votes if vote.mass is not None]
        bad = [one.scores[place] for one in _plain(run) if one.ballot]
        found.append(
            {
                "name": persona.name,
                "title": persona.title,
                "criterion": persona.criterion,
                "threshold": run.bar.thresholds[place],
                "passed": Share(passed.count(True), len(valid)).as_dict(),
                "invalid": passed.count(None),
                "mean": round(fmean(valid), 3) if valid else None,
                "mass": round(fmean(masses), 3) if masses else None,
                "seconds": round(fmean(vote.seconds for vote in votes), 3),
                "weight": weights[place].as_dict(),
                "auroc": separation.auroc(valid, bad).as_dict(),
            }
        )
    return found


def _borderline(run: Run, scores: Sequence[Sequence[float | None]]) -> dict[str, Any]:
    """How many there are, and the closest of them."""
    low, high = run.panel.scale
    margin = decisions.MARGIN * (high - low) / 4  # which is meant for a scale of 1 to 5
    rows = decisions.borderline(scores, run.bar.thresholds, run.bar.min_votes, margin)
    found = []
    for row in rows[:SHOWN_BORDERLINE]:
        verdict = run.judged[row.row]
        found.append(
            {
                "id": verdict.item.paper.id,
                "where": verdict.item.where,
                "title": verdict.item.paper.title,
                "decision": verdict.decision,
                "votes": row.passes,
                "distance": round(row.distance, 4),
            }
        )
    return {"of": len(rows), "closest": found}


def _probes(run: Run) -> dict[str, Any]:
    """What is rejected of the known-bad, and whether the panel alone tells it from the input.

    The input's annotations that passed the gates stand for good ones; nobody has said that they
    are.
    """
    good = [verdict.mean for verdict in run.judged]
    names = run.panel.names
    added = separation.added(
        [_seen(one) for one in run.probes if one.ballot or one.item.findings],
        [_seen(one) for one in run.verdicts if one.ballot or one.item.findings],
        names,
        run.bar.min_votes,
    )
    return {
        "failed": sum(verdict.refused is not None for verdict in run.probes),
        "kinds": _by_kind(run, KINDS, good),
        "all": _rejected(run, _plain(run), good),
        "subtle": _by_kind(run, SUBTLE, good),
        "added": added.as_dict()["lines"],
    }


def _plain(run: Run) -> list[Verdict]:
    """The probes without the subtle ones."""
    return [verdict for verdict in run.probes if verdict.item.probe in KINDS]


def _by_kind(
    run: Run, kinds: Sequence[str], good: Sequence[float | None]
) -> dict[str, dict[str, Any]]:
    found = {}
    for kind in kinds:
        of_kind = [verdict for verdict in run.probes if verdict.item.probe == kind]
        if of_kind:
            found[kind] = _rejected(run, of_kind, good)
    return found


def _rejected(run: Run, probes: Sequence[Verdict], good: Sequence[float | None]) -> dict[str, Any]:
    voted = [verdict.passes for verdict in probes if verdict.ballot]
    panel = decisions.decide(voted, run.bar.min_votes)
    ended = [verdict for verdict in probes if verdict.decision not in ("failed", "pending")]
    return {
        "gates": Share(sum(bool(one.item.findings) for one in probes), len(probes)).as_dict(),
        "panel": Share(panel.count(False), len(panel)).as_dict(),
        "together": Share(sum(one.decision == "rejected" for one in ended), len(ended)).as_dict(),
        "auroc": separation.auroc(good, [one.mean for one in probes if one.ballot]).as_dict(),
    }


def _seen(verdict: Verdict) -> separation.Seen:
    return separation.Seen(bool(verdict.item.findings), verdict.passes)
