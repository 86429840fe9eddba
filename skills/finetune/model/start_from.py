"""The adapter that training goes on from, where a recipe names one, instead of a fresh one.

    start = opened(work, facts)        # None where the recipe names none
    put_into(model, start)

It is a folder as peft saves it, or the GGUF of an adapter: that of a model of the registry, a file
of it, or one by its path.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from harness.errors import InputError, UsageError
from harness.models.registry import Registry
from harness.models.weights import FileStore
from harness.runs import targets as output
from skills.finetune.formats.lora_adapter import CONFIG, PREFIX, WEIGHTS, A, B
from skills.finetune.model.adapter_layers import layer_shapes, targets
from skills.finetune.model.adapter_reader import Start, read
from skills.finetune.model.facts import BaseFacts
from skills.finetune.run.recipe import Adapter, Recipe, overridden
from skills.finetune.run.stage import StageContext


def find(context: StageContext) -> Path | None:
    """Where the adapter is that the recipe names: a folder of peft or a GGUF; None for a fresh one.

    Raises:
        InputError: there is none of that name, or it is what the run itself writes over.
        ModelError: it is a file of the registry that is not there, or another one.
    """
    name = context.recipe.adapter.start_from
    if name is None:
        return None
    registry = context.call.models.registry
    if (model := registry.models.get(name)) is not None:
        adapters = [place.adapter for place in model.serve if place.adapter is not None]
        if not adapters:
            raise InputError(
                f"the model {name} has no adapter that training could go on from",
                hint="Of a model that was trained here, name the folder of its run.",
            )
        name = adapters[0]
    if name in registry.files:
        files = FileStore(registry.files, context.cache, context.call.screen.notice)
        return _not_own(files.ensure(name), context)
    path = _existing(name)
    if path is not None and path.is_dir():
        there = path, path / context.run_dir.adapter.name  # of peft, or of a run
        path = next((folder for folder in there if (folder / CONFIG).is_file()), None)
    if path is None:
        raise InputError(
            f"there is no adapter {name!r} to go on from",
            hint="`adapter.start_from` is a folder as peft saves an adapter, the GGUF of one, or "
            "a model of the registry that has one (`/models` lists them).",
        )
    return _not_own(path, context)


def anchored(recipe: Recipe, registry: Registry) -> Recipe:
    """The recipe with a path to go on from made absolute: a run is gone on with from any folder."""
    name = recipe.adapter.start_from
    if name is None or name in registry.models or name in registry.files:
        return recipe
    path = _existing(name)
    return recipe if path is None else overridden(recipe, {"adapter.start_from": str(path)})


def refuse_name(recipe: Recipe, name: str) -> None:
    """Refuse a name for the new model that is that of the one which it goes on from.

    The next run of the same line would go on from what this one has made.

    Raises:
        UsageError: it is.
    """
    if recipe.adapter.start_from in (name, f"{name}-lora"):
        raise UsageError(
            f"the new model would take the place of {name}, which it goes on from",
            hint="--as-name gives it a name of its own.",
        )


def _existing(name: str) -> Path | None:
    """The path of this name, absolute; None where there is nothing."""
    try:
        path = Path(name).expanduser().absolute()
        return path if path.exists() else None
    except (OSError, RuntimeError):  # too long a name; a home that nobody has
        return None


def _not_own(path: Path, context: StageContext) -> Path:
    """Refuse what the run itself moves or writes over.

    Raises:
        InputError: it lies in the folder of the run.
    """
    if path.resolve().parent == context.run_dir.folder.resolve():
        raise InputError(
            "lies in the folder of the run that would go on from it",
            where=str(path),
            hint="Name another folder for the new run with --out.",
        )
    return path


def digest(context: StageContext) -> str | None:
    """sha256 of the weights of the adapter that the recipe names; None for a fresh one.

    Raises:
        InputError: they are not there, or cannot be read; and as `find`.
        ModelError: as `find`.
    """
    if (path := find(context)) is None:
        return None
    weights = path / WEIGHTS if path.is_dir() else path
    try:
        return output.digest(weights)
    except OSError as exc:
        raise InputError(
            f"is no adapter that can be read: {exc.strerror or exc}", where=str(weights)
        ) from exc


def opened(context: StageContext, facts: BaseFacts) -> Start | None:
    """The adapter that the recipe names, which fits what is trained; None for a fresh one.

    Raises:
        InputError: it is damaged, no plain LoRA, or does not fit; and as `find`.
        ModelError: as `find`.
        UsageError: it is a folder, and the finetune extra is not installed.
    """
    if (path := find(context)) is None:
        return None
    start = read(path, facts)
    _check(start, context.recipe.adapter, facts)
    return start


def put_into(model: Any, start: Start) -> None:
    """Give a model with a fresh adapter of the same layers the values of another one."""
    import torch

    weights = dict(model.named_parameters())
    with torch.no_grad():
        for layer in start.shapes:
            for side, values in zip((A, B), start.matrices(layer), strict=True):
                name = f"{PREFIX}{layer}{side.removesuffix('.weight')}.default.weight"
                # A copy: an array may be of a file that is mapped, which cannot be written to.
                tensor = values if isinstance(values, torch.Tensor) else torch.tensor(values)
                weights[name].copy_(tensor)


def _check(start: Start, adapter: Adapter, facts: BaseFacts) -> None:
    """Refuse an adapter of another base, of another size or of other layers than is trained.

    Raises:
        InputError: saying what differs.
    """
    of_base, trained = dict(layer_shapes(facts)), targets(facts, adapter)
    for layer, shape in start.shapes.items():
        if of_base.get(layer) != shape:
            raise InputError(
                f"has {_said(shape)} for {layer}, and {facts.name} {_said(of_base.get(layer))}",
                where=str(start.path),
                hint="It was trained on another base: --base names the one to train.",
            )
    has = set(start.shapes)
    wanted = {layer for layer in of_base if layer.rpartition(".")[2] in trained}
    own = ", ".join(name for name in facts.linear if any(layer.endswith(name) for layer in has))
    for same, name, what, value in (
        (start.r == adapter.r, "r", f"r {start.r}, and the recipe {adapter.r}", start.r),
        (
            math.isclose(start.alpha, adapter.alpha, rel_tol=1e-6),  # a GGUF has it in 32 bits
            "alpha",
            f"alpha {start.alpha:g}, and the recipe {adapter.alpha:g}",
            f"{start.alpha:g}",
        ),
        (
            has == wanted,
            "targets",
            f"{len(has)} layers ({own}), and the recipe {len(wanted)}",
            f"[{own}]",
        ),
    ):
        if not same:
            raise InputError(
                f"has {what}",
                where=str(start.path),
                hint=f"--set 'adapter.{name}={value}' goes on with it as it is.",
            )


def _said(shape: tuple[int, int] | None) -> str:
    return "nothing" if shape is None else f"{shape[1]} to {shape[0]}"
