"""Define the results of /corpus, for `--json`, the schemas of MCP, and the views."""

from __future__ import annotations

from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from pydantic.json_schema import SkipJsonSchema

from skills.corpus.records import AnnotationOutput
from skills.nanda.confidence import uncertainty
from skills.reporting.outputs import Output, RefusedRow, Rounded, Share


class OfPaper(Output):
    """A result about one paper, whose first field is the id under its own name."""

    id_field: SkipJsonSchema[str] = Field("id", exclude=True)
    id: SkipJsonSchema[str] = Field("", exclude=True)

    @model_serializer(mode="wrap")
    def _with_id(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        own: dict[str, Any] = {self.id_field: self.id}
        rest: dict[str, Any] = dump(self)
        return own | rest | own  # the id may also be named `paper_id`


class Added(Output):
    """The result of `add`: numbers of rows of a file."""

    file: str = ""
    ids: int = Field(0, description="number of ids in a list of ids")
    missing: dict[str, str] = Field(
        {}, description="the reason why an id of the list has no paper, by id"
    )
    papers: int = Field(0, description="new papers")
    annotations: int = Field(0, description="new annotations")
    known_papers: int = Field(0, description="papers already present, which are unchanged")
    known_annotations: int = 0
    without_moves: int = Field(0, description="rows with a paper, but without an annotation")
    failures: int = Field(0, description="rows of a paper whose annotation failed")
    empty: int = Field(0, description="rows without an abstract")
    repeated: int = Field(0, description="rows that repeat the id and abstract of an earlier row")
    renamed: int = Field(
        0, description="annotations counted as imported: their provenance does not match them"
    )
    merged: int = Field(0, description="papers that are the same as a paper with another id")
    awaited: int = Field(0, description="rows without an abstract, kept for /corpus complete")
    lacks: list[str] = Field([], description="moves without a column")
    refused: list[RefusedRow] = []


class Indexed(Output):
    """The parts in the index of a folder."""

    folder: str = ""
    parts: int = 0
    rows: int = 0
    added: int = Field(0, description="parts that were read now")
    refused: dict[str, str] = Field(
        {}, description="the reason why a part cannot be read, by its name"
    )


class Hit(OfPaper):
    """A matching move, with the id of its paper."""

    title: str
    year: int | None
    move: str
    text: str
    snippet: str = Field(description="with the words found between two **")
    score: float = Field(description="higher is better; only comparable within a search")
    paper_id: int | str
    annotation_id: int
    found_by: str = Field("words", description='"words", "meaning" or "both"')
    confidence: float | None = Field(
        None, description="confidence of the move; below 0.5 it is uncertain"
    )

    @property
    def mark(self) -> str:
        """The mark of an uncertain move, or ""."""
        record = {"confidence": {self.move: self.confidence}, "anchors": {self.move: {}}}
        return uncertainty(record, self.move)


class Hits(Output):
    hits: list[Hit] = Field(description="best first")
    without_year: int = Field(
        0, description="matching papers that are left out, since their year is unknown"
    )


class SimilarPaper(OfPaper):
    """A paper that is similar to another paper, with its id."""

    title: str
    year: int | None
    near: dict[str, float] = Field(
        description="similarity of each move to the same move of the other paper, at most 1; "
        "nearest first"
    )
    text: str = Field(description="text of the nearest move")
    paper_id: int | str
    annotation_id: int


class SimilarPapers(Output):
    papers: list[SimilarPaper] = Field(description="nearest first")


class Passage(OfPaper):
    """A passage that contains the wording, with the id of its paper."""

    title: str
    year: int | None
    where: str = Field(description='"abstract", or the name of a move')
    sentences: list[int] = Field(description="numbers of the sentences of the abstract")
    start: int = Field(description="position of the wording in the abstract or in the move")
    end: int
    passage: str = Field(description="text with the wording between two **")
    paper_id: int | str


class Passages(Output):
    passages: list[Passage]


class FoundPapers(Output):
    found: int
    papers: list[AnnotationOutput] = Field(description="the first annotations")


class MoveStats(Output):
    """The statistics of a move."""

    stated: Share = Field(description="share of the annotations that state it")
    support: Rounded | None = Field(description="mean support of the annotations that state it")
    unsupported_numbers: Share = Field(description="share with a number that the abstract lacks")
    unsupported_names: Share = Field(description="share with a name that the abstract lacks")


class Group(Output):
    """The annotations of a category or a year."""

    name: str
    papers: int
    stated: dict[str, Share] = Field(description="share of annotations that state a move, by move")


class Stats(Output):
    """The statistics of a corpus, or of the rows of one job."""

    framework: str
    papers: int = Field(description="all papers, annotated or not")
    annotations: int = Field(description="current annotations by this framework")
    models: dict[str, int] = Field(
        description="number of annotations by model, most frequent first"
    )
    moves: dict[str, MoveStats]
    categories: list[Group] = Field(description='by first category; then "other" and "unknown"')
    years: list[Group]
    failures: dict[str, int] = Field(description="number of failures by type of the error")


class Side(Output):
    """A row of papers in a pair."""

    row: int = Field(description="its number in the corpus")
    id: str
    title: str


class Pair(Output):
    """Two rows of the corpus that are the same paper, or preprint and published version."""

    paper: Side
    other: Side
    relation: str = Field(description="merged, linked or split")
    rule: str = Field(description="the identifier or the facts that agree")
    evidence: str = Field(description="the common value")


class Pairs(Output):
    pairs: list[Pair]


class LookedUp(Output):
    """The facts about a paper that sources stated."""

    venue: str = ""
    cited: int | None = Field(None, description="citations, if they were looked up")
    retracted: bool | None = None
    retraction: str = Field("", description="the DOI of the notice of retraction")
    looked_up: dict[str, str] = Field(
        {}, description="the day of the lookup, by source that knows the paper"
    )


class StoredFailure(Output):
    """The last failure of a paper without an annotation."""

    error_type: str
    reason: str
    retryable: bool
    raw_reply: str


class PaperDetails(OfPaper, LookedUp):
    """A paper with its annotations and its id."""

    row: int = Field(description="its number in the corpus")
    title: str
    authors: str
    published: str
    categories: str
    abstract: str
    annotations: list[dict[str, Any]] = Field(
        description="the current annotation of each framework"
    )
    failure: StoredFailure | None
    identifiers: dict[str, str] = Field({}, description="doi, arxiv, pmid, openalex")
    duplicates: list[Pair] = []


class PapersDetails(Output):
    papers: list[PaperDetails]


class WrongKey(Output):
    """An annotation that does not match its key."""

    annotation: int
    paper: str
    reasons: list[str]


class Verified(Output):
    checked: int
    wrong: list[WrongKey] = Field(description="annotations that do not match their keys")


class SetAside(Output):
    database: str
    kept: str = Field(description="where the damaged database is now")
    damage: str


class ZoteroNote(Output):
    """The note of an item of Zotero."""

    action: str = Field(
        description="create, update, delete, unchanged, edited, removed, missing or too_long"
    )
    library: str
    item: str
    note: str = Field(description="the key of the note or highlight")
    title: str
    tags: list[str]


class ZoteroHighlight(ZoteroNote):
    """A highlight in the PDF file of an item of Zotero."""

    attachment: str
    move: str
    page: str
    text: str


class Pushed(Output):
    """The notes and highlights that were written to Zotero, or would be written."""

    dry_run: bool
    counts: dict[str, int] = Field(description="number of notes by action")
    elsewhere: int = Field(description="annotations of papers that are not from Zotero")
    failed: dict[str, str] = Field(description="the reason why a note was not written, by its key")
    notes: list[ZoteroNote]
    highlights: list[ZoteroHighlight]


class Undone(Output):
    """The notes and highlights that were deleted in Zotero, or would be deleted."""

    dry_run: bool
    deleted: list[str]
    kept: dict[str, str] = Field(description="the reason why a note was not deleted, by its key")


class Pulled(Output):
    """The highlights and comments of people that were read from Zotero."""

    papers: int = Field(description="number of papers with highlights or comments")
    highlights: int
    comments: int
    moves: int = Field(description="number of highlights whose tag is a move")
    reviewed: int = Field(description="number of papers with the tag nanda:reviewed")


class MapCluster(Output):
    """A cluster of papers with similar texts of a move."""

    number: int
    label: str
    terms: list[str]
    years: dict[str, int]
    papers: list[str]


class MappedMove(Output):
    """The clusters of the papers of a map by one move."""

    move: str
    stated: int
    clusters: list[MapCluster]
    in_no_cluster: list[str]
    not_stated: list[str]


class MapCell(Output):
    """The papers in a cluster of the first move and a cluster of the second move."""

    row: int
    column: int
    count: int
    expected: float = Field(
        description="expected number of papers if the clusters were independent"
    )
    gap: bool
    papers: list[str]


class MapMatrix(Output):
    """The matrix of the clusters of two moves."""

    rows: str
    columns: str
    papers: int
    gaps_by_chance: float
    cells: list[MapCell]


class MapOutput(Output):
    """A map of papers, which are identified by their ids."""

    title: str
    papers: int
    moves: list[MappedMove]
    without_year: list[str]
    matrix: MapMatrix | None


class Saved(Output):
    """The annotations that were written to files."""

    papers: int
    corpus: str


class MapSaved(Saved):
    """The map that was written to files."""

    clusters: dict[str, int] = Field(description="number of clusters, by move")
    gaps: int | None


OUTPUTS: dict[str, type[Output]] = {
    "add": Added,
    "index": Indexed,
    "search": Hits,
    "similar": SimilarPapers,
    "quote": Passages,
    "filter": FoundPapers,
    "stats": Stats,
    "show": PapersDetails,
    "verify": Verified,
    "duplicates": Pairs,
    "split": Pairs,
    "set-aside": SetAside,
    "zotero-push": Pushed,
    "zotero-undo": Undone,
    "zotero-pull": Pulled,
    "map": MapOutput,
}
SUMMARIES: dict[str, type[Output]] = {
    **dict.fromkeys(("search", "filter", "export", "page", "highlight"), Saved),
    "map": MapSaved,
}


class Budget(Output):
    """The maximum cost of a lookup, by source."""

    budget: list[dict[str, Any]] = Field([], description="with --dry-run: papers, requests, ...")


class FetchedToFile(Budget):
    """The papers that sources have found, and that were saved."""

    query: str
    found: int
    errors: list[str] = Field(description="the errors of sources that failed")


class Fetched(FetchedToFile):
    """The papers that sources have found and that were added to the corpus."""

    new: int = Field(description="papers that the corpus did not have")
    known: int
    papers: list[dict[str, Any]]


class Completed(Budget):
    """The result of `complete`."""

    filled: dict[str, int] = Field(
        {}, description="number of papers by added fact: doi, venue, ..."
    )
    added: int = Field(0, description="papers whose abstract was found")
    other_titles: list[str] = Field(
        [], description="papers that were not changed, since a source has another title"
    )
    retracted: list[str] = []
    awaited: int = Field(0, description="papers that are still without an abstract")
    sources: dict[str, dict[str, Any]] = Field({}, description="the answers of each source")
