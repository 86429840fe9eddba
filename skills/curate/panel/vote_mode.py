"""How a judge votes best, asked or reading: measured once, on a few annotations of the run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean

from harness.errors import InputError, SkillFailed
from harness.models.backends.base import Message
from harness.models.pool import ServedModel
from skills.curate.curator import Judge, ToldApart, Vote, VoteForm, answers_of, ask
from skills.curate.inputs.items import Item
from skills.curate.panel.panel import Panel, Persona
from skills.nanda.framework import Framework

FORM_ITEMS = 10
"""Annotations on which the beginnings of a reply are compared, each asked about by one persona in
turn; and those that each way of voting has to tell from another paper's."""
LEAD = 2
"""Pairs that one way has to tell apart more than the other to be the better one: a lead of one is
luck."""


def choose_form(
    panel: Panel, model: ServedModel, framework: Framework, items: Sequence[Item]
) -> VoteForm:
    """Measure how a model votes best.

    How it is asked: the first `FORM_ITEMS` of `items` are asked about, each by one persona and with
    every prefill; of equal ones the first of the panel's is taken. One that is too long, or at
    which the judge fails, is passed over: the job says so of its row. A server that tells no
    probabilities is asked for JSON.

    Whether it reads instead: where a persona can read and the server tells how likely its tokens
    are, the first such persona votes both ways on the same annotations, each beside its own
    abstract and beside another paper's, which is the least that a judge has to tell apart. It reads
    where that tells `LEAD` pairs more apart.

    Returns: a form without `mass` where all are too long.

    Raises: what `ServedModel.generate` raises; SkillFailed where it fails at all of them.
    """
    tried = items[:FORM_ITEMS]
    form = _how_to_ask(panel, model, framework, tried)
    reader = next((persona for persona in panel.personas if persona.reads), None)
    if reader is None or form.mass is None:
        return form
    found = _told_apart(Judge(panel, model, framework, form), reader, tried)
    return replace(form, reads=found is not None and found.lead >= LEAD, told_apart=found)


def is_settled(form: VoteForm) -> bool:
    """Whether it was measured on enough to be kept for this judge."""
    if form.kind == "logprobs" and form.mass is None:
        return False
    found = form.told_apart
    return found is None or found.pairs == FORM_ITEMS or abs(found.lead) >= LEAD


def _how_to_ask(
    panel: Panel, model: ServedModel, framework: Framework, tried: Sequence[Item]
) -> VoteForm:
    masses: dict[str, list[float]] = {prefill: [] for prefill in panel.prefills}
    failed: SkillFailed | None = None
    for index, item in enumerate(tried):
        persona = panel.personas[index % len(panel.personas)]
        messages = panel.ask(item.paper, item.moves, framework, persona)
        try:
            found = _masses(model, messages, panel)
        except InputError:
            continue
        except SkillFailed as error:
            failed = error
            continue
        if found is None:
            return VoteForm("json")
        for prefill, mass in found.items():
            masses[prefill].append(mass)
    measured = {prefill: round(fmean(found), 4) for prefill, found in masses.items() if found}
    if failed is not None and not measured:
        raise failed
    best = max(measured, key=lambda prefill: measured[prefill], default=panel.prefills[0])
    return VoteForm("logprobs", best, measured.get(best), measured)


def _masses(
    model: ServedModel, messages: tuple[Message, ...], panel: Panel
) -> dict[str, float] | None:
    """What lies on the answers after each prefill; None where no probabilities are told."""
    found, tells = {}, False
    for prefill in panel.prefills:
        form = VoteForm("logprobs", prefill)
        reply = ask(model, messages, panel, form, 0)
        tells = tells or bool(reply.logprobs)
        found[prefill] = math.fsum(answers_of(reply, panel, form).values())
    return found if tells else None


def _told_apart(judge: Judge, persona: Persona, tried: Sequence[Item]) -> ToldApart | None:
    """How many pairs each way tells apart, until one leads; None where the judge cannot read."""
    found, refused = ToldApart(0, 0, 0), False
    for own, other in _pairs(tried):
        if not judge.said(own, persona) or not judge.said(other, persona):
            continue
        try:
            read = [judge.read(item, persona, 0) for item in (own, other)]
            if not any(vote.read for vote in read):
                return None
            asked = [judge.asked(item, persona, 0) for item in (own, other)]
        except InputError:  # too long; the next may not be
            continue
        except SkillFailed:  # the server refuses such a schema, or has failed at this pair
            refused = True
            continue
        found = ToldApart(
            found.pairs + 1, found.asked + _is_told(*asked), found.read + _is_told(*read)
        )
        if abs(found.lead) >= LEAD:
            break
    return None if refused and not found.pairs else found


def _is_told(own: Vote, other: Vote) -> bool:
    return own.score is not None and other.score is not None and own.score > other.score


def _pairs(tried: Sequence[Item]) -> Iterator[tuple[Item, Item]]:
    """Each annotation, and the next one's moves beside its abstract."""
    for own, other in zip(tried, (*tried[1:], *tried[:1]), strict=True):
        if own.paper.sha256 != other.paper.sha256:
            yield own, replace(own, moves=other.moves)
