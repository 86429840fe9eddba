"""Define the skill /finetune; the modules of its stages are imported when a command runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from harness.api.hookspecs import RegisterSkill, hookimpl
from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.errors import UsageError
from harness.models.hub import HubPush
from skills.corpus.options import ColumnOptions, DatabaseOptions, HubOptions, ReportOptions
from skills.finetune.dataset.dataset_options import DatasetOptions
from skills.nanda.framework import FrameworkOption
from skills.reporting.outputs import Output

READER = "a reader"
"""The name of the variant of /finetune that `--reader` selects instead of a subcommand."""


class DataOptions(DatasetOptions, ColumnOptions, DatabaseOptions):
    agent: tuple[Path, ...] = Field((), description="a table annotated by a model; may be repeated")
    curated: tuple[Path, ...] = Field(
        (), description="a table of the annotations that /curate kept; may be repeated"
    )

    @property
    def inputs(self) -> tuple[Path, ...]:
        return (*super().inputs, *self.agent, *self.curated)


class HeldOutOptions(SkillOptions):
    dev: tuple[str, ...] = Field(
        (), description="the file of the dev rows, on which the dev loss is measured"
    )


class ProcessOptions(SkillOptions):
    processes: int | None = Field(
        None,
        ge=1,
        description="number of training processes (default: 1), each with its own GPU; on a CPU, "
        "the processes share the cores",
    )
    sharding: Literal["fsdp"] | None = Field(
        None,
        description="divide the base among the processes; needed if the base does not fit on one "
        "GPU",
    )


class PlanOptions(HeldOutOptions, ProcessOptions, ReportOptions):
    """The options of `/finetune plan`."""


class TrainOptions(HeldOutOptions, ProcessOptions):
    resume: bool = Field(False, description="continue from the latest complete checkpoint")
    checkpoint: Path | None = Field(
        None, description="continue from this checkpoint of the run, such as OUT/checkpoint-300"
    )
    track: Literal["trackio", "mlflow", "wandb", "tensorboard"] | None = Field(
        None,
        description="the tracker that records the measurements; without --track-to, they stay on "
        "this machine",
    )
    track_to: str | None = Field(
        None,
        description="the server that receives the measurements, or for trackio a Space of the "
        "Hugging Face Hub",
    )


class GgufOptions(SkillOptions):
    llama_cpp: Path | None = Field(
        None, description="a llama.cpp checkout, instead of the installed converters"
    )
    lora_type: Literal["f32", "f16"] | None = Field(
        None, description="precision of the adapter's GGUF: f32 (default), or f16 for half the size"
    )


class NameOptions(SkillOptions):
    as_name: str | None = Field(None, description="name of the model in the registry and in Ollama")


class RegisterOptions(NameOptions):
    default: bool = Field(
        False, description="make the model the default of /annotate, even if it is not better"
    )


class OllamaOptions(NameOptions):
    host: str | None = Field(
        None,
        description="the Ollama server that receives the model; default: the server of "
        "OLLAMA_HOST or of this machine, if your registry names it or you agree in a session",
    )


class RunOptions(TrainOptions, GgufOptions, OllamaOptions, RegisterOptions):
    """The options of `/finetune` without a subcommand, which performs all stages."""


class ReaderOptions(NameOptions, ColumnOptions):
    reader: bool = Field(
        False, description="train the reader of /annotate on an annotated table, in minutes"
    )


class ModelPushOptions(HubOptions):
    evaluation: Path | None = Field(
        None,
        description="the eval.json of /evaluate with the figures for the card (default: eval.json "
        "in the run's folder)",
    )
    evaluated_on: str | None = Field(
        None,
        description="the dataset on the Hub that --evaluation was measured on, "
        "USER/REPO[@REVISION]",
    )
    trained_on: tuple[str, ...] = Field(
        (), description="a dataset on the Hub that the model was trained on; may be repeated"
    )


class Stages(Output):
    """The result of one stage, or of all stages of a run."""

    out: str = Field(description="the folder of the run")
    stages: dict[str, dict[str, Any]] = Field(
        description="the results of each stage by name; `seconds` is its duration, `outputs` its "
        "files"
    )


class Plan(Output):
    """The result of `/finetune plan`; sizes are in bytes, times in seconds."""

    recipe: dict[str, Any]
    adapted: list[str] = Field(description="a sentence for each setting changed for this machine")
    base: dict[str, Any]
    rows: dict[str, Any]
    steps: dict[str, Any]
    memory: dict[str, Any]
    disk: dict[str, Any]
    time: dict[str, Any]
    notes: list[str]
    refusals: list[str] = Field(description="the reasons why the run cannot start on this machine")


class Unregistered(Output):
    """The result of `/finetune unregister`."""

    registry: str
    name: str
    files: list[str]
    asked_first: str | None = Field(
        description="the model that /annotate now tries first; None if no model serves it"
    )
    ollama: list[str]


class Manifest(Output):
    """The manifest of a training set: counts of rows by source, and the rows that are left out."""

    manifest: int
    rows: int
    sha256: str
    counts: dict[str, dict[str, Any]] = Field(
        description="for each source, the number of rows read, written, and left out for each "
        "reason",
    )
    held_out: list[dict[str, Any]]
    tokens: dict[str, Any]
    left_out: list[dict[str, Any]]


OUTPUTS: dict[str, type[BaseModel]] = {
    "": Stages,
    "plan": Plan,
    "unregister": Unregistered,
    "push": HubPush,
}


class Finetune(Skill):
    name = "finetune"
    summary = "Train a model on annotations, and register it for /annotate"
    usage = "TRAIN.jsonl|TABLE"
    details = (
        "TRAIN.jsonl is a training set. The whole run prepares it, plans, trains, merges, writes\n"
        "GGUF files, creates the model in Ollama if you agree, registers the model, and makes it\n"
        "the default of /annotate if it is better on held-out gold:\n"
        "  dataset --gold FILE --agent FILE [--curated FILE] save to train.jsonl\n"
        "  plan train.jsonl --preset smollm2-cpu\n"
        "  train.jsonl --preset smollm2-cpu --out ft\n"
        "\n"
        "`gold.csv --reader --as-name my-annotator` trains the reader, which finds moves, on a\n"
        "table of 20 or more reviewed papers. The training takes minutes on a CPU. The new reader\n"
        "is registered if it is shown to make more right decisions on held-out papers than the\n"
        "reader that training started from, or with --force. Repeat the line to continue a\n"
        "stopped run.\n"
        "\n"
        "A single stage takes the folder of a run: `merge ft`. A stage whose inputs are unchanged\n"
        "is skipped. `--resume` continues an interrupted training with its settings; `--force`\n"
        "starts again, and moves the earlier training to OUT/earlier-1.\n"
        "\n"
        "A data set has one row per paper: gold overrides curated, and curated overrides agent.\n"
        "Rows that lack the abstract or a move, papers of --dev and --test, and\n"
        "near-duplicate abstracts are left out; train.manifest.json lists them with reasons."
    )
    text = "optional"
    subcommands: ClassVar[dict[str, str]] = {
        "dataset": "build a training set from gold, agent and curated annotations",
        "prepare": "split the rows and tokenize them",
        "plan": "show the resources that a run needs, and whether this machine has them",
        "train": "train the adapter",
        "merge": "merge the adapter into the base",
        "gguf": "write model and adapter for llama.cpp",
        "quantize": "write the model in fewer bits",
        "modelfile": "write the Modelfile for Ollama",
        "ollama": "create the model in Ollama, and verify it",
        "register": "add the model to your registry",
        "compare": "make the model the default of /annotate if it is better",
        "push": "push a registered model to the Hugging Face Hub, with a card, if you agree",
        "unregister": "remove a model from your registry, and from Ollama if you agree",
    }
    saves = (".jsonl",)
    formats = False  # a training set has only one format
    output = OUTPUTS
    output_summary: ClassVar[dict[str, type[Manifest]]] = {"dataset": Manifest}

    class Options(  # two of these classes define `dev`: the first definition counts
        RunOptions, ReportOptions, DataOptions, ReaderOptions, ModelPushOptions
    ):
        manner: ClassVar[frozenset[str]] = frozenset(
            {"resume", "checkpoint", "processes", "sharding", "host", "llama_cpp", "track"}
            | {"track_to"}
        )

        framework: FrameworkOption = None
        out: Path = Field(Path("finetune_output"), description="folder of the run")
        preset: str | None = Field(
            None, description="a shipped recipe: lesson (the default), all-linear, smollm2-cpu"
        )
        recipe: Path | None = Field(None, description="a recipe as a YAML file")
        base: str | None = Field(None, description="the model to train")
        start_from: str | None = Field(
            None,
            description="an adapter to continue from: nanda-annotator, a PEFT folder, or a GGUF",
        )
        epochs: float | None = Field(
            None, gt=0, description="number of passes over the training rows"
        )
        batch: int | None = Field(None, ge=1, description="number of rows per batch")
        accumulation: int | None = Field(
            None, ge=1, description="number of batches per optimizer step"
        )
        learning_rate: float | None = Field(None, gt=0, description="the highest learning rate")
        max_length: int | None = Field(None, ge=64, description="maximum number of tokens of a row")
        max_steps: int | None = Field(None, ge=1, description="maximum number of steps")
        seed: int | None = Field(
            None,
            ge=0,
            description="seed of the choice of dev rows, of the order of rows, of the weights of a "
            "new adapter, and of dropout",
        )
        name: str | None = Field(
            None,
            description="name of the model and its files (default: the name in the recipe, or "
            "else the name of the folder)",
        )
        set: tuple[str, ...] = Field(
            (),
            description="any other setting of the recipe, such as training.warmup=0.1; may be "
            "repeated",
        )
        adapter: bool = Field(
            False, description="create the Ollama model from the base and the adapter, unmerged"
        )

        @property
        def run_folder(self) -> Path:
            """The folder of the run: --out, or the parent of --checkpoint if --out is not given."""
            if self.checkpoint is not None and "out" not in self.model_fields_set:
                return self.checkpoint.parent
            return self.out

    variants: ClassVar[dict[str, type[SkillOptions]]] = {
        "": RunOptions,
        READER: ReaderOptions,
        "dataset": DataOptions,
        "prepare": HeldOutOptions,
        "plan": PlanOptions,
        "train": TrainOptions,
        "gguf": GgufOptions,
        "ollama": OllamaOptions,
        "register": RegisterOptions,
        "compare": NameOptions,
        "push": ModelPushOptions,
    }

    _recipe = frozenset(Options.model_fields) - {"adapter"}
    shared: ClassVar[dict[str, frozenset[str]]] = {
        "dataset": frozenset({"framework"}),
        "unregister": frozenset(),
        "push": frozenset(),
        **dict.fromkeys(("prepare", "plan", "train", "merge", "gguf", "quantize"), _recipe),
        **dict.fromkeys(("modelfile", "register", "compare"), _recipe),
    }

    def variant(self, call: Call) -> str:
        return READER if call.options.reader and not call.subcommand else call.subcommand

    def companions(
        self, target: Path, options: SkillOptions, subcommand: str
    ) -> Mapping[str, Path]:
        from skills.finetune.dataset_command import manifest_path

        return {"manifest": manifest_path(target)}

    def completions(self, option: str, subcommand: str) -> Mapping[str, str]:
        if option != "--preset":
            return {}
        from skills.finetune.recipe import presets

        return dict.fromkeys(presets(), "")

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        assert isinstance(options, Finetune.Options)
        if subcommand in ("dataset", "plan"):  # `dataset` writes only the named targets
            return ""
        if subcommand in ("register", "compare"):
            return "changes your registry of models"
        if subcommand == "push":
            return f"sends the model to {options.to} on the Hugging Face Hub"
        if subcommand == "unregister":
            return "changes your registry of models, and may remove the model from Ollama"
        if options.reader:
            return f"trains a reader in {options.out} and registers it"
        changed = [f"writes the model's files ({self.subcommands.get(subcommand, '')})"]
        if subcommand in ("", "train"):
            changed = [f"trains a model in {options.out}, which may take hours"]
        if not subcommand:
            changed += ["registers it"]
        changed += [f"runs the code of {options.llama_cpp}"] * bool(options.llama_cpp)
        changed += [f"sends the model to {options.host}"] * bool(options.host)
        changed += [f"sends its measurements to {options.track_to}"] * bool(options.track_to)
        return " and ".join(changed)

    def run(self, call: Call) -> Result:
        case = call.subcommand
        if call.targets and case != "dataset":
            raise UsageError(
                f"/finetune {case}".rstrip() + " writes its files into a folder",
                hint="Name the folder with --out.",
            )
        if case == "dataset":
            from skills.finetune.dataset_command import make_dataset

            return make_dataset(call)
        if case == "unregister":
            from skills.finetune.export.register import unregister

            return unregister(call, call.text.strip())
        if case == "push":
            from skills.finetune.export.model_card import push

            return push(call)
        if call.options.reader:
            from skills.finetune import reader

            return reader.run(call)
        from skills.finetune import pipeline

        return pipeline.show_plan(call) if case == "plan" else pipeline.run(call)


@hookimpl
def register_skills(register: RegisterSkill) -> None:
    register(Finetune())
