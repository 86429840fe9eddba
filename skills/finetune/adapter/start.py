"""The adapter that training goes on from, where a recipe names one, instead of a fresh one.

    start = opened(work, facts)        # None where the recipe names none
    put_into(model, start)

It is a folder as peft saves it, or the GGUF of an adapter: that of a model of the registry, a file
of it, or one by its path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import output
from harness.errors import InputError, ModelUnavailable
from harness.extras import require
from harness.files import FileStore
from harness.merging import lora_pairs
from skills.finetune.adapter.lora_adapter import CONFIG, PREFIX, WEIGHTS, A, B, read_adapter
from skills.finetune.base.facts import BaseFacts
from skills.finetune.base.files import field as gguf_field
from skills.finetune.planning.terms import targets
from skills.finetune.recipe import Adapter
from skills.finetune.work import Work

PERMUTED = ("q_proj", "k_proj")
"""Layers whose rows llama.cpp's converter puts in another order for the architecture llama, within
each head: its engine rotates neighbours, transformers the halves of a head."""


@dataclass(frozen=True, slots=True)
class Start:
    """An adapter that is there.

    Attributes:
        path: a folder of peft, or a GGUF.
        shapes: of each layer that it has, by the layer's name in transformers: (outputs, inputs).
        matrices: A, (r, inputs), and B, (outputs, r), of a layer, as tensors or arrays.
    """

    path: Path
    r: int
    alpha: float
    shapes: Mapping[str, tuple[int, int]]
    matrices: Callable[[str], tuple[Any, Any]]


def find(work: Work) -> Path | None:
    """Where the adapter is that the recipe names: a folder of peft or a GGUF; None for a fresh one.

    Raises:
        InputError: there is none of that name.
        ModelError: it is a file of the registry that is not there, or another one.
    """
    name = work.recipe.adapter.start_from
    if name is None:
        return None
    registry = work.call.models.registry
    if (model := registry.models.get(name)) is not None:
        adapters = [place.adapter for place in model.serve if place.adapter is not None]
        if not adapters:
            raise InputError(f"the model {name} has no adapter that training could go on from")
        name = adapters[0]
    if name in registry.files:
        return FileStore(registry.files, work.cache, work.call.screen.notice).ensure(name)
    path = Path(name).expanduser()
    if not path.exists():
        raise InputError(
            f"there is no adapter {name!r} to go on from",
            hint="`adapter.start_from` is a folder as peft saves an adapter, the GGUF of one, or "
            "a model of the registry that has one (`/models` lists them).",
        )
    if (path / CONFIG).is_file() or not (path / work.out.adapter.name).is_dir():
        return _elsewhere(path, work)
    return _elsewhere(path / work.out.adapter.name, work)  # the folder of a run


def _elsewhere(path: Path, work: Work) -> Path:
    """Refuse what the run itself moves or writes over.

    Raises:
        InputError: it lies in the folder of the run.
    """
    if path.resolve().parent == work.out.folder.resolve():
        raise InputError(
            "lies in the folder of the run that would go on from it",
            where=str(path),
            hint="Name another folder for the new run with --out.",
        )
    return path


def digest(work: Work) -> str | None:
    """sha256 of the weights of the adapter that the recipe names; None for a fresh one.

    Raises:
        InputError: they are not there, or cannot be read; and as `find`.
        ModelError: as `find`.
    """
    if (path := find(work)) is None:
        return None
    weights = path / WEIGHTS if path.is_dir() else path
    try:
        return output.digest(weights)
    except OSError as exc:
        raise InputError(
            f"is no adapter that can be read: {exc.strerror or exc}", where=str(weights)
        ) from exc


def opened(work: Work, facts: BaseFacts) -> Start | None:
    """The adapter that the recipe names, which fits what is trained; None for a fresh one.

    Raises:
        InputError: it is damaged, no plain LoRA, or does not fit; and as `find`.
        ModelError: as `find`.
        UsageError: it is a folder, and the finetune extra is not installed.
    """
    if (path := find(work)) is None:
        return None
    start = _of_folder(path) if path.is_dir() else _of_gguf(path, facts)
    _check(start, work.recipe.adapter, facts)
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
    """Refuse an adapter of another size, of other layers or of another base than is trained.

    Raises:
        InputError: saying what differs.
    """
    for name, has, wanted in (("r", start.r, adapter.r), ("alpha", start.alpha, adapter.alpha)):
        if has != wanted:
            raise InputError(
                f"has {name} {has:g}, and the recipe {wanted:g}",
                where=str(start.path),
                hint=f"--set adapter.{name}={has:g} goes on with it as it is.",
            )
    _check_layers(start, adapter, facts)


def _check_layers(start: Start, adapter: Adapter, facts: BaseFacts) -> None:
    of_base, trained = dict(_shapes(facts)), targets(facts, adapter)
    for layer, shape in start.shapes.items():
        if of_base.get(layer) != shape:
            raise InputError(
                f"has {_said(shape)} for {layer}, and {facts.name} {_said(of_base.get(layer))}",
                where=str(start.path),
                hint="It was trained on another base: --base names the one to train.",
            )
    has = set(start.shapes)
    wanted_layers = {layer for layer in of_base if layer.rpartition(".")[2] in trained}
    if has != wanted_layers:
        own = [name for name in facts.linear if any(layer.endswith(name) for layer in has)]
        raise InputError(
            f"is of {len(has)} layers ({', '.join(own)}), and the recipe of {len(wanted_layers)}",
            where=str(start.path),
            hint=f"--set 'adapter.targets=[{', '.join(own)}]' goes on with it as it is.",
        )


def _of_folder(path: Path) -> Start:
    require("safetensors")
    found = read_adapter(path)
    return Start(path, found.r, found.alpha, found.shapes, found.matrices)


def _of_gguf(path: Path, facts: BaseFacts) -> Start:
    """Read the GGUF of an adapter, and name and order its layers as transformers does."""
    import gguf

    try:
        pairs = lora_pairs(path)
        architecture = gguf_field(gguf.GGUFReader(path), "general.architecture")
        kind = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
        ((r, scale),) = {(len(a), scale) for a, _, scale in pairs.values()}
    except (ModelUnavailable, KeyError, OSError, ValueError) as exc:
        raise InputError(
            "is no adapter of one r that can be read: "
            f"{exc.message if isinstance(exc, ModelUnavailable) else exc}",
            where=str(path),
        ) from exc
    names = gguf.get_tensor_name_map(kind, facts.layers)
    layers = {f"{names.get_name(layer)}.weight": layer for layer, _ in _shapes(facts)}
    matrices = {}
    for name, (a, b, _) in pairs.items():
        layer = layers.get(name, name)
        if architecture == "llama" and layer.endswith(PERMUTED):
            b = _in_halves(b, facts.heads if layer.endswith("q_proj") else facts.kv_heads)
        matrices[layer] = a, b
    shapes = {layer: (b.shape[0], a.shape[1]) for layer, (a, b) in matrices.items()}
    return Start(path, r, scale * r, shapes, matrices.__getitem__)


def _in_halves(b: Any, heads: int) -> Any:
    """The rows of B in the order of transformers: those that llama.cpp has as neighbours apart."""
    if len(b) % (2 * heads):
        return b  # of another base, which is refused for its shape
    return b.reshape(heads, -1, 2, b.shape[1]).swapaxes(1, 2).reshape(b.shape)


def _shapes(facts: BaseFacts) -> Iterator[tuple[str, tuple[int, int]]]:
    """The linear layers of a base by their names in transformers: (outputs, inputs)."""
    for number in range(facts.layers):
        for name, (inputs, outputs) in facts.linear.items():
            block = "self_attn" if name[1:] == "_proj" else "mlp"
            yield f"model.layers.{number}.{block}.{name}", (outputs, inputs)


def _said(shape: tuple[int, int] | None) -> str:
    return "nothing" if shape is None else f"{shape[1]} to {shape[0]}"
