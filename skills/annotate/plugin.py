"""The skill /annotate. Everything it needs to work is imported when it runs."""

from __future__ import annotations

import calendar
import re
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from harness.api.hookspecs import RegisterSkill, hookimpl
from harness.api.options import misplaced
from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.errors import UsageError
from skills.nanda.framework_option import FrameworkOption, chosen

_ASK = r"(?:please\s+|can\s+you\s+|could\s+you\s+|would\s+you\s+)*annotate\s+"
_WHAT = r"(?:this|the|my|following|arxiv|paper|abstract|file|text|preprint|from|of|in|with|id)"
_TEXT = r"(?:abstract|paper|text|preprint|this|following)"
_NEW_ID = r"\d{4}\.\d{4,5}(?:v\d+)?"
_OLD_ID = r"[a-z-]+(?:\.[a-z]{2})?/\d{7}(?:v\d+)?"
_PAGE = r"(?:https?://)?(?:www\.|export\.)?arxiv\.org/\S*[^\s.!?]"
_FILE = r"\"[^\"\n]+\.(?:txt|md)\"|'[^'\n]+\.(?:txt|md)'|\S+\.(?:txt|md)"
_END = r"\s*[.!?]?\s*\Z"
_SAVE = r"(?:\s+(?:save\s+to|-o)\s.+)?"

_TOPIC, _TABLE, _PAPER = "a topic", "a table", "one paper"
_GOES_WITH = {
    "title": (_PAPER,),
    "limit": (_TABLE,),
    "abstract_column": (_TABLE,),
    "id_column": (_TABLE,),
    "title_column": (_TABLE,),
    "retry_failed": (_TABLE, _TOPIC),
    "workers": (_TABLE, _TOPIC),
    "db": (_TABLE, _TOPIC),
    "source": (_TOPIC,),
    "max": (_TOPIC,),
    "since": (_TOPIC,),
    "until": (_TOPIC,),
}
"""The options that are not for all that can be annotated."""
_DATE = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")


def _day(value: Any, *, last: bool) -> Any:
    """The first or the last day of a date, a month or a year as it is written in ISO 8601."""
    if not isinstance(value, str):
        return value
    if parts := _DATE.fullmatch(value.strip()):
        year = int(parts[1])
        month = int(parts[2] or (12 if last else 1))
        try:
            until = calendar.monthrange(year, month)[1] if last else 1
            return date(year, month, int(parts[3] or until))
        except ValueError:  # month 13, day 31 of a shorter one, year 0
            pass
    raise ValueError(f"{value!r} is no date; write 2025, 2025-01 or 2025-01-31")


class Annotate(Skill):
    name = "annotate"
    summary = "Take abstracts apart in the eight moves of the Nanda framework"
    usage = "TEXT|FILE|TABLE|ARXIV_ID|TOPIC|-"
    details = (
        "TEXT is an abstract of 40 words or more, FILE a .txt or .md file with one, ARXIV_ID\n"
        "the id or address of a paper on arXiv, and - reads the abstract from stdin. The answer\n"
        "is one JSON object with claim, evidence, method, scope, limitation, comparison,\n"
        'implication and novelty; a move that the abstract does not state is "Not stated."\n'
        "\n"
        "TABLE is a .csv, .tsv, .jsonl or .parquet file with a column of abstracts, or a .md list\n"
        "of papers. Every annotation is kept in the corpus as soon as it is there, so the same\n"
        "line goes on where it was stopped; see /corpus. Without a file to save to, the answer\n"
        "is one JSON object a line.\n"
        "\n"
        "TOPIC is anything shorter: papers on it are looked up in the corpus and then at arXiv\n"
        "and annotated, and the answer is a survey of them."
    )
    triggers: ClassVar[tuple[str, ...]] = (
        rf"{_ASK}(?:{_WHAT}\s+)*{_TEXT}\s*[:\n]\s*(?P<text>\S.*)\Z",
        rf"{_ASK}(?:{_WHAT}\s+)*(?P<text>(?:{_FILE}){_SAVE}){_END}",
        rf"{_ASK}(?:{_WHAT}\s+)*(?P<text>(?:{_PAGE}|(?:arxiv:\s*)?(?:{_NEW_ID}|{_OLD_ID})){_SAVE}){_END}",
    )
    saves = (".jsonl", ".csv", ".parquet", ".json", ".md", ".html")

    class Options(SkillOptions):
        manner: ClassVar[frozenset[str]] = frozenset({"workers", "retry_failed", "limit"})

        title: str | None = Field(
            None, description="the paper's title, instead of the one in the input"
        )
        framework: FrameworkOption = None
        max_tokens: int | None = Field(
            None, ge=16, description="tokens of one answer at most; the default cuts no annotation"
        )
        limit: int | None = Field(None, ge=1, description="of a table, the first N rows alone")
        retry_failed: bool = Field(
            False, description="table or topic: do again what failed before, and nothing else"
        )
        workers: int | None = Field(
            None,
            ge=1,
            le=256,
            description="table or topic: answers at once; the default is what the model serves",
        )
        abstract_column: str | None = Field(None, description="the table's column of abstracts")
        id_column: str | None = Field(None, description="the table's column of ids")
        title_column: str | None = Field(None, description="the table's column of titles")
        db: Path | None = Field(
            None, description="table or topic: the corpus database, instead of your own"
        )
        source: Literal["corpus", "arxiv"] | None = Field(
            None, description="look for a topic there alone"
        )
        max: int = Field(10, ge=1, le=200, description="papers on a topic at most")
        since: Annotated[date | None, BeforeValidator(partial(_day, last=False))] = Field(
            None, description="of a topic, papers from this day, month or year on"
        )
        until: Annotated[date | None, BeforeValidator(partial(_day, last=True))] = Field(
            None, description="of a topic, papers up to this day, month or year"
        )

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        """Annotations are kept in the user's own corpus, as those of any line are."""
        assert isinstance(options, Annotate.Options)
        return f"writes into the database {options.db}" if options.db else ""

    def run(self, call: Call) -> Result:
        from skills.annotate.papers import is_topic, table_in

        on_line = call.source == "line"
        table = table_in(call.text) if on_line else None
        case = _TABLE if table else _TOPIC if on_line and is_topic(call.text) else _PAPER
        _refuse_misplaced(call, case)
        framework = chosen(call.options.framework, call.frameworks)
        if table:
            from skills.annotate.table.command import annotate_table

            return annotate_table(call, table, framework)
        if case == _TOPIC:
            from skills.annotate.survey.command import annotate_topic

            return annotate_topic(call, framework)
        from skills.annotate.single import annotate_text

        return annotate_text(call, framework)


def _refuse_misplaced(call: Call, case: str) -> None:
    """Refuse options that `case`, which the call is, would not look at."""
    if wrong := misplaced(call.options, _GOES_WITH, case):
        flag, cases = wrong
        name = " ".join(call.text.split())
        this = "this" if case == _PAPER or len(name) > 60 else name
        raise UsageError(f"{flag} is for {' or '.join(cases)}, and {this} is {case}")


@hookimpl
def register_skills(register: RegisterSkill) -> None:
    register(Annotate())
