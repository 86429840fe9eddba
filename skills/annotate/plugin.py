"""The skill /annotate. Everything it needs to work is imported when it runs."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from harness.hookspecs import RegisterSkill, hookimpl
from harness.models import ServedModel
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
    summary = "Take an abstract apart in the eight moves of the Nanda framework"
    usage = "TEXT|FILE|ARXIV_ID|-"
    details = (
        "TEXT is an abstract of 40 words or more, FILE a .txt or .md file with one, ARXIV_ID\n"
        "the id or address of a paper on arXiv, and - reads the abstract from stdin. The answer\n"
        "is one JSON object with claim, evidence, method, scope, limitation, comparison,\n"
        'implication and novelty; a move that the abstract does not state is "Not stated."'
    )
    triggers: ClassVar[tuple[str, ...]] = (
        rf"{_ASK}(?:{_WHAT}\s+)*{_TEXT}\s*[:\n]\s*(?P<text>\S.*)\Z",
        rf"{_ASK}(?:{_WHAT}\s+)*(?P<text>(?:{_FILE}){_SAVE}){_END}",
        rf"{_ASK}(?:{_WHAT}\s+)*(?P<text>(?:{_PAGE}|(?:arxiv:\s*)?(?:{_NEW_ID}|{_OLD_ID})){_SAVE}){_END}",
    )
    saves = (".md", ".json")

    class Options(SkillOptions):
        title: str | None = Field(
            None, description="the paper's title, instead of the one in the input"
        )
        framework: Path | None = Field(
            None, description="a YAML file with other moves than the eight that ship"
        )
        max_tokens: int | None = Field(
            None, ge=16, description="tokens of one answer at most; the default cuts no annotation"
        )

    def run(self, call: Call) -> Result:
        from skills.annotate import render
        from skills.annotate.annotate import annotate, prepare
        from skills.annotate.papers import read_paper
        from skills.nanda import framework as frameworks

        options = call.options
        framework = frameworks.load(options.framework) if options.framework else frameworks.nanda()
        paper = read_paper(
            call.text, source=call.source, title=options.title, max_words=framework.max_words
        )

        def work(model: ServedModel) -> dict[str, Any]:
            # Shown only now: a download and a fallback have lines of their own to say before.
            with call.screen.progress("annotating") as tick:
                pieces = itertools.count(1)
                prepared = prepare(paper, framework, model, options.max_tokens)
                return annotate(prepared, model, lambda _: tick(f"{next(pieces)} tokens"))

        record = call.models.run(self.name, work)
        if warning := render.warning(record):
            call.screen.notice(warning)
        return Result(
            text=render.moves_as_json(record, framework),
            data=record,
            renderers={
                ".md": lambda: render.as_markdown(record, framework),
                ".json": lambda: render.as_json(record),
            },
        )


@hookimpl
def register_skills(register: RegisterSkill) -> None:
    register(Annotate())
