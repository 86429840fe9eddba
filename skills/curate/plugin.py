"""The skill /curate. The modules that do the work are imported when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from harness.api.hookspecs import RegisterSkill, hookimpl
from harness.api.options import misplaced
from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.errors import UsageError
from harness.runs.grammar import as_path
from skills.finetune.data.options import DatasetOptions
from skills.nanda.framework_option import FrameworkOption, chosen

_CURATE, _REVIEW = "a run of the panel", "a review"
_PANEL_OPTIONS = (
    "personas",
    "min_votes",
    "calibrate",
    "reject_rate",
    "probes",
    "explain",
    "retry_failed",
    "workers",
    "limit",
)
_GOES_WITH = {
    **dict.fromkeys((*_PANEL_OPTIONS, "build"), (_CURATE,)),
    "from_": (_REVIEW,),
}
"""The options that only one of the two modes has."""


class Curate(Skill):
    name = "curate"
    summary = "Keep the annotations that are good enough to train on"
    usage = "TABLE|corpus"
    details = (
        "TABLE is a .csv, .tsv, .jsonl or .parquet file with a column of abstracts and one for\n"
        "each move; `corpus` is your own corpus. Gates come first and need no model: numbers and\n"
        "names that are not in the abstract, empty or repeated moves, text about another paper.\n"
        "What passes them is judged by five personas of the model for the task `judge`; 3 of 5\n"
        "votes keep it.\n"
        "\n"
        "Known-bad annotations are mixed in and never kept: the report shows how many are found.\n"
        "Beside the target, STEM_rejected.csv with reasons, STEM_curation_log.jsonl with every\n"
        "vote and STEM_curation_report.html are written, where the target is STEM_curated.csv.\n"
        "\n"
        "--build FILE also builds a training set, as /finetune dataset does; the options that\n"
        "begin with `data set:` go with it.\n"
        "\n"
        "--review shows the annotations of TABLE one by one, for you to accept, edit or reject:\n"
        "what you accept is written to gold.csv, or to the file after `save to`."
    )
    saves = (".csv", ".jsonl", ".parquet", ".json", ".md", ".html")

    class Options(DatasetOptions):
        manner: ClassVar[frozenset[str]] = frozenset(_PANEL_OPTIONS)

        personas: Path | None = Field(
            None, description="a YAML file with another panel than the shipped one"
        )
        min_votes: int = Field(3, ge=1, description="number of votes that keep an annotation")
        calibrate: bool = Field(
            False, description="set the thresholds on this table, for later runs too"
        )
        reject_rate: float = Field(
            0.3, gt=0, lt=1, description="with --calibrate, the share to be rejected"
        )
        probes: int = Field(
            8, ge=1, le=1000, description="known-bad annotations of each kind that are mixed in"
        )
        explain: bool = Field(False, description="ask for a reason for each rejected annotation")
        retry_failed: bool = Field(
            False, description="retry what failed before, and do nothing else"
        )
        workers: int | None = Field(
            None, ge=1, le=256, description="annotations judged at once; default: model dependent"
        )
        limit: int | None = Field(None, ge=1, description="judge only the first N rows")
        build: Path | None = Field(
            None, description="also build a training set: a .jsonl file, with a manifest"
        )
        review: bool = Field(False, description="judge the annotations yourself, one by one")
        from_: Path | None = Field(
            None, alias="from", description="with --review, the table that has the abstracts"
        )
        abstract_column: str | None = Field(None, description="the table's column of abstracts")
        id_column: str | None = Field(None, description="the table's column of ids")
        title_column: str | None = Field(None, description="the table's column of titles")
        framework: FrameworkOption = None
        db: Path | None = Field(None, description="the corpus database, instead of your own")

    def companions(
        self, target: Path, options: SkillOptions, subcommand: str
    ) -> Mapping[str, Path]:
        from skills.curate.store import output_paths

        assert isinstance(options, Curate.Options)
        if options.review:
            return {}
        return {**output_paths.beside(target), **output_paths.dataset(options.build)}

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        assert isinstance(options, Curate.Options)
        if options.review:
            return "lets you review annotations, and writes those you accept"
        changed = ["sets the thresholds of later runs"] * options.calibrate
        changed += [f"writes into the database {options.db}"] * bool(options.db)
        return " and ".join(changed)

    def run(self, call: Call) -> Result:
        mode = _REVIEW if call.options.review else _CURATE
        if wrong := misplaced(call.options, _GOES_WITH, mode):
            raise UsageError(f"{wrong[0]} is for {' or '.join(wrong[1])}, and this is {mode}")
        _check_combinations(call)
        if call.source == "stdin":  # the content of a table, not its path
            raise UsageError("stdin is not read", hint="Give the name of a file, or `corpus`.")
        if mode == _REVIEW:
            from skills.curate.review.command import review

            target = call.targets[0] if call.targets else Path("gold.csv")
            return review(call, as_path(call.text.strip()), target)
        from skills.curate.curation import curate

        return curate(call, chosen(call.options.framework, call.frameworks))


def _check_combinations(call: Call) -> None:
    """Check that no option is given without the one that it depends on."""
    options, given = call.options, call.options.model_fields_set
    if "reject_rate" in given and not options.calibrate:
        raise UsageError("--reject-rate goes with --calibrate")
    for field in DatasetOptions.model_fields:
        if field in given and options.build is None:
            raise UsageError(f"--{field.replace('_', '-')} goes with --build FILE")
    if options.build is None:
        return
    if not call.targets:
        raise UsageError("--build goes with `save to FILE`", hint="Save what is kept as well.")
    if options.build.suffix.lower() != ".jsonl":
        raise UsageError("a training set is a .jsonl file", where=str(options.build))


@hookimpl
def register_skills(register: RegisterSkill) -> None:
    register(Curate())
