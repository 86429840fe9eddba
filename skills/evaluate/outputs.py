"""The result of /evaluate as a model for programs (`Skill.output`)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from skills.reporting.outputs import Output, RefusedRow

Figures = dict[str, dict[str, Any]]
"""By metric and move: the estimate with its interval."""


class Evaluated(Output):
    """A model or a baseline."""

    name: str
    kind: str
    metrics: Figures


class Difference(Output):
    first: str
    other: str
    paired: bool = Field(description="whether paper by paper")
    metrics: Figures


class Evaluation(Output):
    input: str
    against: str
    papers: int
    framework: dict[str, Any]
    metrics: dict[str, str] = Field(description="what each metric means")
    annotators: list[Evaluated]
    differences: list[Difference] = Field(description="of the first annotator to each other one")
    verdict: list[str] = Field(description="the result in words")
    refused: list[RefusedRow]
