"""Results of /corpus, and the annotations in them, as models for programs (`Skill.output`)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from skills.reporting.outputs import Output, RefusedRow, ShareOutput


class AnnotationOutput(Output):
    """The annotation of one paper: also its id, and one text for each move of the framework."""

    title: str
    anchors: dict[str, Any] = Field({}, description="by move, the sentences that it comes from")
    checks: dict[str, Any] = Field(description="numbers and names that the abstract lacks, support")
    provenance: dict[str, Any] = Field(description="the model that made it, and how")


class Added(Output):
    """What `add` has imported, in rows."""

    file: str
    papers: int
    annotations: int
    known_papers: int
    known_annotations: int
    without_moves: int = Field(description="rows with a paper alone")
    empty: int = Field(description="rows without an abstract")
    repeated: int = Field(description="rows with the id and abstract of an earlier one")
    lacks: list[str] = Field(description="moves without a column")
    refused: list[RefusedRow]


class HitOutput(Output):
    """A matching move: also the id of its paper."""

    title: str
    year: int | None
    move: str
    text: str
    snippet: str = Field(description="with the words found between two **")
    score: float
    paper_id: int | str


class Hits(Output):
    hits: list[HitOutput] = Field(description="best first")


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
    stated: ShareOutput
    support: float | None
    unsupported_numbers: ShareOutput
    unsupported_names: ShareOutput


class GroupFigures(Output):
    name: str
    papers: int
    stated: dict[str, ShareOutput] = Field(description="by move")


class Statistics(Output):
    framework: str
    papers: int
    annotations: int
    models: dict[str, int]
    moves: dict[str, MoveFigures]
    categories: list[GroupFigures]
    years: list[GroupFigures]
    failures: dict[str, int] = Field(description="by the type of the error")


class StoredPaper(Output):
    """A paper: also its id in its source."""

    row: int = Field(description="its number in the corpus")
    title: str
    abstract: str
    annotations: list[AnnotationOutput]
    failure: dict[str, Any] | None


class StoredPapers(Output):
    papers: list[StoredPaper]


class Verified(Output):
    checked: int
    wrong: list[dict[str, Any]] = Field(description="annotations that do not match their keys")


class SetAside(Output):
    database: str
    kept: str = Field(description="where the damaged database is now")
    damage: str


class Saved(Output):
    """What was written to files."""

    papers: int
    corpus: str


OUTPUTS: dict[str, type[Output]] = {
    "add": Added,
    "search": Hits,
    "quote": Passages,
    "filter": FoundPapers,
    "stats": Statistics,
    "show": StoredPapers,
    "verify": Verified,
    "set-aside": SetAside,
}
SUMMARIES = dict.fromkeys(("search", "filter", "export", "page"), Saved)
