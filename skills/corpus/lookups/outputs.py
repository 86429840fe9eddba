"""Results of /corpus fetch and /corpus complete, as models for programs (`Skill.output`)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from skills.reporting.outputs import Output


class Budget(Output):
    """What a lookup takes at most, by source."""

    budget: list[dict[str, Any]] = Field([], description="with --dry-run: papers, requests, ...")


class FetchedToFile(Budget):
    """The papers that sources have found, and that were saved."""

    query: str
    found: int
    errors: list[str] = Field(description="of sources that failed")


class Fetched(FetchedToFile):
    """The papers that sources have found, and that were added to the corpus."""

    new: int = Field(description="papers that the corpus did not have")
    known: int
    papers: list[dict[str, Any]]


class Completed(Budget):
    """What was filled."""

    filled: dict[str, int] = Field({}, description="papers by what was added: doi, venue, ...")
    added: int = Field(0, description="papers whose abstract was found")
    other_titles: list[str] = Field([], description="unchanged: a source has another title")
    retracted: list[str] = []
    awaited: int = Field(0, description="papers that are still without an abstract")
    sources: dict[str, dict[str, Any]] = Field({}, description="the answers of each")
