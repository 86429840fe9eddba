"""The options of /annotate for each kind of input, and the types of the results."""

from __future__ import annotations

import calendar
import re
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, RootModel

from harness.api.skill import SkillOptions
from skills.corpus.options import (
    CORPUS,
    NAMES,
    DatabaseOptions,
    LibraryOptions,
    SourceOptions,
    Sources,
    WorkerOptions,
    as_share,
)
from skills.reporting.outputs import Output, RefusedRow

SECTIONS = ("limitation", "conclusion")
LEAST_RELEVANCE = 0.6
"""Default minimum relevance of a paper in a survey (see `topic.relevance`).

If each word of the topic occurs once in the abstract and not in the title, the relevance is 0.5,
unless the abstract is short or the paper has no title.
"""

_CERTAINTY = re.compile(r"0?\.[0-9]+|1\.0*", re.ASCII)
_DATE = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")


def _day(value: Any, *, last: bool) -> Any:
    """Return the date in a text, or the first or last day of the month or year in a text.

    Args:
        value: text such as "2025-01-31", "2025-01" or "2025"; other types are returned unchanged.
        last: True for the last day of a month or year, False for the first day.

    Raises:
        ValueError: the text is not a date.
    """
    if not isinstance(value, str):
        return value
    if parts := _DATE.fullmatch(value.strip()):
        year = int(parts[1])
        month = int(parts[2] or (12 if last else 1))
        try:
            until = calendar.monthrange(year, month)[1] if last else 1
            return date(year, month, int(parts[3] or until))
        except ValueError:  # such as month 13, February 30 or year 0
            pass
    raise ValueError(f"{value!r} is not a date; write 2025, 2025-01 or 2025-01-31")


def _until(value: Any) -> Any:
    """Return the value of --until: a certainty for a text with a point, otherwise a date.

    A month or year becomes its last day. A value that is not a text is returned unchanged.

    Raises:
        ValueError: the text is neither a certainty nor a date.
    """
    if not isinstance(value, str) or "." not in value:
        return _day(value, last=True)
    if not _CERTAINTY.fullmatch(value.strip()):
        raise ValueError(f"{value!r} is neither a certainty such as .9 nor a date like 2025-01-31")
    return float(value)


Until = Annotated[date | float | None, BeforeValidator(_until)]
"""The value of --until.

For a topic, it is a date, and papers published later are left out. With --cascade, it is the
certainty below which a paper is doubtful.
"""


def _kinds(value: Any) -> Any:
    """Return the distinct kinds of sections in a text such as "limitation,conclusion".

    A list of such texts is also accepted. Values of other types are returned unchanged.

    Raises:
        ValueError: a kind is unknown.
    """
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, (list, tuple)):
        return value
    kinds = [part.strip().rstrip("s") for one in given for part in str(one).split(",")]
    for kind in kinds:
        if kind not in SECTIONS:
            raise ValueError(f"{kind!r} is not one of {', '.join(SECTIONS)}")
    return tuple(dict.fromkeys(kinds))


class SectionOptions(SkillOptions):
    sections: Annotated[tuple[str, ...], BeforeValidator(_kinds)] = Field(
        (),
        description="search these sections of a PDF file for moves that the abstract lacks: "
        "limitation, conclusion, or limitation,conclusion",
    )


class StrictOptions(SkillOptions):
    strict: bool = Field(
        False, description="refuse text that is not in English, or does not look like an abstract"
    )


class PaperOptions(StrictOptions, SectionOptions, DatabaseOptions):
    title: str | None = Field(
        None, description="the title of the paper; default: the title in the input"
    )


class JobOptions(WorkerOptions, DatabaseOptions):
    """Options for annotating many papers in a job that can be continued."""

    retry_failed: bool = Field(False, description="process only the papers that failed before")


class TableOptions(StrictOptions, SectionOptions, JobOptions, LibraryOptions):
    takes_ray_data: ClassVar[bool] = True

    limit: int | None = Field(None, ge=1, description="only the first N rows")
    cascade: str | None = Field(
        None, description="models that annotate the least certain papers again: MODEL[,MODEL]"
    )
    budget: Annotated[float | None, BeforeValidator(as_share)] = Field(
        None,
        gt=0,
        le=1,
        description="with --cascade, the maximum share of papers that each model passes on, such "
        "as 20%",
    )
    until: Until = Field(
        None,
        description="with --cascade, papers with this certainty or more are not passed on; "
        "default: 0.8",
    )
    sample: Path | None = Field(
        None,
        description="with --cascade, a gold table of papers drawn at random, to estimate the "
        "share of right anchors",
    )


class IdListOptions(JobOptions, SourceOptions):
    limit: int | None = Field(None, ge=1, description="only the first N ids")


class PaperByIdOptions(PaperOptions, SourceOptions):
    pass


class TopicOptions(JobOptions):
    source: Sources = Field(
        None,
        description="sources for searches and lookups, separated by commas: "
        f"{','.join((CORPUS, *NAMES))}",
    )
    max: int = Field(10, ge=1, le=200, description="maximum number of papers")
    relevance: float = Field(
        LEAST_RELEVANCE,
        ge=0,
        le=1,
        description="leave out papers with a lower relevance to the topic",
    )
    since: Annotated[date | None, BeforeValidator(partial(_day, last=False))] = Field(
        None, description="only papers published on or after this day, month or year"
    )
    until: Until = Field(
        None, description="only papers published until the end of this day, month or year"
    )


class TableSummary(Output):
    """The result of a job over a table; counts are numbers of rows."""

    input: str
    rows: int
    done: int = Field(description="number of rows annotated by this run or by earlier runs")
    made: int = Field(description="number of rows annotated by this run")
    failed: int
    errors: dict[str, int] = Field(description="number of failed rows by type of error")
    filtered: dict[str, int] = Field(description="number of rows left out, by reason")
    refused: list[RefusedRow]
    pending: int = Field(
        description="number of rows neither annotated nor failed yet; the same line annotates them"
    )
    model: str
    seconds: float
    database: str


class TopicSummary(Output):
    """The result of a survey of a topic; counts are numbers of papers."""

    topic: str
    papers: int
    annotated_before: int
    done: int
    failed: int
    pending: int


class AnnotateSummary(RootModel[TableSummary | TopicSummary]):
    """The result of /annotate: a job over a table, or a survey of a topic."""
