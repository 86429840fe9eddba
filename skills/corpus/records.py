"""Define annotated papers and failures, as the database returns them and files contain them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skills.nanda.confidence import confidence_of
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper

if TYPE_CHECKING:
    from skills.nanda.anchors.lexical import Anchor


@dataclass(frozen=True, slots=True)
class Annotated:
    """A paper and its annotation.

    Attributes:
        record: the stored form (`record_of`).
    """

    paper: Paper
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """A paper whose annotation failed.

    Attributes:
        error_type: the name of the error's class in `harness.errors`.
        reason: what happened and what to do.
        retryable: True if the same request may succeed later.
        raw_reply: the model's last reply, "" if there was none.
    """

    paper: Paper
    error_type: str
    reason: str
    retryable: bool
    raw_reply: str = ""


def record_of(
    paper: Paper,
    moves: Mapping[str, str],
    framework: Framework,
    provenance: Mapping[str, Any],
    anchors: Mapping[str, Anchor] | None = None,
    confidence: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return the stored form of an annotation, with checks of its moves against the abstract.

    It has the id under `paper.id_field`, title, the moves in order, anchors, confidence,
    checks (`checks.check`) and provenance.

    Args:
        anchors: where each stated move comes from; by default the lexical ones.
        confidence: of moves, the estimated probability that the anchor is right; stored if any.
    """
    from skills.nanda.anchors.lexical import lexical_anchors
    from skills.nanda.checks import check

    stated = framework.stated(moves)
    if anchors is None:
        anchors = lexical_anchors(paper.abstract, stated)
    return {
        paper.id_field: paper.id,
        "title": paper.title,
        **moves,
        "anchors": dict(anchors),
        **({"confidence": confidence_of(confidence, moves)} if confidence else {}),
        "checks": check(paper.abstract, stated, anchors),
        "provenance": dict(provenance),
    }
