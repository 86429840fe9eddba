"""Let a model vote on annotations as the personas of a panel, and decide by the votes.

The score of a vote is a weighted mean of the values of the answers. The weight of an answer is the
probability of the answer as the next token of the model. If a server returns no token
probabilities, a vote is one answer as JSON, which a schema constrains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from harness.errors import InvalidReply
from harness.models.served import ServedModel
from harness.support import traces
from skills.curate import panel_statistics
from skills.curate.items import Item
from skills.curate.outputs import FEWEST_MASS, VoteForm
from skills.curate.panel import Panel, Persona, answers_of, request_vote
from skills.nanda.framework import Framework

EXPLANATION_TOKENS = 60
Decision = Literal["kept", "rejected", "undecided", "failed", "pending"]
"""The decision about an annotation.

An annotation is "undecided" if the decision depends on invalid votes, "failed" if an error
prevented the votes, and "pending" if it is not judged yet.
"""
INVALID = "invalid-votes"
"""The code in `Verdict.reasons` if an annotation is undecided because of invalid votes."""


@dataclass(frozen=True, slots=True)
class Vote:
    """The vote of one persona on one annotation.

    Attributes:
        score: the weighted mean of the values of the answers; None for an invalid vote, which
            counts neither as a pass nor as a fail.
        mass: the sum of the probabilities of all answers; None for a vote as JSON.
        answers: the probability of each answer; in a vote as JSON, 1.0 for the given answer
            and 0.0 for any other answer.
        prompt_tokens: number of tokens of the prompt.
        cached_tokens: number of tokens of the prompt that were in the cache of the backend.
        seconds: the duration of the request.
    """

    persona: str
    score: float | None
    mass: float | None
    answers: Mapping[str, float]
    prompt_tokens: int
    cached_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Judge:
    """A model that votes as each persona of a panel.

    Attributes:
        form: the form of the votes, as selected by `choose_form`.
    """

    panel: Panel
    model: ServedModel
    framework: Framework
    form: VoteForm

    def votes(
        self,
        item: Item,
        slot: int | None = None,
        known: Mapping[str, Vote] | None = None,
        on_vote: Callable[[Vote], None] = lambda _: None,
    ) -> tuple[Vote, ...]:
        """Request the votes that are not known, and return all votes in the order of the panel.

        The requests are sent one after another. Their prompts begin with the same text, which is
        evaluated only once in a slot.

        Args:
            slot: the slot of the embedded engine, or None for any slot.
            known: the votes that are known already, by persona; they are not requested again.
            on_vote: called with each requested vote.

        Raises:
            InvalidReply: the votes are computed from token probabilities, and every answer has the
                probability 0 in every vote.
        """
        found = dict(known or {})
        for persona in self.panel.personas:
            if persona.name not in found:
                found[persona.name] = self.vote(item, persona, slot)
                traces.evaluated(persona.name, found[persona.name].score)
                on_vote(found[persona.name])
        votes = tuple(found[name] for name in self.panel.names)
        if self.form.kind == "logprobs" and not any(any(vote.answers.values()) for vote in votes):
            raise InvalidReply(
                "the judge returned no probability of an answer, for any of the personas",
                hint="Check that the server returns token probabilities (logprobs), or select "
                "another judge with --model.",
            )
        return votes

    def vote(self, item: Item, persona: Persona, slot: int | None = None) -> Vote:
        """Request the vote of one persona on an annotation, and return it.

        Args:
            slot: the slot of the embedded engine, or None for any slot.
        """
        messages = self.panel.question(item.paper, item.moves, self.framework, persona)
        reply = request_vote(self.model, messages, self.panel, self.form, slot)
        found = answers_of(reply, self.panel, self.form)
        mass = math.fsum(found.values())
        # The mean of the distribution is more accurate than the most likely answer (Wang et al.
        # 2025, arXiv 2503.03064).
        weighted = math.fsum(self.panel.answers[answer] * p for answer, p in found.items())
        return Vote(
            persona.name,
            round(weighted / mass, 6) if mass >= FEWEST_MASS else None,
            round(mass, 6) if self.form.kind == "logprobs" else None,
            {answer: round(p, 6) for answer, p in found.items()},
            reply.prompt_tokens,
            reply.cached_tokens,
            round(reply.seconds, 3),
        )

    def explain(self, item: Item, persona: Persona) -> str:
        """Request a persona's reason for not passing an annotation, and return it as one line.

        The reason is for people; no decision depends on it.
        """
        messages = self.panel.question(item.paper, item.moves, self.framework, persona, why=True)
        request = self.model.request(
            messages=messages, max_tokens=EXPLANATION_TOKENS, temperature=0.0
        )
        self.model.check_fits(request)
        return " ".join(self.model.generate(request).text.split())


@dataclass(frozen=True, slots=True)
class Ballot:
    """All votes on one annotation, in the order of the personas of the panel.

    Attributes:
        id: the id of the ballot's row in the corpus.
        explanations: the reasons that personas gave for their votes, by the name of the persona.
    """

    id: int
    votes: tuple[Vote, ...]
    explanations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Criteria:
    """The criteria for keeping an annotation: thresholds, and number of votes.

    Attributes:
        thresholds: the minimum score of a vote that passes, for each persona.
        min_votes: minimum number of votes that must pass.
        calibrated: facts about the calibration of the thresholds, with the keys "input",
            "reject_rate", "achieved", "annotations" and "why", and with "created_at" if an earlier
            run calibrated them; None for the default thresholds of the panel.
    """

    thresholds: tuple[float, ...]
    min_votes: int
    calibrated: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision about an annotation or a probe, with its reasons.

    Attributes:
        reasons: empty unless the annotation is rejected or undecided. The codes of the gates'
            findings or, without findings, the names of the personas whose vote is a fail; if the
            annotation is undecided, `INVALID` precedes these names.
        ballot: the votes, or None if there are no votes.
        passes: the result of each persona's vote: True for a pass, False for a fail, None for an
            invalid vote; empty without a ballot.
        thresholds: the threshold of each persona; empty without a ballot.
        error: the class and the message of the error that prevented votes, or "".
    """

    item: Item
    decision: Decision
    reasons: tuple[str, ...] = ()
    ballot: Ballot | None = None
    passes: tuple[bool | None, ...] = ()
    thresholds: tuple[float, ...] = ()
    error: str = ""

    @property
    def votes(self) -> int:
        """The number of personas that pass the annotation."""
        return self.passes.count(True)

    @property
    def scores(self) -> tuple[float | None, ...]:
        """The score of each vote, None for an invalid vote; empty without a ballot."""
        return tuple(vote.score for vote in self.ballot.votes) if self.ballot else ()

    @property
    def mean(self) -> float | None:
        """The mean of the valid scores; None without a valid score."""
        valid = [score for score in self.scores if score is not None]
        return round(fmean(valid), 4) if valid else None

    @property
    def details(self) -> tuple[str, ...]:
        """The reasons why the annotation is not kept, in words; empty if kept or pending."""
        if found := self.item.findings:
            return tuple(f"{one.move}: {one.detail}" if one.move else one.detail for one in found)
        if self.error:
            return (self.error,)
        return () if self.decision == "kept" else tuple(self._shortfalls())

    def _shortfalls(self) -> Iterator[str]:
        """Yield a clause with score and threshold for each persona whose vote did not pass."""
        for vote, passed, threshold in self.cast:
            if passed is None:
                yield f"{vote.persona}: no valid vote"
            elif not passed:
                # Six digits distinguish a score from a threshold that is only slightly higher.
                yield f"{vote.persona}: {vote.score:.6g}, passes from {threshold:.6g}"

    @property
    def cast(self) -> Iterator[tuple[Vote, bool | None, float]]:
        """(vote, result as in `passes`, threshold) for each vote; empty without a ballot."""
        votes = self.ballot.votes if self.ballot else ()
        return zip(votes, self.passes, self.thresholds, strict=True)


def decide(
    item: Item, found: Ballot | str | None, criteria: Criteria, *, panel_votes: bool = True
) -> Verdict:
    """Return the verdict on an annotation.

    An annotation with a finding of a gate is rejected. Any other annotation is kept if at least
    `criteria.min_votes` votes pass. If fewer votes pass, the annotation is undecided if its invalid
    votes could change the decision, and rejected otherwise.

    Args:
        found: the ballot, the error that prevented the votes, or None if there are no votes yet.
            Without a finding, an error gives the decision "failed", and None gives "pending".
        panel_votes: False if the judge cannot answer. None then gives the decision "kept".
    """
    codes = tuple(dict.fromkeys(finding.code for finding in item.findings))
    if not isinstance(found, Ballot):
        without: Decision = "failed" if found else "pending" if panel_votes else "kept"
        return Verdict(item, "rejected" if codes else without, codes, error=found or "")
    passes = panel_statistics.passes([vote.score for vote in found.votes], criteria.thresholds)
    kept = panel_statistics.is_kept(passes, criteria.min_votes)
    against = tuple(v.persona for v, p in zip(found.votes, passes, strict=True) if p is False)
    decision: Decision = "rejected"
    reasons = codes or against
    if not codes and kept:
        decision, reasons = "kept", ()
    elif not codes and kept is None:
        decision, reasons = "undecided", (INVALID, *against)
    return Verdict(item, decision, reasons, found, passes, criteria.thresholds)
