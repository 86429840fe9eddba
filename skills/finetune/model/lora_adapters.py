"""Read LoRA adapters from a folder of peft or a GGUF, and load them to continue training.

    adapter = read_adapter(folder)              # does not import peft
    adapter = open_start(context, facts)        # None for a new adapter
    load_into(model, adapter)

Only plain LoRA, W + s B A, is supported. Other settings of peft are refused, since llama.cpp's
converter would silently drop them. llama.cpp supports only the scale s = alpha / r, with the same
alpha for all layers (its src/llama-adapter.h).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError, ModelUnavailable
from harness.models.gguf_file import lora_pairs, open_gguf
from harness.models.registry import Registry
from harness.support.bounded_files import file_sha256, read_json
from harness.support.process import require
from harness.support.text_input import at_home, is_file, is_folder, reading
from skills.finetune.model.base_shapes import BaseFacts, read_header
from skills.finetune.recipe import Recipe, overridden
from skills.finetune.run_folder import StageContext

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
A, B = ".lora_A.weight", ".lora_B.weight"
UNSUPPORTED = {
    "use_rslora": "rank-stabilized LoRA",
    "use_dora": "DoRA",
    "use_qalora": "QALoRA",
    "lora_bias": "its own biases",
    "modules_to_save": "whole layers that were trained",
    "trainable_token_indices": "tokens that were trained",
    "target_parameters": "parameters that are not layers",
    "rank_pattern": "ranks that differ between layers",
    "alpha_pattern": "scales that differ between layers",
    "layer_replication": "repeated layers",
    "fan_in_fan_out": "transposed layers",
    "alora_invocation_tokens": "an adapter that is activated by tokens",
    "corda_config": "a base changed by CorDA",
    "loftq_config": "a base changed by LoftQ",
}
"""Settings of peft that a merge or a GGUF would not reproduce, with their meaning in words."""
PERMUTED = ("q_proj", "k_proj")
"""Layers whose rows have another order in a GGUF of the architecture llama than in transformers.

In a rotary embedding, llama.cpp pairs adjacent rows of a head; transformers pairs each row of the
first half of a head with a row of the second half.
"""
INITS = (True, False, "gaussian", "orthogonal", "eva")
"""The values of init_lora_weights that leave the base unchanged."""


@dataclass(frozen=True, slots=True)
class LoraAdapter:
    """A plain LoRA adapter: W + scale * B A.

    Attributes:
        path: the folder of peft, or the GGUF.
        shapes: the shape (outputs, inputs) of each adapted layer, by its name in transformers.
        matrices: a function that returns the matrices A (r, inputs) and B (outputs, r) of a layer,
            as tensors or arrays.
    """

    path: Path
    r: int
    alpha: float
    shapes: Mapping[str, tuple[int, int]]
    matrices: Callable[[str], tuple[Any, Any]]

    @property
    def scale(self) -> float:
        return self.alpha / self.r


def read_adapter(folder: Path) -> LoraAdapter:
    """Return the adapter in a folder of peft.

    Raises:
        InputError: the adapter is missing, damaged, or not plain LoRA.
    """

    def matrices(layer: str) -> tuple[Any, Any]:
        from safetensors import safe_open

        with safe_open(folder / WEIGHTS, framework="pt") as file:
            a, b = (file.get_tensor(f"{PREFIX}{layer}{side}") for side in (A, B))
        return a, b

    for path in (folder / CONFIG, folder / WEIGHTS):
        if not path.is_file():
            raise InputError(
                f"there is no adapter: {path.name} is missing",
                where=str(folder),
                hint="`/finetune train` writes an adapter.",
            )
    try:
        config = read_json(folder / CONFIG)
        _check(config, folder / CONFIG)
        r = int(config["r"])
        shapes = _shapes(folder / WEIGHTS, r)
        return LoraAdapter(folder, r, float(config["lora_alpha"]), shapes, matrices)
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as exc:
        reason = f"{exc} is missing" if isinstance(exc, KeyError) else str(exc)
        raise InputError(
            f"the adapter cannot be read: {reason}",
            where=str(folder),
            hint="`/finetune train` writes the adapter again.",
        ) from exc


def _check(config: Mapping[str, Any], path: Path) -> None:
    """Raise InputError if the config of peft describes more than plain LoRA."""
    found = [f"{name} ({meaning})" for name, meaning in UNSUPPORTED.items() if config.get(name)]
    if config.get("peft_type") != "LORA":
        found.append(f"peft_type {config.get('peft_type')}")
    if config.get("bias", "none") != "none":
        found.append(f"bias {config['bias']} (trained biases of the base)")
    if config.get("init_lora_weights", True) not in INITS:
        found.append(f"init_lora_weights {config['init_lora_weights']} (a changed base)")
    if found:
        raise InputError(
            f"is more than plain LoRA: {', '.join(found)}",
            where=str(path),
            hint="A merge loses these settings. Only plain LoRA of linear layers is supported.",
        )


def _shapes(path: Path, r: int) -> dict[str, tuple[int, int]]:
    """Return the shape (outputs, inputs) of each layer with matrices in a .safetensors file.

    Raises:
        ValueError: the file is damaged, or contains other tensors than matrices of rank `r`.
        KeyError: a layer lacks a matrix.
    """
    found = {name: tensor.shape for name, tensor in read_header(path).items()}
    layers = {name.removeprefix(PREFIX).removesuffix(A) for name in found if name.endswith(A)}
    if not layers:
        raise ValueError("it has no matrices")
    shapes = {}
    for layer in sorted(layers):
        a, b = found.pop(f"{PREFIX}{layer}{A}"), found.pop(f"{PREFIX}{layer}{B}")
        if len(a) != 2 or len(b) != 2 or a[0] != r or b[1] != r:
            raise ValueError(f"{layer} has matrices of {a} and {b}, and r is {r}")
        shapes[layer] = (b[0], a[1])
    if found:
        raise ValueError(f"{next(iter(found))} is not a LoRA matrix")
    return shapes


def read_gguf_adapter(path: Path, facts: BaseFacts) -> LoraAdapter:
    """Return the adapter in a GGUF; `facts` describe the base of the adapter.

    Raises:
        InputError: the adapter is damaged, or its layers differ in r.
    """
    import gguf

    try:
        pairs = lora_pairs(path)
        architecture = open_gguf(path).values["general.architecture"]
        kind = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    except (ModelUnavailable, KeyError) as exc:
        reason = exc.message if isinstance(exc, ModelUnavailable) else str(exc)
        raise InputError(f"the adapter cannot be read: {reason}", where=str(path)) from exc
    ranks = {len(a): scale for a, _, scale in pairs.values()}
    if len(ranks) != 1:
        raise InputError(
            f"its layers have r {', '.join(map(str, sorted(ranks))) or 'none'}",
            where=str(path),
            hint="Training continues only from an adapter whose layers all have the same r.",
        )
    ((r, scale),) = ranks.items()
    names = gguf.get_tensor_name_map(kind, facts.layers)
    layers = {f"{names.get_name(layer)}.weight": layer for layer in facts.layer_shapes}
    matrices = {}
    for name, (a, b, _) in pairs.items():
        layer = layers.get(name, name)
        heads = facts.heads if layer.endswith("q_proj") else facts.kv_heads
        is_permuted = architecture == "llama" and layer.endswith(PERMUTED)
        # The rows of an adapter of another base may not fit; `open_start` refuses such an adapter.
        if is_permuted and len(b) % (2 * heads) == 0:
            b = b.reshape(heads, -1, 2, b.shape[1]).swapaxes(1, 2).reshape(b.shape)
        matrices[layer] = a, b
    shapes = {layer: (b.shape[0], a.shape[1]) for layer, (a, b) in matrices.items()}
    return LoraAdapter(path, r, scale * r, shapes, matrices.__getitem__)


def start_path(context: StageContext) -> Path | None:
    """Return the path of the adapter to start from; None for a new adapter.

    A file of the registry is fetched if necessary.

    Raises:
        InputError: the adapter does not exist, or is in the folder of the run itself.
        ModelError: a file of the registry is missing, or has another digest.
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
        folders = path, path / context.run_dir.adapter.name  # `path` may be the folder of a run
        path = next((folder for folder in folders if (folder / CONFIG).is_file()), None)
    if path is None:
        raise InputError(
            f"there is no adapter {name!r} to continue from",
            hint="`adapter.start_from` is the path of an adapter (a PEFT folder or a GGUF file) "
            "or the id of a model with an adapter. `/models` lists the models.",
        )
    if path.resolve().parent == context.run_dir.folder.resolve():
        raise InputError(
            "is in the folder of the run that would continue from it",
            where=str(path),
            hint="Name another folder for the new run with --out.",
        )
    return path


def with_absolute_start(recipe: Recipe, registry: Registry) -> Recipe:
    """Return the recipe, with an absolute path if `start_from` is the path of a file or folder."""
    name = recipe.adapter.start_from
    if name is None or name in registry.models or name in registry.files:
        return recipe
    path = _existing(name)
    return recipe if path is None else overridden(recipe, {"adapter.start_from": str(path)})


def start_digest(context: StageContext) -> str | None:
    """Return the SHA-256 of the weights to start from, or None for a new adapter.

    Raises:
        InputError: the weights cannot be read; also as for `start_path`.
        ModelError: as for `start_path`.
    """
    if (path := start_path(context)) is None:
        return None
    weights = path / WEIGHTS if path.is_dir() else path
    with reading(weights):
        return file_sha256(weights)


def open_start(context: StageContext, facts: BaseFacts) -> LoraAdapter | None:
    """Return the adapter to continue from, checked against the recipe; None for a new adapter.

    Raises:
        InputError: the adapter is damaged, not plain LoRA, or does not fit the base or the recipe;
            also as for `start_path`.
        ModelError: as for `start_path`.
        UsageError: the adapter is a folder, but the finetune extra is not installed.
    """
    if (path := start_path(context)) is None:
        return None
    adapter, shapes = read_start(path, facts), facts.layer_shapes
    for layer, shape in adapter.shapes.items():
        if (of_base := shapes.get(layer)) != shape:
            raise InputError(
                f"has {_sizes(shape)} for {layer}, and {facts.name} has {_sizes(of_base)}",
                where=str(adapter.path),
                hint="The adapter was trained on another base: --base names the base to train.",
            )
    recipe, names = context.recipe.adapter, facts.targets(context.recipe.adapter.targets)
    wanted = {layer for layer in shapes if layer.rpartition(".")[2] in names}
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
                hint=f"--set 'adapter.{name}={shown}' continues with the adapter unchanged.",
            )
    return adapter


def read_start(path: Path, facts: BaseFacts) -> LoraAdapter:
    """Return the adapter in a folder or a GGUF; `facts` describe the base of the adapter.

    Raises:
        InputError: the adapter is damaged, or not plain LoRA.
        UsageError: the adapter is a folder, but the finetune extra is not installed.
    """
    if path.is_dir():
        require("safetensors")
        return read_adapter(path)
    return read_gguf_adapter(path, facts)


def load_into(model: Any, adapter: LoraAdapter) -> None:
    """Copy the weights of an adapter into a model with a new adapter on the same layers."""
    import torch

    weights = dict(model.named_parameters())
    with torch.no_grad():
        for layer in adapter.shapes:
            for side, values in zip((A, B), adapter.matrices(layer), strict=True):
                name = f"{PREFIX}{layer}{side.removesuffix('.weight')}.default.weight"
                # Copy the array, which may be a read-only map of the file.
                tensor = values if isinstance(values, torch.Tensor) else torch.tensor(values)
                weights[name].copy_(tensor)


def _existing(name: str) -> Path | None:
    """Return the absolute path of a file or folder, or None if `name` does not exist."""
    path = at_home(name).absolute()
    return path if is_file(path) or is_folder(path) else None


def _sizes(shape: tuple[int, int] | None) -> str:
    return "nothing" if shape is None else f"{shape[1]} to {shape[0]}"
