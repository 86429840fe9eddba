"""The skill /curate. Everything it needs to work is imported when it runs."""

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
_GOES_WITH = {
    "personas": (_CURATE,),
    "min_votes": (_CURATE,),
    "calibrate": (_CURATE,),
    "reject_rate": (_CURATE,),
    "probes": (_CURATE,),
    "explain": (_CURATE,),
    "build": (_CURATE,),
    "retry_failed": (_CURATE,),
    "workers": (_CURATE,),
    "limit": (_CURATE,),
    "from_": (_REVIEW,),
}
"""The options that are not for all that /curate does."""


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
        "--build FILE makes a training set of it, as /finetune dataset does; the options that\n"
        "begin with `data set:` go with it.\n"
        "\n"
        "--review shows the annotations of TABLE one by one, for you to accept, edit or reject:\n"
        "what you accept goes to gold.csv, or to the file after `save to`."
    )
    saves = (".csv", ".jsonl", ".parquet", ".json", ".md", ".html")

    class Options(DatasetOptions):
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

        personas: Path | None = Field(
            None, description="a YAML file with another panel than the five that ship"
        )
        min_votes: int = Field(3, ge=1, description="votes that keep an annotation")
        calibrate: bool = Field(
            False, description="set the thresholds by this table, for the runs that follow too"
        )
        reject_rate: float = Field(
            0.3, gt=0, lt=1, description="with --calibrate, the share to be rejected"
        )
        probes: int = Field(
            8, ge=1, le=1000, description="known-bad annotations of each kind that are mixed in"
        )
        explain: bool = Field(False, description="ask for a reason for each rejected annotation")
        retry_failed: bool = Field(
            False, description="do again what failed before, and nothing else"
        )
        workers: int | None = Field(
            None, ge=1, le=256, description="annotations at once; default: what the model serves"
        )
        limit: int | None = Field(None, ge=1, description="the first N rows alone")
        build: Path | None = Field(
            None, description="also make a training set of this run: a .jsonl beside its manifest"
        )
        review: bool = Field(False, description="judge them yourself, one by one")
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
        case = _REVIEW if call.options.review else _CURATE
        if wrong := misplaced(call.options, _GOES_WITH, case):
            raise UsageError(f"{wrong[0]} is for {' or '.join(wrong[1])}, and this is {case}")
        _refuse_alone(call)
        if call.source == "stdin":  # a whole table, which is no path
            raise UsageError("stdin is not read", hint="Give the name of a file, or `corpus`.")
        framework = chosen(call.options.framework, call.frameworks)
        if case == _REVIEW:
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
    for field in DatasetOptions.model_fields:
        if field in given and options.build is None:
            raise UsageError(f"--{field.replace('_', '-')} goes with --build FILE")
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
