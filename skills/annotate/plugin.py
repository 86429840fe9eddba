"""The skill /annotate. Everything it needs to work is imported when it runs."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from harness.hookspecs import RegisterSkill, hookimpl
from harness.skills import Call, Result, Skill, SkillOptions

_ASK = r"(?:please\s+|can\s+you\s+|could\s+you\s+|would\s+you\s+)*annotate\s+"
_WHAT = r"(?:this|the|my|following|arxiv|paper|abstract|file|text|preprint|from|of|in|with|id)"
_TEXT = r"(?:abstract|paper|text|preprint|this|following)"
_NEW_ID = r"\d{4}\.\d{4,5}(?:v\d+)?"
_OLD_ID = r"[a-z-]+(?:\.[a-z]{2})?/\d{7}(?:v\d+)?"
_PAGE = r"(?:https?://)?(?:www\.|export\.)?arxiv\.org/\S*[^\s.!?]"
_FILE = r"\"[^\"\n]+\.(?:txt|md)\"|'[^'\n]+\.(?:txt|md)'|\S+\.(?:txt|md)"
_END = r"\s*[.!?]?\s*\Z"
_SAVE = r"(?:\s+(?:save\s+to|-o)\s.+)?"


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
        framework: Path | None = Field(
            None, description="a YAML file with other moves than the eight that ship"
        )
        max_tokens: int | None = Field(
            None, ge=16, description="tokens of one answer at most; the default cuts no annotation"
        )
        limit: int | None = Field(None, ge=1, description="of a table, the first N rows alone")
        retry_failed: bool = Field(
            False, description="do again what failed before, and nothing else"
        )
        workers: int | None = Field(
            None, ge=1, le=256, description="answers at once; the default is what the model serves"
        )
        abstract_column: str | None = Field(None, description="the table's column of abstracts")
        id_column: str | None = Field(None, description="the table's column of ids")
        title_column: str | None = Field(None, description="the table's column of titles")
        db: Path | None = Field(None, description="the corpus database, instead of your own")
        source: Literal["corpus", "arxiv"] | None = Field(
            None, description="look for a topic there alone"
        )
        max: int = Field(10, ge=1, le=200, description="papers on a topic at most")
        since: date | None = Field(None, description="of a topic, papers from this day on")
        until: date | None = Field(None, description="of a topic, papers up to this day")

    def run(self, call: Call) -> Result:
        from skills.annotate.papers import is_topic, table_in
        from skills.nanda import framework as frameworks

        own = call.options.framework
        framework = frameworks.load(own) if own else frameworks.nanda()
        on_line = call.source == "line"
        if on_line and (table := table_in(call.text)):
            from skills.annotate.many import annotate_table

            return annotate_table(call, table, framework)
        if on_line and is_topic(call.text):
            from skills.annotate.survey_topic import annotate_topic

            return annotate_topic(call, framework)
        from skills.annotate.one import annotate_text

        return annotate_text(call, framework)


@hookimpl
def register_skills(register: RegisterSkill) -> None:
    register(Annotate())
