"""Results of /annotate as models for programs (`Skill.output_summary`)."""

from __future__ import annotations

from pydantic import Field, RootModel

from skills.reporting.outputs import Output, RefusedRow


class TableSummary(Output):
    """A job over a table, in rows."""

    input: str
    rows: int
    done: int = Field(description="with an annotation, also of earlier runs")
    made: int = Field(description="annotated by this run")
    failed: int
    errors: dict[str, int] = Field(description="failures by the type of the error")
    filtered: dict[str, int] = Field(description="rows left out, by reason")
    refused: list[RefusedRow]
    pending: int = Field(description="not done yet: the same call continues")
    model: str
    seconds: float
    database: str


class TopicSummary(Output):
    """A survey of the papers on a topic, in papers."""

    topic: str
    papers: int
    annotated_before: int
    done: int
    failed: int
    pending: int


class AnnotateSummary(RootModel[TableSummary | TopicSummary]):
    """A job over a table, or a survey of a topic."""
