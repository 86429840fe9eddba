"""Define the results of /corpus, for the output of `--json`, the MCP schemas and the views."""

from __future__ import annotations

from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from pydantic.json_schema import SkipJsonSchema

from skills.corpus.records import AnnotationOutput
from skills.nanda.remarks import uncertainty
from skills.reporting.intervals import Rounded, Share
from skills.reporting.outputs import Output, RefusedRow


class OfPaper(Output):
    """The base class of results about one paper; the id is the first value of the JSON object.

    The key of the id is the value of `id_field`, such as "arxiv_id".
    """

    id_field: SkipJsonSchema[str] = Field("id", exclude=True)
    id: SkipJsonSchema[str] = Field("", exclude=True)

    @model_serializer(mode="wrap")
    def _with_id(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        own: dict[str, Any] = {self.id_field: self.id}
        rest: dict[str, Any] = dump(self)
        return own | rest | own  # if the id field is paper_id, the id replaces the row id in `rest`


class OfTitledPaper(OfPaper):
    """The base class of search results, with the title and the year of the paper."""

    title: str
    year: int | None


class Added(Output):
    """The result of `add`: how many rows of the file were added, known or refused."""

    file: str = ""
    ids: int = Field(0, description="number of ids, if the file is a list of ids")
    missing: dict[str, str] = Field({}, description="the reason for each id without a paper")
    papers: int = Field(0, description="number of new papers")
    annotations: int = Field(0, description="number of new annotations")
    known_papers: int = Field(0, description="number of papers that the corpus already contained")
    known_annotations: int = 0
    without_moves: int = Field(0, description="number of rows without an annotation")
    failures: int = Field(0, description="number of rows with a failed annotation")
    empty: int = Field(0, description="number of rows without an abstract")
    repeated: int = Field(
        0, description="number of rows that repeat the id and abstract of an earlier row"
    )
    renamed: int = Field(
        0, description="number of annotations whose incomplete or wrong provenance was replaced"
    )
    merged: int = Field(0, description="number of rows that were merged with an earlier paper")
    awaited: int = Field(
        0, description="number of papers without an abstract, kept for /corpus complete"
    )
    lacks: list[str] = Field([], description="moves without a column, if other moves have a column")
    refused: list[RefusedRow] = []


class Indexed(Output):
    """The result of `index`: the indexed parts of a folder.

    `parts` and `rows` are the totals of the index, without refused parts.
    """

    folder: str = ""
    parts: int = 0
    rows: int = 0
    added: int = Field(0, description="number of parts that this call added")
    refused: dict[str, str] = Field({}, description="for each part that cannot be read, the reason")


class Hit(OfTitledPaper):
    """A move that matches a search, and its paper."""

    move: str
    text: str
    snippet: str = Field(description="text of the move, with the matching words between ** and **")
    score: float = Field(
        description="relevance to the query, comparable only within one search; higher is better"
    )
    paper_id: int | str
    annotation_id: int
    found_by: str = Field(
        "words", description='how the hit was found: by "words", "meaning" or "both"'
    )
    confidence: float | None = Field(
        None, description="confidence of the move; below 0.5, the move is uncertain"
    )

    @property
    def mark(self) -> str:
        """The mark that is shown after the move if the move is uncertain, or ""."""
        record = {"confidence": {self.move: self.confidence}, "anchors": {self.move: {}}}
        return uncertainty(record, self.move)


class Hits(Output):
    hits: list[Hit] = Field(description="the matching moves, best match first")
    without_year: int = Field(
        0, description="number of matching papers that are left out, since their year is unknown"
    )


class SimilarPaper(OfTitledPaper):
    """A paper that is similar to the paper of the query."""

    near: dict[str, float] = Field(
        description="for each similar move, its cosine similarity to the same move of the given "
        "paper; most similar first",
    )
    text: str = Field(description="text of the most similar move")
    paper_id: int | str
    annotation_id: int


class SimilarPapers(Output):
    papers: list[SimilarPaper] = Field(description="the similar papers, most similar first")


class Passage(OfTitledPaper):
    """A passage that contains a wording, and its paper."""

    where: str = Field(
        description='the searched text that contains the wording: "abstract", or the name of a move'
    )
    sentences: list[int] = Field(
        description="numbers of the sentences of the abstract that contain the wording or belong "
        "to the move",
    )
    start: int = Field(description="offset of the wording in the abstract or move")
    end: int
    passage: str = Field(description="sentences or move with the wording between ** and **")
    paper_id: int | str


class Passages(Output):
    passages: list[Passage]


class FoundPapers(Output):
    found: int
    papers: list[AnnotationOutput] = Field(
        description="the found annotations; at most --limit (default: 50)"
    )


class MoveStats(Output):
    """The statistics of a move."""

    stated: Share = Field(description="share of the annotations that state the move")
    support: Rounded | None = Field(
        description="mean support in the annotations that state the move"
    )
    unsupported_numbers: Share = Field(
        description="share of the stated moves with a number that the abstract lacks"
    )
    unsupported_names: Share = Field(
        description="share of the stated moves with a name that the abstract lacks"
    )


class Group(Output):
    """The statistics of one category or year."""

    name: str
    papers: int
    stated: dict[str, Share] = Field(
        description="for each move, the share of annotations that state it"
    )


class Stats(Output):
    """The statistics of a corpus, or of the papers of one job."""

    framework: str
    papers: int = Field(description="number of papers, annotated or not")
    annotations: int = Field(description="number of current annotations by this framework")
    models: dict[str, int] = Field(
        description="number of annotations by model, most frequent first"
    )
    moves: dict[str, MoveStats]
    categories: list[Group] = Field(
        description='statistics of frequent primary categories, then of "other" and "unknown"'
    )
    years: list[Group]
    failures: dict[str, int] = Field(description="number of failures by type of error")


class Side(Output):
    """One of the two rows in a pair."""

    row: int = Field(description="the row number in the corpus")
    id: str
    title: str


class Pair(Output):
    """Two rows of the corpus that were merged, linked or split."""

    paper: Side
    other: Side
    relation: str = Field(description="how the rows are related: merged, linked or split")
    rule: str = Field(
        description="the kind of the identifier that both rows have, or the facts that agree, "
        'such as "title, year"',
    )
    evidence: str = Field(description="the common identifier or title")


class Pairs(Output):
    pairs: list[Pair]


class LookedUp(Output):
    """Facts about a paper that were looked up at sources."""

    venue: str = ""
    cited: int | None = Field(None, description="number of citations, if looked up")
    retracted: bool | None = None
    retraction: str = Field("", description='the DOI of the retraction notice; "" if unknown')
    looked_up: dict[str, str] = Field(
        {}, description="for each source that has the paper, the day of the lookup"
    )


class StoredFailure(Output, from_attributes=True):
    """The latest failure of a paper that has no annotation."""

    error_type: str
    reason: str
    retryable: bool
    raw_reply: str


class PaperDetails(OfPaper, LookedUp):
    """A paper with its annotations."""

    row: int = Field(description="the row number in the corpus")
    title: str
    authors: str
    published: str
    categories: str
    abstract: str
    annotations: list[dict[str, Any]] = Field(
        description="the current annotation of each framework"
    )
    failure: StoredFailure | None
    identifiers: dict[str, str] = Field(
        {}, description="the identifiers of the paper by kind: doi, arxiv, pmid, openalex"
    )
    duplicates: list[Pair] = []


class PapersDetails(Output):
    papers: list[PaperDetails]


class WrongKey(Output):
    """An annotation that does not match its content key."""

    annotation: int
    paper: str
    reasons: list[str]


class Verified(Output):
    checked: int
    wrong: list[WrongKey] = Field(description="annotations that do not match their content keys")


class SetAside(Output):
    database: str
    kept: str = Field(description="the new path of the damaged database")
    damage: str


class ZoteroNote(Output):
    """A note in Zotero, and the action on it."""

    action: str = Field(
        description="create, update or delete; or an action that writes nothing: unchanged, edited "
        "(by a person), removed (by a person), missing (no such item) or too_long (the passage)",
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
    elsewhere: int = Field(description="number of annotations whose papers do not come from Zotero")
    failed: dict[str, str] = Field(description="the reason for each unwritten note or highlight")
    notes: list[ZoteroNote]
    highlights: list[ZoteroHighlight]


class Undone(Output):
    """The notes and highlights that were deleted in Zotero, or would be deleted."""

    dry_run: bool
    deleted: list[str]
    kept: dict[str, str] = Field(description="the reason for each kept note or highlight")


class Pulled(Output):
    """The highlights and comments of people that were read from Zotero."""

    papers: int = Field(
        description="number of papers with highlights, comments or the tag FRAMEWORK:reviewed"
    )
    highlights: int
    comments: int
    moves: int = Field(description="number of highlights with the tag of a move")
    reviewed: int = Field(description="number of papers with the tag FRAMEWORK:reviewed")


class MapCluster(Output):
    """A cluster of papers with similar texts of one move."""

    number: int
    label: str
    terms: list[str]
    years: dict[str, int]
    papers: list[str]


class MappedMove(Output):
    """The clusters of papers by one move."""

    move: str
    stated: int
    clusters: list[MapCluster]
    in_no_cluster: list[str]
    not_stated: list[str]


class MapCell(Output):
    """The papers that are in a cluster of the rows and in a cluster of the columns."""

    row: int
    column: int
    count: int
    expected: float = Field(
        description="expected number of papers if the moves of rows and columns were independent"
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
    """A map of papers, in which each paper is represented by its id."""

    title: str
    papers: int
    moves: list[MappedMove]
    without_year: list[str]
    matrix: MapMatrix | None


class Saved(Output):
    """The number of annotations that were saved to files, and the path of the corpus."""

    papers: int
    corpus: str


class MapSaved(Saved):
    """The size of a map that was saved to files."""

    clusters: dict[str, int] = Field(description="number of clusters, by move")
    gaps: int | None


class Budget(Output):
    """The maximum cost of a lookup at each source."""

    budget: list[dict[str, Any]] = Field(
        [],
        description="for each source, the number of papers and requests, the price in dollars, "
        "and the pauses in seconds",
    )


class FetchedToFile(Budget):
    """The result of `fetch` if the found papers were saved to files."""

    query: str
    found: int
    errors: list[str] = Field(description="the error message of each source that failed")


class Fetched(FetchedToFile):
    """The result of `fetch` if the found papers were added to the corpus."""

    new: int = Field(description="number of papers that the corpus did not contain")
    known: int
    papers: list[dict[str, Any]]


class Completed(Budget):
    """The result of `complete`."""

    filled: dict[str, int] = Field(
        {},
        description="number of papers to which a fact was added, by name of the fact, such as doi",
    )
    added: int = Field(0, description="number of papers whose abstract was found")
    other_titles: list[str] = Field(
        [], description="papers that were not changed, since a source states another title"
    )
    retracted: list[str] = []
    awaited: int = Field(0, description="number of papers that still lack an abstract")
    sources: dict[str, dict[str, Any]] = Field(
        {}, description="for each source, the numbers of papers and requests, and the errors"
    )


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
    "fetch": Fetched,
    "complete": Completed,
}
SUMMARIES: dict[str, type[Output]] = {
    **dict.fromkeys(("search", "filter", "export", "page", "highlight"), Saved),
    "map": MapSaved,
    "fetch": FetchedToFile,
}
