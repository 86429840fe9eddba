"""The skill /annotate. Modules are imported when they are needed."""

from __future__ import annotations

import calendar
import re
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from harness.api.hookspecs import RegisterSkill, hookimpl
from harness.api.skill import Call, Impact, Result, Skill, SkillOptions
from harness.errors import UsageError
from skills.annotate.outputs import AnnotateSummary
from skills.annotate.survey.relevance import LEAST
from skills.corpus.options import (
    AnswerOptions,
    DatabaseOptions,
    TitledColumnOptions,
    WorkerOptions,
)
from skills.corpus.outputs import AnnotationOutput
from skills.nanda.arxiv_id import ID
from skills.nanda.framework_option import FrameworkOption, selected_framework

_ASK = r"(?:please\s+|can\s+you\s+|could\s+you\s+|would\s+you\s+)*annotate\s+"
_WHAT = r"(?:this|the|my|following|arxiv|paper|abstract|file|text|preprint|from|of|in|with|id)"
_TEXT = r"(?:abstract|paper|text|preprint|this|following)"
_PAGE = r"(?:https?://)?(?:www\.|export\.)?arxiv\.org/\S*[^\s.!?]"
_FILE = r"\"[^\"\n]+\.(?:txt|md)\"|'[^'\n]+\.(?:txt|md)'|\S+\.(?:txt|md)"
_END = r"\s*+[.!?]?\s*+\Z"
_SAVE = r"(?:\s+(?:save\s+to|-o)\s.+)?"

_CERTAINTY = re.compile(r"0?\.[0-9]+|1\.0*", re.ASCII)
_DATE = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")


def _day(value: Any, *, last: bool) -> Any:
    """Return the first or last day of an ISO 8601 date, month or year; other types as they are."""
    if not isinstance(value, str):
        return value
    if parts := _DATE.fullmatch(value.strip()):
        year = int(parts[1])
        month = int(parts[2] or (12 if last else 1))
        try:
            until = calendar.monthrange(year, month)[1] if last else 1
            return date(year, month, int(parts[3] or until))
        except ValueError:  # month 13, February 30, year 0
            pass
    raise ValueError(f"{value!r} is not a date; write 2025, 2025-01 or 2025-01-31")


def _share(value: Any) -> Any:
    """Return a percentage as a share; other values as they are."""
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip().removesuffix("%")) / 100
        except ValueError:
            pass
    return value


def _until(value: Any) -> Any:
    """Return a certainty, which has a decimal point, as a number, and a date as its last day."""
    is_certainty = isinstance(value, str) and _CERTAINTY.fullmatch(value.strip())
    return float(value) if is_certainty else _day(value, last=True)


Until = Annotated[date | float | None, BeforeValidator(_until)]
"""The last day of the papers on a topic, or the certainty from which those of a table do not go on:
one option for both."""


class PaperOptions(DatabaseOptions):
    title: str | None = Field(None, description="the paper's title; default: the one of the input")


class JobOptions(WorkerOptions, DatabaseOptions):
    """Options for many papers, which are annotated as a job that can be resumed."""

    retry_failed: bool = Field(False, description="process only the papers that failed before")


class TableOptions(JobOptions, TitledColumnOptions):
    limit: int | None = Field(None, ge=1, description="only the first N rows")
    cascade: str | None = Field(
        None, description="models that the least certain papers go on to: MODEL[,MODEL]"
    )
    budget: Annotated[float | None, BeforeValidator(_share)] = Field(
        None,
        gt=0,
        le=1,
        description="with --cascade, the share of a model's papers that go on at most: 20%",
    )
    until: Until = Field(
        None, description="with --cascade, a certainty from which papers do not go on; default: 0.8"
    )
    sample: Path | None = Field(
        None, description="with --cascade, a table with gold of papers drawn at random"
    )


class TopicOptions(JobOptions):
    source: Literal["corpus", "arxiv"] | None = Field(
        None, description="search for papers only there"
    )
    max: int = Field(10, ge=1, le=200, description="maximum number of papers")
    relevance: float = Field(
        LEAST, ge=0, le=1, description="leave out papers that are less about the topic"
    )
    since: Annotated[date | None, BeforeValidator(partial(_day, last=False))] = Field(
        None, description="papers from this day, month or year on"
    )
    until: Until = Field(None, description="papers up to this day, month or year")


class Annotate(Skill):
    name = "annotate"
    summary = "Annotate paper abstracts with the eight moves of the Nanda framework"
    usage = "TEXT|FILE|TABLE|ARXIV_ID|TOPIC|-"
    details = (
        "TEXT is an abstract: 12 words or more with the end of a sentence, or 40 words. FILE is a\n"
        ".txt or .md file with one, ARXIV_ID the id or URL of a paper on arXiv, and - reads the\n"
        "abstract from stdin. The result is a JSON object with claim, evidence, method, scope,\n"
        "limitation, comparison, implication and novelty; a move that the abstract does not state\n"
        'is "Not stated." The annotation is stored in the corpus, and read from there if the same\n'
        "model has annotated the same abstract before.\n"
        "\n"
        "TABLE is a .csv, .tsv, .jsonl or .parquet file with a column of abstracts, or a .md list\n"
        "of papers. Each annotation is stored in the corpus at once, and the same line continues\n"
        "a stopped job; see /corpus. Without a file to save to, the result is one JSON object\n"
        "per line. --cascade passes doubtful papers on to better models, and the rest of them to\n"
        "/curate --review; it needs a first model that gives confidences.\n"
        "\n"
        "TOPIC is any other text: papers on it are searched in the corpus and then at arXiv\n"
        "and annotated, and the result is a survey of them."
    )
    triggers: ClassVar[tuple[str, ...]] = (
        rf"{_ASK}(?:{_WHAT}\s+)*{_TEXT}\s*[:\n]\s*(?P<text>\S.*)\Z",
        rf"{_ASK}(?:{_WHAT}\s+)*(?P<text>(?:{_FILE}){_SAVE}){_END}",
        rf"{_ASK}(?:{_WHAT}\s+)*(?P<text>(?:{_PAGE}|(?:arxiv:\s*)?{ID}){_SAVE}){_END}",
    )
    saves = (".jsonl", ".csv", ".parquet", ".json", ".md", ".html")

    impact: ClassVar[dict[str, Impact]] = {"": "adds"}
    output = AnnotationOutput
    output_summary = AnnotateSummary

    class Options(TopicOptions, TableOptions, PaperOptions, AnswerOptions):
        manner: ClassVar[frozenset[str]] = frozenset({"workers", "retry_failed", "limit"})

        framework: FrameworkOption = None

    variants: ClassVar[dict[str, type[SkillOptions]]] = {
        "one paper": PaperOptions,
        "a table": TableOptions,
        "a topic": TopicOptions,
    }

    def variant(self, call: Call) -> str:
        from skills.annotate.papers import is_topic, table_in

        if call.source == "stdin":
            return "one paper"
        if table_in(call.text):
            return "a table"
        return "a topic" if is_topic(call.text) else "one paper"

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        """Return what changes; writing into the user's own corpus is not a change."""
        assert isinstance(options, Annotate.Options)
        changed = [f"sends papers to {options.cascade}"] * bool(options.cascade)
        changed += [f"writes into the database {options.db}"] * bool(options.db)
        return " and ".join(changed)

    def run(self, call: Call) -> Result:
        framework = selected_framework(call.options.framework, call.frameworks)
        variant = self.variant(call)
        _check_combinations(call.options, variant)
        if variant == "a table":
            from skills.annotate.papers import table_in
            from skills.annotate.table.command import annotate_source, annotate_table

            table = table_in(call.text)
            assert table is not None
            if call.options.cascade is None:
                return annotate_table(call, table, framework, annotate_source)
            from skills.annotate.cascade.command import annotate_cascaded

            return annotate_table(call, table, framework, annotate_cascaded)
        if variant == "a topic":
            from skills.annotate.survey.command import annotate_topic

            return annotate_topic(call, framework)
        from skills.annotate.single import annotate_text

        return annotate_text(call, framework)


def _check_combinations(options: Annotate.Options, variant: str) -> None:
    """Check the options of a cascade, and that --until is of the kind that the input takes."""
    if variant != "a table":
        if isinstance(options.until, float):
            raise UsageError(f"--until: {options.until:g} is not a date", hint="Write 2025-01-31.")
        return
    if isinstance(options.until, date):
        raise UsageError(
            "--until does not apply to a table",
            hint="With --cascade, it is a certainty such as .9.",
        )
    given = options.model_fields_set
    if options.cascade is None:
        if names := [f"--{name}" for name in ("budget", "until", "sample") if name in given]:
            raise UsageError(f"{names[0]} goes with --cascade MODEL")
    elif not given & {"budget", "until"}:
        raise UsageError(
            "--cascade goes with --budget or --until",
            hint="`--budget 20%` passes on at most a fifth of the papers.",
        )


@hookimpl
def register_skills(register: RegisterSkill) -> None:
    register(Annotate())
