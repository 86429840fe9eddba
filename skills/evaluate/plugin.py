"""Register the command /evaluate; most modules of the skill are imported when needed."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from harness.api.hookspecs import RegisterSkill, hookimpl
from harness.api.skill import Call, Impact, Result, Skill, SkillOptions
from harness.errors import UsageError
from skills.corpus.options import (
    TABLES,
    AnswerOptions,
    DatabaseOptions,
    ReportOptions,
    TitledColumnOptions,
    WorkerOptions,
)
from skills.evaluate.outputs import Evaluation
from skills.nanda.framework import FrameworkOption, selected_framework


class Evaluate(Skill):
    name = "evaluate"
    summary = "Compare models as annotators, with intervals and baselines"
    usage = "TABLE"
    text = "optional"
    details = (
        f"TABLE is a {TABLES} file with a column\n"
        "of abstracts and a column for each move: the gold. Each model annotates the papers as\n"
        "/annotate does. Annotations are stored in the corpus, so the same command continues a\n"
        "stopped evaluation. They do not replace the current annotations of the corpus.\n"
        "\n"
        "The metrics are validity, completeness, faithfulness to the abstract, agreement with the\n"
        "gold, consistency and tokens, with 95% intervals: Wilson intervals for shares of papers,\n"
        "otherwise intervals of a paired bootstrap over papers. Reports also contain speed and\n"
        "two baselines: lead sentences, and another paper's annotation.\n"
        "\n"
        "--csabstruct FILE compares the moves with human labels of the abstracts' sentences\n"
        "instead: one object per line, with paper_id, sentences and labels.\n"
        "\n"
        "--against FILE.json compares the first model with an earlier evaluation of the same\n"
        "papers and gold. With --fail-on-regression the exit code is 1 if a metric is worse and\n"
        "the interval of the difference excludes 0. A metric is compared by its figure over all\n"
        "moves or, without such a figure, by the figure of each move. Tokens and descriptive\n"
        "metrics are not compared."
    )
    saves = (".html", ".png", ".json")

    impact: ClassVar[dict[str, Impact]] = {"": "adds"}
    output_summary = Evaluation

    class Options(
        TitledColumnOptions, DatabaseOptions, WorkerOptions, AnswerOptions, ReportOptions
    ):
        manner: ClassVar[frozenset[str]] = frozenset(
            {"workers", "retry_failed", "details", "fail_on_regression"} | WorkerOptions.manner
        )

        models: str | None = Field(
            None,
            description="models to compare, separated by commas; default: the model of /annotate "
            "and its fallbacks",
        )
        csabstruct: Path | None = Field(
            None, description="a .jsonl file of abstracts whose sentences have labels"
        )
        against: Path | None = Field(
            None, description="an earlier evaluation (.json) to compare the first model with"
        )
        fail_on_regression: bool = Field(
            False, description="exit with 1 if the first model is worse than the model of --against"
        )
        unconstrained: bool = Field(
            False, description="also run each model without constrained output"
        )
        consistency: int | None = Field(
            None,
            ge=0,
            description="annotate the first N papers again with other seeds and reworded prompts; "
            "default: 10, or 0 with fewer than 5 papers",
        )
        limit: int | None = Field(None, ge=1, description="only the first N rows")
        retry_failed: bool = Field(False, description="also process failed papers again")
        framework: FrameworkOption = None

    variants: ClassVar[dict[str, type[SkillOptions]]] = {"a table of gold": TitledColumnOptions}

    def variant(self, call: Call) -> str:
        return "--csabstruct" if call.options.csabstruct else "a table of gold"

    def piped_as(self, text: str, subcommand: str) -> str:
        from skills.corpus.tables.text_formats import suffix_of

        return suffix_of(text) or ".csv"

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        assert isinstance(options, Evaluate.Options)
        return f"writes into the database {options.db}" if options.db else ""

    def run(self, call: Call) -> Result:
        from skills.evaluate.evaluation import evaluate

        options, table = call.options, call.text.strip()
        if not table and options.csabstruct is None:
            raise UsageError(
                "/evaluate needs TABLE, or --csabstruct FILE", hint="See `/help evaluate`."
            )
        if table and options.csabstruct is not None:
            raise UsageError(
                "TABLE and --csabstruct exclude each other", hint="Write a line for each of them."
            )
        if options.fail_on_regression and options.against is None:
            raise UsageError(
                "--fail-on-regression needs --against FILE", hint="See `/help evaluate`."
            )
        return evaluate(call, selected_framework(options.framework, call.frameworks))


@hookimpl
def register_skills(register: RegisterSkill) -> None:
    register(Evaluate())
