"""The adapter from which training continues, if the recipe names one.

    adapter = open_start(context, facts)        # None if the recipe names none
    load_into(model, adapter)

It is a folder as peft saves it, or the GGUF of an adapter: that of a model of the registry, a file
of the registry, or a path.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from harness.errors import InputError, UsageError
from harness.models.registry import Registry
from harness.runs import targets
from harness.support.process import require
from skills.finetune.formats.lora_adapter import (
    CONFIG,
    PREFIX,
    WEIGHTS,
    A,
    B,
    LoraAdapter,
    read_adapter,
)
from skills.finetune.model.adapter_reader import read_gguf_adapter
from skills.finetune.model.facts import BaseFacts
from skills.finetune.run.recipe import Adapter, Recipe, overridden
from skills.finetune.run.stage import StageContext


def find(context: StageContext) -> Path | None:
    """Return the path of the adapter that the recipe names, or None for a new adapter.

    Raises:
        InputError: it does not exist, or is in the folder of the run itself.
        ModelError: it is a file of the registry that is missing or has another digest.
    """
    name = context.recipe.adapter.start_from
    if name is None:
        return None
    registry = context.call.models.registry
    if (model := registry.models.get(name)) is not None:
        adapters = [place.adapter for place in model.serve if place.adapter is not None]
        if not adapters:
            raise InputError(
                f"the model {name} does not have an adapter to continue from",
                hint="For a model that was trained here, name the folder of its run.",
            )
        name = adapters[0]
    path = context.files.ensure(name) if name in registry.files else _existing(name)
    if path is not None and path.is_dir():
        folders = path, path / context.run_dir.adapter.name  # of peft, or of a run
        path = next((folder for folder in folders if (folder / CONFIG).is_file()), None)
    if path is None:
        raise InputError(
            f"there is no adapter {name!r} to continue from",
            hint="`adapter.start_from` is a folder as peft saves an adapter, the GGUF of one, or "
            "a model of the registry that has one (`/models` lists them).",
        )
    if path.resolve().parent == context.run_dir.folder.resolve():
        raise InputError(
            "is in the folder of the run that would continue from it",
            where=str(path),
            hint="Name another folder for the new run with --out.",
        )
    return path


def anchored(recipe: Recipe, registry: Registry) -> Recipe:
    """Make the path of `start_from` absolute, so that a run can be resumed from any folder."""
    name = recipe.adapter.start_from
    if name is None or name in registry.models or name in registry.files:
        return recipe
    path = _existing(name)
    return recipe if path is None else overridden(recipe, {"adapter.start_from": str(path)})


def refuse_name(recipe: Recipe, name: str) -> None:
    """Raise UsageError if the new model would have the name of the model it continues from.

    The next run of the same line would continue from the result of this one.
    """
    if recipe.adapter.start_from in (name, f"{name}-lora"):
        raise UsageError(
            f"the new model would replace {name}, from which it continues",
            hint="Give it another name with --as-name.",
        )


def digest(context: StageContext) -> str | None:
    """Return the SHA-256 of the adapter's weights, or None for a new adapter.

    Raises:
        InputError: they cannot be read; and as `find`.
        ModelError: as `find`.
    """
    if (path := find(context)) is None:
        return None
    weights = path / WEIGHTS if path.is_dir() else path
    try:
        return targets.digest(weights)
    except OSError as exc:
        raise InputError(
            f"the adapter cannot be read: {exc.strerror or exc}", where=str(weights)
        ) from exc


def open_start(context: StageContext, facts: BaseFacts) -> LoraAdapter | None:
    """Return the adapter that the recipe names, checked against it; None for a new adapter.

    Raises:
        InputError: it is damaged, not plain LoRA, or does not fit; and as `find`.
        ModelError: as `find`.
        UsageError: it is a folder, and the finetune extra is not installed.
    """
    if (path := find(context)) is None:
        return None
    adapter = read(path, facts)
    _check_base(adapter, facts)
    _check_settings(adapter, context.recipe.adapter, facts)
    return adapter


def read(path: Path, facts: BaseFacts) -> LoraAdapter:
    """Return the adapter in a folder or a GGUF, of a base with these shapes.

    Raises:
        InputError: it is damaged, or not plain LoRA.
        UsageError: it is a folder, and the finetune extra is not installed.
    """
    if path.is_dir():
        require("safetensors")
        return read_adapter(path)
    return read_gguf_adapter(path, facts)


def load_into(model: Any, adapter: LoraAdapter) -> None:
    """Copy the weights of an adapter into a model with a new adapter of the same layers."""
    import torch

    weights = dict(model.named_parameters())
    with torch.no_grad():
        for layer in adapter.shapes:
            for side, values in zip((A, B), adapter.matrices(layer), strict=True):
                name = f"{PREFIX}{layer}{side.removesuffix('.weight')}.default.weight"
                # A copy: an array may be a read-only map of the file.
                tensor = values if isinstance(values, torch.Tensor) else torch.tensor(values)
                weights[name].copy_(tensor)


def _existing(name: str) -> Path | None:
    """Return the absolute path of this name, or None if it does not exist."""
    try:
        path = Path(name).expanduser().absolute()
        return path if path.exists() else None
    except (OSError, RuntimeError):  # too long a name; an unknown user's home
        return None


def _check_base(adapter: LoraAdapter, facts: BaseFacts) -> None:
    shapes = facts.layer_shapes
    for layer, shape in adapter.shapes.items():
        of_base = shapes.get(layer)
        if of_base != shape:
            raise InputError(
                f"has {_sizes(shape)} for {layer}, and {facts.name} has {_sizes(of_base)}",
                where=str(adapter.path),
                hint="It was trained on another base: --base names the base to train.",
            )


def _check_settings(adapter: LoraAdapter, recipe: Adapter, facts: BaseFacts) -> None:
    names = facts.targets(recipe.targets)
    wanted = {layer for layer in facts.layer_shapes if layer.rpartition(".")[2] in names}
    own = ", ".join(name for name in facts.linear if any(s.endswith(name) for s in adapter.shapes))
    layers = f"{len(adapter.shapes)} layers ({own})"
    # A GGUF stores alpha in 32 bits.
    same_alpha = math.isclose(adapter.alpha, recipe.alpha, rel_tol=1e-6)
    for same, name, has, needs, value in (
        (adapter.r == recipe.r, "r", f"r {adapter.r}", recipe.r, adapter.r),
        (same_alpha, "alpha", f"alpha {adapter.alpha:g}", f"{recipe.alpha:g}", adapter.alpha),
        (set(adapter.shapes) == wanted, "targets", layers, len(wanted), f"[{own}]"),
    ):
        if not same:
            shown = f"{value:g}" if isinstance(value, float) else value
            raise InputError(
                f"has {has}, and the recipe {needs}",
                where=str(adapter.path),
                hint=f"--set 'adapter.{name}={shown}' continues with it as it is.",
            )


def _sizes(shape: tuple[int, int] | None) -> str:
    return "nothing" if shape is None else f"{shape[1]} to {shape[0]}"
