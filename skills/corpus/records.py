"""Define annotated papers, failures, and papers as sources state them."""

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
"""The names of identifiers in `Paper.source`, by kind."""


@dataclass(frozen=True, slots=True)
class Annotated:
    """A paper and its annotation.

    Attributes:
        record: the annotation in its stored form (`record_of`).
    """

    paper: Paper
    record: Mapping[str, Any]


class AnnotationOutput(Output):
    """The annotation of a paper, with its id and a text for each move of the framework."""

    title: str
    anchors: dict[str, Any] = Field({}, description="the sentences that a move comes from, by move")
    confidence: dict[str, float] = Field(
        {}, description="the probability that a move is right, by move"
    )
    uncertain: list[str] = Field([], description="stated moves with a confidence below 0.5")
    suggestions: dict[str, Any] = Field(
        {}, description="for a move that is not stated, a passage with a confidence below 0.3"
    )
    checks: dict[str, Any] = Field(description="numbers and names that the abstract lacks, support")
    sections: dict[str, Any] = Field(
        {}, description="moves that a section of the PDF states; the key is the name of the move"
    )
    provenance: dict[str, Any] = Field(
        description="the model that made the annotation, and its settings"
    )


@dataclass(frozen=True, slots=True)
class Failure:
    """A paper whose annotation failed.

    Attributes:
        error_type: the name of the error's class in `harness.errors`.
        reason: the error in words, with a hint.
        retryable: True if the same request may succeed later.
        raw_reply: the last reply of the model, or "".
    """

    paper: Paper
    error_type: str
    reason: str
    retryable: bool
    raw_reply: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A paper as described by a source; "" and None stand for unknown facts.

    Attributes:
        source: the name of the source, such as "openalex".
        identifiers: the identifiers by kind (skills/corpus/identity/identifiers.py).
        published: an ISO 8601 date or its beginning.
        cited: number of citations that the source knows.
        notice: the DOI of the notice that retracts it.
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
        """The facts for `Paper.source`."""
        found = {SOURCE_NAMES[kind]: value for kind, value in self.identifiers.items()}
        return {**found, **({"venue": self.venue} if self.venue else {})}

    @property
    def paper(self) -> Paper:
        """The paper, with its arXiv id, or else its DOI, PMID or OpenAlex id."""
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

    The stored form contains the id under `paper.id_field`, title, the moves in order, anchors,
    confidence, uncertain (the names of `uncertain_moves`), suggestions, checks (`checks.check`),
    sections and provenance.

    Args:
        anchors: the anchors of the stated moves; by default lexical anchors.
        confidence: the estimated probability that the anchor of a move is right, by move; stored
            with uncertain if there is any.
        sections: the moves that sections state (`skills.nanda.confidence`), if they were read.
        suggestions: the suggestions for moves that are not stated (`read_suggestions`); stored if
            there are any.
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
