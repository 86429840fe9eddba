"""The skill /finetune. Everything it needs to work is imported when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from harness.errors import UsageError
from harness.hookspecs import RegisterSkill, hookimpl
from harness.skills import Call, Result, Skill, SkillOptions
from skills.finetune.dataset_options import DatasetOptions


class Finetune(Skill):
    name = "finetune"
    summary = "Make training data of annotations, for a model that annotates"
    usage = "TEXT"
    details = (
        "  dataset --gold FILE --agent FILE [--curated FILE] save to train.jsonl\n"
        "\n"
        "Of each paper there is one row: gold stands over curated, curated over agent. Rows that\n"
        "do not have all moves and an abstract, papers of --dev and --test, and abstracts that\n"
        "are nearly the same are left out; train.manifest.json beside it says which, and why."
    )
    text = "optional"
    subcommands: ClassVar[dict[str, str]] = {
        "dataset": "put gold, agent and curated annotations together for training",
    }
    saves = (".jsonl",)

    class Options(DatasetOptions):
        agent: tuple[Path, ...] = Field(
            (), description="data set: a table annotated by a model; may be repeated"
        )
        curated: tuple[Path, ...] = Field(
            (), description="data set: a table of those that /curate kept; may be repeated"
        )
        abstract_column: str | None = Field(None, description="the tables' column of abstracts")
        id_column: str | None = Field(None, description="the tables' column of ids")
        framework: Path | None = Field(
            None, description="a YAML file with other moves than the eight that ship"
        )
        db: Path | None = Field(None, description="the corpus database, instead of your own")

        @property
        def inputs(self) -> tuple[Path, ...]:
            return (*super().inputs, *self.agent, *self.curated)

    def companions(
        self, target: Path, options: SkillOptions, subcommand: str
    ) -> Mapping[str, Path]:
        from skills.finetune.dataset_manifest import manifest_path

        return {"manifest": manifest_path(target)}

    def run(self, call: Call) -> Result:
        if call.subcommand != "dataset":
            word = call.text.split(maxsplit=1)[:1]
            raise UsageError(
                f"/finetune has no subcommand {word[0][:40]!r}"
                if word
                else "/finetune needs a subcommand",
                hint=f"It has {', '.join(self.subcommands)}.",
            )
        from skills.finetune.dataset_command import make_dataset

        return make_dataset(call)


@hookimpl
def register_skills(register: RegisterSkill) -> None:
    register(Finetune())
