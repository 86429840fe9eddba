"""Register the command /curate; most modules of the skill are imported when needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from harness.api.hookspecs import RegisterSkill, hookimpl
from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.errors import UsageError
from harness.runs.invocation import as_path
from skills.corpus.options import (
    SAVED_TABLES,
    TABLES,
    DatabaseOptions,
    RawOptions,
    ReportOptions,
    ShareOption,
    TitledColumnOptions,
    WorkerOptions,
)
from skills.curate.outputs import CurateSummary
from skills.finetune.dataset.dataset_options import DatasetOptions
from skills.nanda.framework import FrameworkOption, selected_framework


class PanelOptions(WorkerOptions, ReportOptions, RawOptions):
    personas: Path | None = Field(
        None, description="a YAML file with a panel that replaces the default panel"
    )
    min_votes: int = Field(3, ge=1, description="number of votes needed to keep an annotation")
    calibrate: bool = Field(
        False, description="compute the thresholds from the table, and use them in later runs, too"
    )
    reject_rate: float = Field(
        0.3, gt=0, lt=1, description="with --calibrate, the share of annotations to reject"
    )
    probes: int = Field(
        8,
        ge=1,
        le=1000,
        description="maximum number of known-bad annotations of each kind to mix in; the total is "
        "at most the number of annotations that pass the gates",
    )
    explain: bool = Field(False, description="ask the judge why it rejected each annotation")
    retry_failed: bool = Field(False, description="process only annotations that failed before")
    limit: int | None = Field(None, ge=1, description="only the first N rows")
    build: Path | None = Field(
        None, description="also build a training set from this run: a .jsonl file, with a manifest"
    )


class BuildOptions(PanelOptions, DatasetOptions):
    """Options of a run of the panel that also builds a training set."""


class ReviewOptions(SkillOptions):
    from_: Path | None = Field(
        None, alias="from", description="a table with the abstracts, if TABLE does not contain them"
    )
    reviewer: str = Field("", max_length=80, description="your name, if several people review")
    double: ShareOption | None = Field(
        None, description="share of papers that two reviewers decide on, such as 20% or 0.2"
    )
    words: str = Field("", description="only papers that contain all these words, or have this id")
    where: str = Field(
        "", description="only papers of the corpus that meet conditions, as in /corpus filter"
    )
    sample: int | None = Field(None, ge=1, description="only N papers, drawn at random")
    seed: int = Field(0, description="seed of the sample: another seed draws other papers")
    order: Literal["teach", "uncertain"] | None = Field(
        None,
        description="begin with the papers that would teach a model most, or with the least "
        "certain papers; default: teach, uncertain with --words or --where, random with --sample",
    )
    disputes: bool = Field(False, description="settle the disagreements of two reviewers")
    agreement: bool = Field(
        False, description="show the agreement of two reviewers, without a review"
    )


class Curate(Skill):
    name = "curate"
    summary = "Keep the annotations that are good enough to train on"
    usage = "TABLE|corpus"
    details = (
        f"TABLE is a {TABLES} file with a column\n"
        "of abstracts and a column for each move; `corpus` is your own corpus. First, gates\n"
        "reject annotations with numbers or names that are not in the abstract, empty or repeated\n"
        "moves, or text about another paper; gates need no model. Then the model for the task\n"
        "`judge` judges the other annotations as five personas; 3 of 5 votes keep an annotation.\n"
        "\n"
        "Known-bad annotations are mixed in and never kept; the report shows how many are found.\n"
        "These files are written beside the target STEM_curated.csv: STEM_rejected.csv with\n"
        "reasons, STEM_curation_log.jsonl with every vote, and STEM_curation_report.html.\n"
        "\n"
        "--build FILE also builds a training set, as /finetune dataset does.\n"
        "\n"
        "--review shows the annotations of TABLE one by one, for you to accept, edit or reject.\n"
        "Accepted annotations are written to gold.csv, or to the file after `save to`. With\n"
        "--reviewer NAME, several people review at the same time; --agreement shows the agreement\n"
        "of two reviewers, and --disputes settles their disagreements."
    )
    saves = (*SAVED_TABLES, ".json", ".md", ".html")
    output_summary = CurateSummary

    class Options(ReviewOptions, BuildOptions, TitledColumnOptions, DatabaseOptions):
        manner: ClassVar[frozenset[str]] = frozenset(PanelOptions.model_fields) - {"build"}

        review: bool = Field(False, description="judge the annotations yourself, one by one")
        framework: FrameworkOption = None

    variants: ClassVar[dict[str, type[SkillOptions]]] = {
        "a run of the panel": PanelOptions,
        "--build": BuildOptions,
        "--review": ReviewOptions,
    }

    def variant(self, call: Call) -> str:
        if call.options.review:
            return "--review"
        return "a run of the panel" if call.options.build is None else "--build"

    def companions(
        self, target: Path, options: SkillOptions, subcommand: str
    ) -> Mapping[str, Path]:
        from skills.curate import report_files

        assert isinstance(options, Curate.Options)
        if options.review:
            return {}
        return {**report_files.beside(target), **report_files.dataset(options.build)}

    def piped_as(self, text: str, subcommand: str) -> str:
        from skills.corpus.tables.text_formats import suffix_of

        return suffix_of(text) or ".csv"

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        assert isinstance(options, Curate.Options)
        if options.review:
            if options.agreement:
                return ""
            return "lets you review annotations, and writes those you accept"
        changed = ["sets the thresholds of later runs"] * options.calibrate
        changed += [f"writes into the database {options.db}"] * bool(options.db)
        return " and ".join(changed)

    def run(self, call: Call) -> Result:
        _check_combinations(call)
        if call.options.review:
            from skills.curate.review import review_command

            target = call.targets[0] if call.targets else Path("gold.csv")
            path = as_path(call.text.strip())
            if call.options.agreement:
                return review_command.show_agreement(call, path, target)
            return review_command.review(call, path, target)
        from skills.curate.curation import curate

        return curate(call, selected_framework(call.options.framework, call.frameworks))


def _check_combinations(call: Call) -> None:
    """Raise UsageError if the given options of a line do not fit together."""
    options, given = call.options, call.options.model_fields_set
    if "reject_rate" in given and not options.calibrate:
        raise UsageError("--reject-rate goes with --calibrate")
    if options.build is None:
        return
    if not call.targets:
        raise UsageError(
            "--build goes with `save to FILE`", hint="Save the kept annotations as well."
        )
    if options.build.suffix.lower() != ".jsonl":
        raise UsageError("a training set is a .jsonl file", where=str(options.build))


@hookimpl
def register_skills(register: RegisterSkill) -> None:
    register(Curate())
