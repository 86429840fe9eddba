"""How a judge is best asked: measured once, on a few annotations of the run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from harness.errors import InputError, SkillFailed
from harness.models.backends.base import Message
from harness.models.pool import ServedModel
from skills.curate.curator import VoteForm, answers_of, ask
from skills.curate.inputs.items import Item
from skills.curate.panel.panel import Panel
from skills.nanda.framework import Framework

FORM_ITEMS = 10
"""Annotations on which the beginnings of a reply are compared, each asked about by one persona in
turn."""


def choose_form(
    panel: Panel, model: ServedModel, framework: Framework, items: Sequence[Item]
) -> VoteForm:
    """Measure how a model is best asked.

    The first `FORM_ITEMS` of `items` are asked about, each by one persona and with every prefill;
    of equal ones the first of the panel's is taken. One that is too long, or at which the judge
    fails, is passed over: the job says so of its row. A server that returns no probabilities is
    asked for JSON.

    Returns: a form without `mass` where all are too long.

    Raises: what `ServedModel.generate` raises; SkillFailed where it fails at all of them.
    """
    masses: dict[str, list[float]] = {prefill: [] for prefill in panel.prefills}
    failed: SkillFailed | None = None
    for index, item in enumerate(items[:FORM_ITEMS]):
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


def is_settled(form: VoteForm) -> bool:
    """Return True if the form is to be kept for this judge: it was measured, and can answer."""
    return form.kind == "json" or (form.mass is not None and form.can_answer)


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
