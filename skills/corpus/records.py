"""Define annotations, failures, stored records and content keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from skills.nanda.confidence import confidence_of, doubt_of
from skills.nanda.framework import Framework, sha256_of
from skills.nanda.paper import Paper
from skills.reporting.outputs import Output

if TYPE_CHECKING:
    from skills.nanda.anchors import Anchor


@dataclass(frozen=True, slots=True)
class Annotated:
    """A paper and its annotation.

    Attributes:
        record: the annotation in the stored form (see `record_of`).
    """

    paper: Paper
    record: Mapping[str, Any]


class AnnotationOutput(Output):
    """An annotation as JSON; further fields are the id of the paper and the text of each move."""

    title: str
    anchors: dict[str, Any] = Field(
        {},
        description="for each stated move, the numbers and offsets of its sentences in the "
        "abstract",
    )
    confidence: dict[str, float] = Field(
        {}, description="for each move, the estimated probability that the move is right"
    )
    uncertain: list[str] = Field(
        [], description="names of the stated moves with a confidence below 0.5"
    )
    suggestions: dict[str, Any] = Field(
        {},
        description="for moves that are not stated, a possible passage with a confidence below 0.3",
    )
    checks: dict[str, Any] = Field(
        description="results of the checks by name: support, and words such as numbers and names "
        "that the abstract lacks",
    )
    sections: dict[str, Any] = Field(
        {},
        description="for each move that a section of the PDF file states, the section and the "
        "passage",
    )
    provenance: dict[str, Any] = Field(
        description="the model that made the annotation, and its settings"
    )


@dataclass(frozen=True, slots=True)
class Failure:
    """A paper with a failed annotation.

    Attributes:
        error_type: the name of the error's class.
        reason: the text of the error: place, message and hint.
        retryable: True if a repetition of the same request may succeed.
        raw_reply: the last reply of the model, or "".
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
    sections: Mapping[str, Any] | None = None,
    suggestions: object = None,
) -> dict[str, Any]:
    """Return the stored form of an annotation, with checks of its moves against the abstract.

    The keys are the name of the id field, title, the moves in order, anchors, confidence,
    uncertain, suggestions, checks, sections and provenance.

    Args:
        paper: the paper.
        moves: the text of each move.
        framework: the framework of the annotation.
        provenance: how the annotation was made.
        anchors: the anchors of the stated moves; None to compute lexical anchors.
        confidence: the confidence of each move. If the mapping is None or empty, the keys
            confidence and uncertain are omitted.
        sections: the moves that sections of the paper state; None to omit the key.
        suggestions: possible passages for moves that are not stated, by move. If no passage is
            valid, the key is omitted.
    """
    from skills.nanda.anchors import lexical_anchors
    from skills.nanda.checks import check

    stated = framework.stated(moves)
    if anchors is None:
        anchors = lexical_anchors(paper.abstract, stated)
    unstated = [move for move in moves if move not in stated]
    return {
        paper.id_field: paper.id,
        "title": paper.title,
        **moves,
        "anchors": dict(anchors),
        **doubt_of(paper.abstract, unstated, confidence_of(confidence, moves), suggestions),
        "checks": check(paper.abstract, stated, anchors),
        **({} if sections is None else {"sections": dict(sections)}),
        "provenance": dict(provenance),
    }


VERSION = "n1"
IMPORT = "import"
"""The value of "requested", "resolved" and "backend" in the provenance of an import.

The value of "where" is the name of the imported file.
"""


def key_of(provenance: Mapping[str, Any]) -> str:
    """Return the content key of an annotation, which is computed from its provenance.

    The key of an annotation does not depend on the machine.

        key = "n1:" + sha256 of the canonical JSON of these values:
            input       sha256 of the abstract on one line
            prompt      sha256 of the canonical JSON of the first request's messages, with
                        the contents that `Form.hashed` returns
            schema      sha256 of the constraint of the reply (the JSON Schema, the grammar, or the
                        settings for selecting passages), or null without a constraint
            form        the format of the reply: "json", "tagged" or "quotes"
            framework   sha256 of the framework's content
            model       sha256 of the weights and the adapter, or of the reader, by role; if a
                        server states no digests, the backend and the server's name of the model
            sampling    temperature, seed, max_tokens
            sections    only if sections of the paper were read: by kind of section, sha256 of its
                        text on one line
            moves       only for an imported annotation, whose model is unknown: sha256 of the
                        canonical JSON of its moves

    Canonical JSON has sorted keys and no blanks, in UTF-8. Slots, threads and addresses of servers
    do not change the output, and are not part of the key. The version "n1" is increased when a
    change of the code changes the output for the same input.
    """
    imported = provenance["backend"] == IMPORT
    served = IMPORT if imported else f"{provenance['backend']}/{provenance['where']}"
    parts = {
        "input": provenance["input"]["sha256"],
        "prompt": provenance["prompt_sha256"],
        "schema": provenance["schema_sha256"],
        "form": provenance["form"],
        "framework": provenance["framework"]["digest"],
        "model": dict(provenance["digests"]) or served,
        "sampling": provenance["sampling"],
    }
    if sections := provenance["input"].get("sections"):
        parts["sections"] = sections
    if imported:
        parts["moves"] = provenance["moves_sha256"]
    return f"{VERSION}:{sha256_of(parts)}"
