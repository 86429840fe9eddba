"""Pydantic models of results that several skills share (see `Skill.output`)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MORE = "--details shows all figures"
"""The last line of a report that shows only its verdict."""


class Output(BaseModel):
    """The base class of results; the JSON may contain more fields than the class defines."""

    model_config = ConfigDict(extra="allow", defer_build=True)


class RefusedRow(Output):
    """A row of a table that cannot be used."""

    where: str = Field(description="the file, and the line or row of the file")
    reason: str
