"""Define annotated papers, failures, papers as sources describe them, and stored records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from skills.corpus.identity.identifiers import KINDS
from skills.nanda.confidence import confidence_of, doubt_of
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper, own_id
from skills.reporting.outputs import Output

if TYPE_CHECKING:
    from skills.nanda.anchors import Anchor


SOURCE_NAMES = {"doi": "doi", "pmid": "pmid", "arxiv": "arxiv_id", "openalex": "openalex_id"}
"""The key in `Paper.source` of each kind of identifier."""


@dataclass(frozen=True, slots=True)
class Annotated:
    """A paper and its annotation.

    Attributes:
        record: the annotation in the stored form (see `record_of`).
    """

    paper: Paper
    record: Mapping[str, Any]


class AnnotationOutput(Output):
    """An annotation of a paper as JSON, with the id and a text for each move of the framework."""

    title: str
    anchors: dict[str, Any] = Field(
        {}, description="for each move, the sentences of the abstract that state it"
    )
    confidence: dict[str, float] = Field(
        {}, description="for each move, the probability that it is right"
    )
    uncertain: list[str] = Field([], description="stated moves with a confidence below 0.5")
    suggestions: dict[str, Any] = Field(
        {},
        description="for each move that is not stated, a possible passage with a confidence below "
        "0.3",
    )
    checks: dict[str, Any] = Field(
        description="support, and numbers and names that the abstract lacks"
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
        error_type: the name of the exception class in `harness.errors`.
        reason: the message of the error, with its hint.
        retryable: True if a repetition of the same request may succeed.
        raw_reply: the last reply of the model, or "".
    """

    paper: Paper
    error_type: str
    reason: str
    retryable: bool
    raw_reply: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """The facts about a paper that a source states; "" and None stand for unknown facts.

    Attributes:
        source: the name of the source, such as "openalex".
        identifiers: the identifiers by kind (see skills/corpus/identity/identifiers.py).
        published: an ISO 8601 date, or its beginning: a year and month, or a year.
        cited: the number of citations.
        notice: the DOI of the retraction notice.
    """

    source: str
    identifiers: Mapping[str, str]
    title: str = ""
    abstract: str = ""
    authors: str = ""
    published: str = ""
    venue: str = ""
    categories: str = ""
    cited: int | None = None
    retracted: bool | None = None
    notice: str = ""

    @property
    def stated(self) -> dict[str, str]:
        """The identifiers and the venue, under the keys of `Paper.source`."""
        found = {SOURCE_NAMES[kind]: value for kind, value in self.identifiers.items()}
        return {**found, **({"venue": self.venue} if self.venue else {})}

    @property
    def paper(self) -> Paper:
        """The paper; its id is the arXiv id, or else the DOI, PMID or OpenAlex id."""
        known = self.identifiers
        kind = next((kind for kind in ("arxiv", *KINDS) if kind in known), "")
        own = known[kind] if kind else own_id(self.abstract)
        return Paper(
            "arxiv_id" if kind == "arxiv" else "paper_id" if kind else "id",
            f"pmid:{own}" if kind == "pmid" else own,
            self.title,
            self.abstract,
            {"kind": self.source, **self.stated},
            authors=self.authors,
            published=self.published,
            categories=self.categories,
        )


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
        confidence: the probability that the anchor of each move is right. If it is empty, the keys
            confidence and uncertain are omitted.
        sections: the moves that sections of the paper state; None if no sections were read.
        suggestions: possible passages for moves that are not stated, by move.
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
