"""Define the skill /serve; the modules that execute it are imported when it runs."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from harness.api.hookspecs import RegisterSkill, hookimpl
from harness.api.skill import Call, Result, Skill
from skills.corpus.options import DatabaseOptions, ShareOption
from skills.nanda.framework import FrameworkOption


class Serve(Skill):
    name = "serve"
    summary = "Browse, review and compare annotations of the corpus in the browser"
    usage = ""
    text = "none"
    details = (
        "The application is available only on this machine, at 127.0.0.1. Its address contains a\n"
        "token, which can be used once, by one browser; other browsers are refused. The\n"
        "application also shows the annotations of running jobs. Ctrl-C ends it.\n"
        "\n"
        "Reviewers give their names in the browser. Accepted annotations are written to gold.csv\n"
        "or --gold FILE, as by /curate --review."
    )
    triggers = (r"serve(?P<text>(?:\s+--.*)?)\Z",)
    tool = False

    class Options(DatabaseOptions):
        port: int | None = Field(
            None,
            ge=1,
            le=65535,
            description="the port of the server (default: 8700, or a free port)",
        )
        no_open: bool = Field(False, description="print the address without opening a browser")
        demo: bool = Field(
            False, description="serve an invented corpus of 30 abstracts, for a first look"
        )
        review: str = Field("corpus", description="a table of annotations to review, or corpus")
        gold: Path | None = Field(
            None, description="the gold table that reviews are saved in (default: gold.csv)"
        )
        double: ShareOption | None = Field(
            None, description="share of papers that two reviewers decide on, such as 20% or 0.2"
        )
        framework: FrameworkOption = None

    def run(self, call: Call) -> Result:
        from skills.serve.server import serve

        return serve(call)


@hookimpl
def register_skills(register: RegisterSkill) -> None:
    register(Serve())
