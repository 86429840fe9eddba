"""Annotate a paper in the form `anchored` with an engine that takes grammars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.models.backends.base import OnText, Reply, Request
from harness.models.served import ServedModel
from skills.annotate.quoting.best import best_line
from skills.annotate.quoting.decoder import Decoder
from skills.annotate.quoting.mixture import identity, mixture_of
from skills.annotate.selector import selector
from skills.corpus.options import Effort
from skills.nanda.forms.anchored import AnchoredForm
from skills.nanda.framework import CLOSE_TAG
from skills.nanda.paper import Paper
from skills.nanda.quoting.numbered import numbered

VERSION = 1
"""Increased whenever the decoder writes other annotations from the same probabilities."""


@dataclass(frozen=True, slots=True)
class Quoted:
    """An annotation as one reply, and the confidence of each move."""

    reply: Reply
    confidence: Mapping[str, float]


def decoding(effort: Effort) -> dict[str, Any]:
    """Return what determines an annotation besides the request and the model."""
    return {
        "version": VERSION,
        "effort": effort,
        "selector": selector.load().digest,
        "mixtures": identity(),
    }


def quote(
    form: AnchoredForm,
    paper: Paper,
    request: Request,
    model: ServedModel,
    effort: Effort = "fast",
    on_text: OnText | None = None,
) -> Quoted:
    """Generate an annotation move by move.

    Args:
        effort: "best" to choose each move among several candidates (`best`).

    Raises:
        UnusableReply: the engine wrote something else than a passage.
        Whatever `ServedModel.generate` raises.
    """
    sentences = numbered(paper.abstract)
    likely = selector.load().probabilities([one.text for one in sentences])
    decoder = Decoder(form, sentences, model, request, on_text)
    confidence = {}
    for move in form.framework.moves:
        mixture, found = mixture_of(move.name), decoder.probabilities(move.label)
        mixed = mixture.mixed(found, likely.get(move.name, found))
        number = mixture.choice(mixed)
        confidence[move.name] = round(mixed[number], 4)
        if not number:
            line = decoder.unstated(move.label)
        elif effort == "best":
            line = best_line(decoder, move.label, mixed)
        else:
            line = decoder.line(move.label, number)
        decoder.write(line)
    return Quoted(_joined(decoder), confidence)


def _joined(decoder: Decoder) -> Reply:
    """Return the steps of an annotation as one reply, with the sums of their tokens and times."""
    steps = decoder.replies
    return Reply(
        decoder.answer + CLOSE_TAG,
        "stop",
        sum(step.prompt_tokens for step in steps),
        sum(step.completion_tokens for step in steps),
        sum(step.seconds for step in steps),
        sum(step.cached_tokens for step in steps),
    )
