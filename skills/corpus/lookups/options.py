"""Options of the commands that look papers up."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from harness.api.skill import SkillOptions
from skills.corpus.lookups.configuration import CORPUS, NAMES, named


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
        None, ge=1, description="requests at most, of each source; the same line goes on later"
    )
    by_title: bool = Field(
        False, description="also papers without any identifier, one in a request"
    )
    refresh: bool = Field(False, description="repeat what was looked up in the last 30 days")
