"""Options and results of the commands that look papers up."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from harness.api.skill import SkillOptions
from skills.corpus.sources.services import CORPUS, NAMES, named
from skills.reporting.outputs import Output


def _sources(text: str | None) -> str | None:
    return None if text is None else ",".join(named(text, more=(CORPUS,)))


Sources = Annotated[str | None, AfterValidator(_sources)]
"""Names of sources with commas."""


class SourceOptions(SkillOptions):
    source: Sources = Field(
        None, description=f"where ids are looked up, with commas: {','.join(NAMES)}"
    )


class BudgetOptions(SkillOptions):
    dry_run: bool = Field(False, description="show what it takes, and request nothing")


class FetchOptions(BudgetOptions):
    max: int = Field(50, ge=1, le=2000, description="maximum number of papers")
    year: str | None = Field(None, description="papers of 2024, 2023..2025, 2024.. or ..2022")


class CompleteOptions(SourceOptions, BudgetOptions):
    requests: int | None = Field(
        None,
        ge=1,
        description="maximum number of requests to each source; repeat the line to continue",
    )
    by_title: bool = Field(
        False, description="also papers without any identifier, one in a request"
    )
    refresh: bool = Field(False, description="repeat what was looked up in the last 30 days")


class Budget(Output):
    """The largest cost of a lookup, by source."""

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
    """The facts that were filled."""

    filled: dict[str, int] = Field({}, description="papers by what was added: doi, venue, ...")
    added: int = Field(0, description="papers whose abstract was found")
    other_titles: list[str] = Field([], description="unchanged: a source has another title")
    retracted: list[str] = []
    awaited: int = Field(0, description="papers that are still without an abstract")
    sources: dict[str, dict[str, Any]] = Field({}, description="the answers of each")
