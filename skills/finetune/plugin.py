"""The skill /finetune. Everything it needs to work is imported when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from harness.api.hookspecs import RegisterSkill, hookimpl
from harness.api.options import misplaced
from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.errors import UsageError
from skills.finetune.data.options import DatasetOptions
from skills.nanda.framework_option import FrameworkOption

_RUN = "a run"
_TRAINS = (_RUN, "prepare", "plan", "train")
_GOES_WITH = {
    **{name: ("dataset",) for name in DatasetOptions.model_fields if name != "dev"},
    **dict.fromkeys(("agent", "curated", "abstract_column", "id_column", "db"), ("dataset",)),
    "dev": ("dataset", *_TRAINS),
    "resume": (_RUN, "train"),
    "checkpoint": (_RUN, "train"),
    "host": (_RUN, "ollama"),
    "llama_cpp": (_RUN, "gguf"),
    "lora_type": (_RUN, "gguf"),
    "as_name": (_RUN, "ollama", "register"),
}
"""The options that are not for all that /finetune does."""


class Finetune(Skill):
    name = "finetune"
    summary = "Train a model on annotations, and put it where /annotate finds it"
    usage = "TRAIN.jsonl"
    details = (
        "TRAIN.jsonl is a training set; the whole run prepares it, plans, trains, merges, writes\n"
        "GGUF files, makes the model at Ollama where one answers, and registers it:\n"
        "  dataset --gold FILE --agent FILE [--curated FILE] save to train.jsonl\n"
        "  plan train.jsonl --preset smollm2-cpu\n"
        "  train.jsonl --preset smollm2-cpu --out ft\n"
        "\n"
        "A stage alone takes the folder that a run was begun in: `merge ft`. What has not changed\n"
        "is not done again. `--resume` goes on with a training that was stopped, by what it was\n"
        "begun with; `--force` begins anew, and moves what was trained to OUT/earlier-1.\n"
        "\n"
        "Of each paper a data set has one row: gold stands over curated, curated over agent. Rows\n"
        "that do not have all moves and an abstract, papers of --dev and --test, and abstracts\n"
        "that are nearly the same are left out; train.manifest.json beside it says which, and why."
    )
    text = "optional"
    subcommands: ClassVar[dict[str, str]] = {
        "dataset": "put gold, agent and curated annotations together for training",
        "prepare": "part the rows and turn them into tokens",
        "plan": "say what a run takes, and whether this machine has it",
        "train": "train the adapter",
        "merge": "merge it into the base",
        "gguf": "write model and adapter for llama.cpp",
        "quantize": "write the model in fewer bits",
        "modelfile": "write what Ollama is told",
        "ollama": "make the model at Ollama, and verify it",
        "register": "make it known to /annotate",
        "unregister": "take a model out of your registry",
    }
    saves = (".jsonl",)
    formats = False  # a training set has one form, and its manifest names the file

    class Options(DatasetOptions):
        manner: ClassVar[frozenset[str]] = frozenset({"resume", "checkpoint", "host", "llama_cpp"})

        agent: tuple[Path, ...] = Field(
            (), description="data set: a table annotated by a model; may be repeated"
        )
        curated: tuple[Path, ...] = Field(
            (), description="data set: a table of those that /curate kept; may be repeated"
        )
        abstract_column: str | None = Field(None, description="the tables' column of abstracts")
        id_column: str | None = Field(None, description="the tables' column of ids")
        framework: FrameworkOption = None
        dev: tuple[str, ...] = Field(
            (),
            description=f"{DatasetOptions.model_fields['dev'].description}. A run: the data set of "
            "the dev loss",
        )
        db: Path | None = Field(None, description="the corpus database, instead of your own")
        out: Path = Field(Path("finetune_output"), description="the folder of the run")
        preset: str | None = Field(
            None, description="a recipe that ships: lesson (the default), all-linear, smollm2-cpu"
        )
        recipe: Path | None = Field(None, description="a recipe of your own, a YAML file")
        base: str | None = Field(None, description="the model to train")
        start_from: str | None = Field(
            None, description="an adapter to go on from: nanda-annotator, a folder of peft, a GGUF"
        )
        epochs: float | None = Field(None, gt=0, description="times each row is seen")
        batch: int | None = Field(None, ge=1, description="rows at once")
        accumulation: int | None = Field(None, ge=1, description="batches in a step")
        learning_rate: float | None = Field(None, gt=0, description="the highest learning rate")
        max_length: int | None = Field(None, ge=64, description="tokens of a row at most")
        max_steps: int | None = Field(None, ge=1, description="end after so many steps")
        seed: int | None = Field(
            None, ge=0, description="of the order of rows, the adapter's first values, dropout"
        )
        name: str | None = Field(None, description="of the model; default: nanda-annotator")
        as_name: str | None = Field(
            None, description="make and register the model under this name alone"
        )
        set: tuple[str, ...] = Field(
            (), description="any other setting of the recipe, training.warmup=0.1; may be repeated"
        )
        resume: bool = Field(False, description="go on from the newest checkpoint that is whole")
        checkpoint: Path | None = Field(
            None, description="go on from this one, OUT/checkpoint-300, in the folder it lies in"
        )
        adapter: bool = Field(False, description="ollama: the base and the adapter, not merged")
        host: str | None = Field(None, description="the Ollama server; default: OLLAMA_HOST")
        llama_cpp: Path | None = Field(
            None, description="a llama.cpp checkout, instead of the converters that are installed"
        )
        lora_type: Literal["f32", "f16"] | None = Field(
            None, description="how the adapter alone is kept: as trained, or in half the size"
        )

        @property
        def inputs(self) -> tuple[Path, ...]:
            return (*super().inputs, *self.agent, *self.curated)

    def companions(
        self, target: Path, options: SkillOptions, subcommand: str
    ) -> Mapping[str, Path]:
        from skills.finetune.data.manifest import manifest_path

        return {"manifest": manifest_path(target)}

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        assert isinstance(options, Finetune.Options)
        if subcommand in ("dataset", "plan"):  # what the first writes are its targets
            return ""
        if subcommand in ("register", "unregister"):
            return "changes your registry of models"
        changed = [f"writes the model's files ({self.subcommands.get(subcommand, '')})"]
        if subcommand in ("", "train"):
            changed = [f"trains a model in {options.out}, which may take hours"]
        if not subcommand:
            changed += ["registers it"]
        changed += [f"runs the code of {options.llama_cpp}"] * bool(options.llama_cpp)
        changed += [f"sends the model to {options.host}"] * bool(options.host)
        return " and ".join(changed)

    def run(self, call: Call) -> Result:
        case = call.subcommand or _RUN
        if wrong := misplaced(call.options, _GOES_WITH, case):
            raise UsageError(f"{wrong[0]} is for {' or '.join(wrong[1])}, and this is {case}")
        if call.targets and case != "dataset":
            raise UsageError(
                f"/finetune {call.subcommand} keeps what it makes in a folder".replace("  ", " "),
                hint="--out names it.",
            )
        if case == "dataset":
            from skills.finetune.data.command import make_dataset

            return make_dataset(call)
        if case == "unregister":
            from skills.finetune.deploy.register import unregister

            return unregister(call, call.text.strip())
        from skills.finetune.run import pipeline

        if case == _RUN:
            return pipeline.run_all(call)
        return pipeline.show_plan(call) if case == "plan" else pipeline.run_stage(call)


@hookimpl
def register_skills(register: RegisterSkill) -> None:
    register(Finetune())
