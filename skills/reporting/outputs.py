"""Parts of the results of several skills, as models for programs (`Skill.output`)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Output(BaseModel):
    """A result: it may have more fields than the model states."""

    model_config = ConfigDict(extra="allow", defer_build=True)


class ShareOutput(Output):
    """A share of a sample, with the 95% interval of the share of the population."""

    count: int
    of: int
    share: float | None
    low: float
    high: float


class RefusedRow(Output):
    """A row of the input that cannot be used."""

    where: str = Field(description="file and line")
    reason: str
