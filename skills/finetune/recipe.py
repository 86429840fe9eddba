"""Recipes: all settings that determine the result of a training run.

    recipe = load_recipe("lesson")     # a preset of recipes/, or a path
    recipe = overridden(recipe, {"training.epochs": 2})

An unknown key is an error, and its message contains the file and the line. Settings that do not
change the result, such as the output folder, are not part of a recipe.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError

from harness.errors import InputError, UsageError, first_error
from harness.models.registry import Strict
from harness.support import yaml_files
from skills.nanda.framework import sha256_of

PRESETS = Path(__file__).with_name("recipes")
DEFAULT_PRESET = "lesson"
SETTINGS = {
    "base": "base",
    "start_from": "adapter.start_from",
    "epochs": "training.epochs",
    "batch": "training.batch",
    "accumulation": "training.accumulation",
    "learning_rate": "training.learning_rate",
    "max_length": "training.max_length",
    "max_steps": "training.max_steps",
    "seed": "training.seed",
    "name": "export.name",
}
"""For each option of /finetune that changes one setting of a recipe, the name of the setting."""


class Quantization(Strict):
    """Storage of the base's weights during training.

    Attributes:
        kind: nf4 (QLoRA; Dettmers et al. 2023, arXiv 2305.14314) or none.
        double: quantize the quantization constants as well.
        compute: the type in which training computes, and in which unquantized weights are stored.
        unpacked: unpack the NF4 weights once to the compute type, and not again in every pass.
            Training gives the same numbers in less time, but 16-bit weights need four times the
            memory. The setting is meant for a small base on a CPU, where unpacking is slow.
    """

    kind: Literal["nf4", "none"] = "nf4"
    double: bool = True
    compute: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    unpacked: bool = False


class Adapter(Strict):
    """The LoRA adapter (Hu et al. 2021, arXiv 2106.09685): W + alpha / r * B A.

    Attributes:
        targets: names of the layers with an adapter, or "all-linear" for every linear layer except
            the output.
        start_from: the adapter that training starts from, which must have the r, alpha and targets
            of the recipe; None for a new adapter. The value names a folder of peft, the folder of a
            run, the GGUF of an adapter, or a model of the registry with an adapter.
    """

    r: int = Field(16, ge=1, le=1024)
    alpha: float = Field(32, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    targets: tuple[str, ...] | Literal["all-linear"] = ("q_proj", "v_proj")
    # A value of None is not dumped, so that the digests of older recipes stay the same.
    start_from: str | None = Field(None, min_length=1, exclude_if=lambda value: value is None)


class Training(Strict):
    """Settings of the optimization.

    Attributes:
        batch: number of rows per batch; `accumulation` batches make one step.
        warmup: number of steps until the full learning rate; a number below 1 is a share of all
            steps.
        max_length: maximum number of tokens of a row, prompt and completion together; a longer row
            is an error.
        max_steps: maximum number of steps; None to train all epochs.
        checkpointing: compute activations again in the backward pass, to save memory.
        save_steps, log_steps, eval_steps: number of steps between two checkpoints, two log lines,
            and two measurements of the dev loss.
        keep: number of latest checkpoints to keep; None for all. The best checkpoint is always
            kept.
    """

    epochs: float = Field(3, gt=0)
    batch: int = Field(4, ge=1)
    accumulation: int = Field(4, ge=1)
    learning_rate: float = Field(2e-4, gt=0)
    schedule: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    warmup: float = Field(0.0, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    optimizer: Literal["adamw_torch", "adamw_8bit", "paged_adamw_32bit", "paged_adamw_8bit"] = (
        "adamw_torch"
    )
    max_length: int = Field(2048, ge=64)
    max_steps: int | None = Field(None, ge=1)
    checkpointing: bool = True
    save_steps: int = Field(100, ge=1)
    log_steps: int = Field(10, ge=1)
    eval_steps: int = Field(100, ge=1)
    keep: int | None = Field(None, ge=1)
    seed: int = Field(42, ge=0)

    @property
    def rows_per_step(self) -> int:
        return self.batch * self.accumulation


class Decisions(Strict):
    """Loss of the decision whether a move is stated, in addition to the loss of the tokens.

    Attributes:
        weight: weight of a decision, if a token has the weight 1; 0 disables this loss.
        stated: for some moves, a factor on the weight of the decision if the move is stated. A
            factor above 1 suits moves that few abstracts state: with equal weights, the model would
            hardly ever write such a move.
    """

    weight: float = Field(0.0, ge=0)
    stated: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)


class Export(Strict):
    """Settings of the exported model.

    Attributes:
        name: the name of the model in Ollama and in the registry. If the recipe has no name,
            `chosen_recipe` makes a name from the name of the run's folder.
        merge_base: the weights into which the adapter is merged: the 16-bit weights of the base, or
            these weights after quantization to NF4 and dequantization.
        quantize: the type of the quantized GGUF.
        num_ctx, num_predict, temperature: parameters of the Modelfile.
    """

    name: str = Field("nanda-annotator", pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$")
    merge_base: Literal["16bit", "nf4"] = "16bit"
    quantize: Literal["Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0"] = "Q4_K_M"
    num_ctx: int = Field(4096, ge=256)
    num_predict: int = Field(1024, ge=1)
    temperature: float = Field(0.1, ge=0)


class Recipe(Strict):
    """A complete recipe.

    Attributes:
        base: a model of the Hub in the local cache, a folder with a model, or the id of a file of
            the registry (a GGUF, which is unpacked into a folder).
        dev_share: share of the gold rows that become dev rows if there is no dev file.
    """

    version: Literal[1] = 1
    summary: str = ""
    base: str = Field("Qwen/Qwen2.5-7B-Instruct", min_length=1)
    quantization: Quantization = Quantization()
    adapter: Adapter = Adapter()
    training: Training = Training()
    decisions: Decisions = Decisions()
    dev_share: float = Field(0.1, ge=0, lt=1)
    export: Export = Export()

    @property
    def digest(self) -> str:
        """SHA-256 of all settings except the summary."""
        return sha256_of(self.model_dump(mode="json", exclude={"summary"}))


def presets() -> dict[str, Path]:
    """Return the paths of the shipped recipes by name."""
    return {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}


def load_recipe(name: str | Path) -> Recipe:
    """Return the preset with this name, or the recipe in the file with this path.

    Raises:
        UsageError: `name` is neither a preset nor an existing path, and has no suffix.
        InputError: the file cannot be read, or is not a valid recipe.
    """
    known = presets()
    if (path := known.get(str(name))) is None:
        path = Path(name).expanduser()
        if not path.suffix and not path.exists():
            raise UsageError(
                f"there is no preset {str(name)!r}",
                hint=f"Presets: {', '.join(known)}. A path ends in .yaml.",
            )
    return yaml_files.load(path, Recipe, InputError)


def overridden(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return a copy of `recipe` with the values of `changes`, such as {"training.epochs": 2}.

    Raises:
        UsageError: a value is invalid.
    """
    data = recipe.model_dump()
    for dotted, value in changes.items():
        *parents, name = dotted.split(".")
        section = data
        for parent in parents:
            section = section[parent]
        section[name] = value
    try:
        return Recipe.model_validate(data)
    except ValidationError as exc:
        raise UsageError(first_error(exc)) from exc


def chosen_recipe(options: Any, remembered: Mapping[str, Any], folder: Path) -> Recipe:
    """Return the recipe of --preset or --recipe, or else the stored or the default recipe.

    The other options then change settings of the recipe. If the recipe does not name the model,
    the name is made from the name of the folder.

    Args:
        options: the options of the command.
        remembered: the settings that are stored in `folder`; empty to ignore stored settings.
        folder: the folder of the run.

    Raises:
        UsageError: a setting or preset is invalid, or both --preset and --recipe are given.
        InputError: the stored recipe or the file of --recipe is invalid.
    """
    if options.preset and options.recipe:
        raise UsageError("--preset and --recipe cannot be used together", hint="Give one of them.")
    named = options.recipe or options.preset
    try:
        if named is None and remembered:
            found = Recipe.model_validate(remembered.get("recipe"))
        else:
            found = load_recipe(named or DEFAULT_PRESET)
    except ValidationError as exc:
        raise InputError(
            f"has no valid recipe ({first_error(exc)})",
            where=str(folder),
            hint="Name a recipe with --preset or --recipe.",
        ) from exc
    given = {dotted: getattr(options, field) for field, dotted in SETTINGS.items()}
    changes = {dotted: value for dotted, value in given.items() if value is not None}
    if "name" not in found.export.model_fields_set:
        name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
        changes = {"export.name": name or "model", **changes}
    return overridden(found, {**changes, **dict(map(_setting, options.set))})


def _setting(text: str) -> tuple[str, Any]:
    """Return the name and the parsed YAML value of a setting such as `training.warmup=0.1`.

    Raises:
        UsageError: the text is not NAME=VALUE, the setting is unknown, or the value is not YAML.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(
            f"--set: {text!r} is not NAME=VALUE", hint="For example, --set training.warmup=0.1"
        )
    settings: Any = Recipe()
    for part in name.strip().split("."):
        fields = type(settings).model_fields if isinstance(settings, BaseModel) else {}
        if part not in fields:
            hint = f"Known settings: {', '.join(fields)}." if fields else ""
            raise UsageError(f"--set: a recipe has no setting {name.strip()!r}", hint=hint)
        settings = getattr(settings, part)
    try:
        return name.strip(), yaml_files.parse(value)[1]
    except yaml.YAMLError as exc:
        raise UsageError(f"--set: {value!r} is not a YAML value") from exc
