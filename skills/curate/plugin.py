"""The skill /curate. Everything it needs to work is imported when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from harness.api.hookspecs import RegisterSkill, hookimpl
from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.errors import UsageError
from harness.runs.grammar import as_path
from skills.corpus.options import DatabaseOptions, TitledColumnOptions, WorkerOptions
from skills.finetune.data.options import DatasetOptions
from skills.nanda.framework_option import FrameworkOption, chosen


class PanelOptions(WorkerOptions):
    personas: Path | None = Field(
        None, description="a YAML file with another panel than the five that ship"
    )
    min_votes: int = Field(3, ge=1, description="votes that keep an annotation")
    calibrate: bool = Field(
        False, description="set the thresholds from this table, also for later runs"
    )
    reject_rate: float = Field(0.3, gt=0, lt=1, description="with --calibrate, the share to reject")
    probes: int = Field(
        8, ge=1, le=1000, description="known-bad annotations of each kind to mix in"
    )
    explain: bool = Field(False, description="ask for a reason for each rejected annotation")
    retry_failed: bool = Field(False, description="process only what failed before")
    limit: int | None = Field(None, ge=1, description="only the first N rows")
    build: Path | None = Field(
        None, description="also make a training set of this run: a .jsonl file with its manifest"
    )


class BuildOptions(PanelOptions, DatasetOptions):
    """Options of a run that makes a training set of what it keeps."""


class ReviewOptions(SkillOptions):
    from_: Path | None = Field(None, alias="from", description="the table that has the abstracts")


class Curate(Skill):
    name = "curate"
    summary = "Keep the annotations that are good enough to train on"
    usage = "TABLE|corpus"
    details = (
        "TABLE is a .csv, .tsv, .jsonl or .parquet file with a column of abstracts and one for\n"
        "each move; corpus is your own. Gates come first and cost nothing: numbers and names that\n"
        "the abstract lacks, empty or repeated moves, text of another paper. What passes them is\n"
        "put to five personas of the model for the task `judge`; 3 of 5 votes keep it.\n"
        "\n"
        "Known-bad annotations are mixed in and never kept: the report says how many are found.\n"
        "Beside the target STEM_curated.csv are written STEM_rejected.csv with reasons,\n"
        "STEM_curation_log.jsonl with every vote, and STEM_curation_report.html.\n"
        "\n"
        "--build FILE makes a training set of it, as /finetune dataset does.\n"
        "\n"
        "--review shows the annotations of TABLE one by one, for you to accept, edit or reject:\n"
        "what you accept goes to gold.csv, or to the file after `save to`."
    )
    saves = (".csv", ".jsonl", ".parquet", ".json", ".md", ".html")

    class Options(ReviewOptions, BuildOptions, TitledColumnOptions, DatabaseOptions):
        manner: ClassVar[frozenset[str]] = frozenset(
            {
                "workers",
                "retry_failed",
                "limit",
                "explain",
                "probes",
                "personas",
                "min_votes",
                "calibrate",
                "reject_rate",
            }
        )

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
        from skills.curate.store import sidecars

        assert isinstance(options, Curate.Options)
        if options.review:
            return {}
        if options.build is None:
            return sidecars.beside(target)
        from skills.finetune.data.manifest import manifest_path

        made = {"dataset": options.build, "manifest": manifest_path(options.build)}
        return {**sidecars.beside(target), **made}

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        assert isinstance(options, Curate.Options)
        if options.review:
            return "has you review annotations, and writes those you accept"
        changed = ["sets the thresholds of later runs"] * options.calibrate
        changed += [f"writes into the database {options.db}"] * bool(options.db)
        return " and ".join(changed)

    def run(self, call: Call) -> Result:
        _refuse_alone(call)
        if call.source == "stdin":  # a whole table, which is no path
            raise UsageError("stdin is not read", hint="Give the name of a file, or `corpus`.")
        framework = chosen(call.options.framework, call.frameworks)
        if call.options.review:
            from skills.curate.review.command import review

            target = call.targets[0] if call.targets else Path("gold.csv")
            return review(call, as_path(call.text.strip()), target)
        if call.options.build is not None:
            from skills.curate import building

            _refuse_collisions(call)
            building.check(call, framework)
        from skills.curate.curation import curate

        return curate(call, framework)


def _refuse_alone(call: Call) -> None:
    """Refuse options that do nothing without another one."""
    options, given = call.options, call.options.model_fields_set
    if "reject_rate" in given and not options.calibrate:
        raise UsageError("--reject-rate goes with --calibrate")
    if options.build is None:
        return
    if not call.targets:
        raise UsageError("--build goes with `save to FILE`", hint="Save what is kept as well.")
    if options.build.suffix.lower() != ".jsonl":
        raise UsageError("a training set is a .jsonl file", where=str(options.build))


def _refuse_collisions(call: Call) -> None:
    """Refuse a training set that would be written over what is saved, or over what it is made of.

    Raises:
        UsageError: naming the file.
    """
    from skills.curate.store import sidecars
    from skills.finetune.data.command import refuse_inputs
    from skills.finetune.data.manifest import manifest_path

    for target in call.targets:
        saved = {path.resolve() for path in (target, *sidecars.beside(target).values())}
        for path in (call.options.build, manifest_path(call.options.build)):
            if path.resolve() in saved:
                raise UsageError(
                    f"is written by `save to {target}` already",
                    where=str(path),
                    hint="Give --build another name.",
                )
        refuse_inputs((target, *sidecars.beside(target).values()), call.options)
    refuse_inputs((call.options.build, manifest_path(call.options.build)), call.options)


@hookimpl
def register_skills(register: RegisterSkill) -> None:
    register(Curate())
