"""Annotate a paper in the form `anchored` with an engine that takes grammars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.models.backends.base import Reply
from skills.annotate.anchored.best import best_line
from skills.annotate.anchored.decoder import Decoder
from skills.annotate.anchored.mixture import identity, mixture_of
from skills.annotate.selector import selector
from skills.corpus.options import Effort
from skills.nanda.framework import CLOSE_TAG, Framework

VERSION = 4
"""Increased whenever the decoder writes other annotations from the same probabilities."""


@dataclass(frozen=True, slots=True)
class Quoted:
    """An annotation as one reply, and the confidence of each move."""

    reply: Reply
    confidence: Mapping[str, float]


def decoding(framework: Framework, effort: Effort) -> dict[str, Any]:
    """Return what determines an annotation besides the request and the model."""
    fitted = selector.load() if selector.is_for(framework) else None
    return {
        "version": VERSION,
        "effort": effort,
        "selector": fitted.digest if fitted else None,
        "mixtures": identity(),
    }


def quote(decoder: Decoder, effort: Effort = "fast") -> Quoted:
    """Generate an annotation move by move.

    Args:
        effort: "best" to choose each move among several candidates (`best`).

    Raises:
        UnusableReply: a step gave no usable answer; `decoder.answer` is what precedes it.
        Whatever `ServedModel.generate` raises.
    """
    framework, likely, confidence = decoder.form.framework, dict[str, list[float]](), {}
    if selector.is_for(framework):
        likely = selector.probabilities(decoder.sentences)
    for move in framework.moves:
        mixture, found = mixture_of(move.name), decoder.probabilities(move.label)
        mixed = mixture.mixed(found, likely.get(move.name, found))
        number = mixture.choice(mixed)
        if not number:
            line = decoder.unstated(move.label)
        elif effort == "best":
            number, line = best_line(decoder, move.label, mixed)
        else:
            line = decoder.line(move.label, number)
        confidence[move.name] = round(mixed[number], 4)
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
