"""Results of /corpus, and the annotations in them, as models for programs (`Skill.output`)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from skills.corpus.lookups.lookup_results import Completed, Fetched, FetchedToFile
from skills.reporting.outputs import Output, RefusedRow, Share


class AnnotationOutput(Output):
    """The annotation of one paper: also its id, and one text for each move of the framework."""

    title: str
    anchors: dict[str, Any] = Field({}, description="by move, the sentences that it comes from")
    confidence: dict[str, float] = Field({}, description="by move, how probably it is right")
    uncertain: list[str] = Field([], description="stated moves with a confidence below 0.5")
    suggestions: dict[str, Any] = Field(
        {}, description="by move that is not stated, a passage with a confidence below 0.3"
    )
    checks: dict[str, Any] = Field(description="numbers and names that the abstract lacks, support")
    sections: dict[str, Any] = Field({}, description="by move, what a section of the PDF states")
    provenance: dict[str, Any] = Field(description="the model that made it, and how")


class Added(Output):
    """What `add` has imported, in rows."""

    file: str
    ids: int = Field(0, description="of a list of ids")
    missing: dict[str, str] = Field({}, description="why an id of it has no paper")
    papers: int
    annotations: int
    known_papers: int
    known_annotations: int
    without_moves: int = Field(description="rows with a paper alone")
    failures: int = Field(description="rows of a paper whose annotation failed")
    empty: int = Field(description="rows without an abstract")
    repeated: int = Field(description="rows with the id and abstract of an earlier one")
    merged: int = Field(description="papers that are the same as another one, of another id")
    awaited: int = Field(0, description="rows without an abstract, kept for /corpus complete")
    lacks: list[str] = Field(description="moves without a column")
    refused: list[RefusedRow]


class Indexed(Output):
    """What the index of a folder of parts has."""

    folder: str
    parts: int
    rows: int
    added: int = Field(description="parts that were read now")
    refused: dict[str, str] = Field(description="why a part cannot be read, by its name")


class HitOutput(Output):
    """A matching move: also the id of its paper."""

    title: str
    year: int | None
    move: str
    text: str
    snippet: str = Field(description="with the words found between two **")
    score: float
    found_by: str = Field("words", description='"words", "meaning" or "both"')
    confidence: float | None = Field(None, description="of the move; below 0.5 it is uncertain")
    paper_id: int | str


class Hits(Output):
    hits: list[HitOutput] = Field(description="best first")


class SimilarPaper(Output):
    """A paper near another one: also its id."""

    title: str
    year: int | None
    near: dict[str, float] = Field(description="by move, how similar it is, at most 1")
    text: str = Field(description="of the nearest move")
    paper_id: int | str
    annotation_id: int


class SimilarPapers(Output):
    papers: list[SimilarPaper] = Field(description="nearest first")


class PassageOutput(Output):
    """A passage with the wording: also the id of its paper."""

    title: str
    year: int | None
    where: str = Field(description='"abstract", or the name of a move')
    sentences: list[int]
    start: int
    end: int
    passage: str = Field(description="with the wording between two **")
    paper_id: int | str


class Passages(Output):
    passages: list[PassageOutput]


class FoundPapers(Output):
    found: int
    papers: list[AnnotationOutput] = Field(description="the first ones")


class MoveFigures(Output):
    stated: Share
    support: float | None
    unsupported_numbers: Share
    unsupported_names: Share


class GroupFigures(Output):
    name: str
    papers: int
    stated: dict[str, Share] = Field(description="by move")


class Statistics(Output):
    framework: str
    papers: int
    annotations: int
    models: dict[str, int]
    moves: dict[str, MoveFigures]
    categories: list[GroupFigures]
    years: list[GroupFigures]
    failures: dict[str, int] = Field(description="by the type of the error")


class SideOutput(Output):
    row: int = Field(description="its number in the corpus")
    id: str
    title: str


class PairOutput(Output):
    """Two rows of the corpus that are one paper, or preprint and published version."""

    paper: SideOutput
    other: SideOutput
    relation: str = Field(description="merged, linked or split")
    rule: str = Field(description="the identifier or the facts that agree")
    evidence: str = Field(description="the common value")


class Pairs(Output):
    pairs: list[PairOutput]


class StoredPaper(Output):
    """A paper: also its id in its source."""

    row: int = Field(description="its number in the corpus")
    title: str
    abstract: str
    annotations: list[AnnotationOutput]
    failure: dict[str, Any] | None
    identifiers: dict[str, str] = Field({}, description="doi, arxiv, pmid, openalex")
    duplicates: list[PairOutput] = []
    venue: str = ""
    cited: int | None = Field(None, description="citations, if they were looked up")
    retracted: bool | None = None
    retraction: str = Field("", description="the DOI of the notice")
    looked_up: dict[str, str] = Field({}, description="the day by source that knows it")


class StoredPapers(Output):
    papers: list[StoredPaper]


class Verified(Output):
    checked: int
    wrong: list[dict[str, Any]] = Field(description="annotations that do not match their keys")


class SetAside(Output):
    database: str
    kept: str = Field(description="where the damaged database is now")
    damage: str


class ZoteroNote(Output):
    """The note of one item of Zotero."""

    action: str = Field(description="create, update, unchanged, edited, removed or missing")
    library: str
    item: str
    note: str
    title: str
    tags: list[str]


class Pushed(Output):
    """What was written into Zotero, or would be."""

    dry_run: bool
    counts: dict[str, int] = Field(description="notes by action")
    elsewhere: int = Field(description="annotations of papers that are not from Zotero")
    failed: dict[str, str] = Field(description="why a note was not written, by its key")
    notes: list[ZoteroNote]


class Undone(Output):
    """Which notes were deleted in Zotero, or would be."""

    dry_run: bool
    deleted: list[str]
    kept: dict[str, str] = Field(description="why a note stays, by its key")


class MapOutput(Output):
    """A map of papers, which are named by their ids."""

    title: str
    papers: int
    moves: list[dict[str, Any]] = Field(
        description="by move: clusters with label, terms, papers and years; those in no cluster"
    )
    without_year: list[str]
    matrix: dict[str, Any] | None = Field(
        description="by pair of clusters: papers, their expected number, and if it is a gap"
    )


class MapSaved(Output):
    """What the map that was written to files has."""

    papers: int
    corpus: str
    clusters: dict[str, int] = Field(description="by move")
    gaps: int | None


class Saved(Output):
    """What was written to files."""

    papers: int
    corpus: str


OUTPUTS: dict[str, type[Output]] = {
    "add": Added,
    "fetch": Fetched,
    "complete": Completed,
    "index": Indexed,
    "search": Hits,
    "similar": SimilarPapers,
    "quote": Passages,
    "filter": FoundPapers,
    "stats": Statistics,
    "show": StoredPapers,
    "verify": Verified,
    "duplicates": Pairs,
    "split": Pairs,
    "set-aside": SetAside,
    "zotero-push": Pushed,
    "zotero-undo": Undone,
    "map": MapOutput,
}
SUMMARIES: dict[str, type[Output]] = {
    **dict.fromkeys(("search", "filter", "export", "page"), Saved),
    "map": MapSaved,
    "fetch": FetchedToFile,
}
