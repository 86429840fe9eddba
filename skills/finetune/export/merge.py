"""The stage `merge`: the base with the adapter in it, as transformers would have saved it.

Into the base's own 16-bit weights, or into what NF4 makes of them (`export.merge_base`): the first
is what is published, the second is what the adapter was trained on. Which is better differs from
model to model, so both can be had and measured. Never into weights that are held in 4 bits, which
would be quantized anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InputError, SkillFailed, UsageError
from harness.support.optional_deps import require
from skills.finetune.export.artifact_files import digest_of, need_disk
from skills.finetune.export.merged_texts import copy_texts
from skills.finetune.formats.lora_adapter import CONFIG, WEIGHTS, LoraAdapter, read_adapter
from skills.finetune.formats.stored_weights import (
    FLOATS,
    PACKED,
    Stored,
    Weights,
    put,
    read_weights,
)
from skills.finetune.model.bases import Base, open_base
from skills.finetune.run.recipe import Quantization
from skills.finetune.run.run_dir import Done, partial
from skills.finetune.run.stage import Stage, StageContext

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 64
"""Weights that share a scale under NF4: the default of bitsandbytes and transformers."""

RoundTrip = Callable[["Tensor"], "Tensor"]


@dataclass(slots=True)
class Merged:
    """What a merge has done to the weights.

    Attributes:
        layers: tensors that the adapter has a matrix for.
        changed, weights: of their numbers, those that are now others, and all.
        wanted, lost: sums of squares of what the adapter adds, and of what rounding took or gave.
    """

    layers: int = 0
    changed: int = 0
    weights: int = 0
    wanted: float = 0.0
    lost: float = 0.0

    def add(self, before: Tensor, exact: Tensor, after: Tensor) -> None:
        self.layers += 1
        self.weights += before.numel()
        self.changed += int((before != after).sum())
        self.wanted += float((exact - before.float()).square().sum())
        self.lost += float((exact - after.float()).square().sum())

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "layers": self.layers,
            "weights_changed": round(self.changed / self.weights, 4),
            "rounding_over_change": round((self.lost / self.wanted) ** 0.5, 4),
        }


def inputs(context: StageContext) -> Mapping[str, Any]:
    """The adapter's and the base's digests, and how they are merged.

    Raises:
        UsageError: the finetune extra is missing, or the recipe's `merge_base` does not fit it.
        InputError: there is no adapter, it is more than plain LoRA, or does not fit the base.
    """
    require("torch", "safetensors", "transformers")
    recipe = context.recipe
    if recipe.export.merge_base == "nf4":
        if recipe.quantization.kind != "nf4":
            raise UsageError(
                "export.merge_base is nf4, and the adapter is trained on weights that are not "
                "quantized (quantization.kind none)",
                hint="Merge into the base's own weights: merge_base 16bit.",
            )
        require("bitsandbytes")
    adapter, base = read_adapter(context.run_dir.adapter), open_base(context)
    _check_prepared(context.run_dir.prepared / "prepared.json", base)
    _check_fit(adapter, read_weights(base.folder), base)
    quantization = recipe.quantization.model_dump(mode="json")
    return {
        "adapter": digest_of(context.run_dir, "train", context.run_dir.adapter / WEIGHTS),
        "adapter_config": digest_of(context.run_dir, "train", context.run_dir.adapter / CONFIG),
        "base": base.digest,
        "merge_base": recipe.export.merge_base,
        "quantization": quantization if recipe.export.merge_base == "nf4" else None,
    }


def perform(context: StageContext) -> Done:
    """Merge.

    Raises:
        OutputError: there is no room on the disk, or it cannot be written.
        SkillFailed: the adapter changes nothing.
        Interrupted: a stop was requested.
    """
    base, adapter, run_dir = (
        open_base(context),
        read_adapter(context.run_dir.adapter),
        context.run_dir,
    )
    weights = read_weights(base.folder)
    need_disk(run_dir.folder, weights.size, "the merged model")
    rounded = _round_trips(context, base, weights)
    with context.call.screen.progress("merging") as tick, partial(run_dir.merged) as folder:
        tick("copying the base")
        copied = weights.copied(folder)
        copy_texts(base.folder, folder)
        merged = Merged()
        for number, name in enumerate(sorted({*rounded, *map(_weight, adapter.shapes)}), start=1):
            context.call.cancel.check()
            tick(f"tensor {number}: {name}")
            _merge_one(copied.tensors[name], adapter, rounded.get(name), merged)
        if not merged.changed:
            raise SkillFailed(
                "the adapter changes no weight of the base",
                where=str(adapter.folder),
                hint="It was trained for too few steps, or at too small a learning rate.",
            )
    facts = {
        **merged.facts,
        "merge_base": context.recipe.export.merge_base,
        "scale": adapter.scale,
        "tied": _is_tied(base.folder, weights),
        "bytes": weights.size,
    }
    return Done([run_dir.merged], facts)


def merged_weight(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """W + scale * B A in float32 (Hu et al. 2021, arXiv 2106.09685), for who rounds it then.

    Args:
        weight: (outputs, inputs), of any float type.
        a: (r, inputs).
        b: (outputs, r).
    """
    return weight.float() + scale * (b.float() @ a.float())


def nf4_round_trip(quantization: Quantization) -> RoundTrip:
    """What a weight is once it was held as the recipe says, in the type that is computed in.

    Done as the layer of bitsandbytes does it, from weights that were loaded in that type.
    """
    import torch
    from bitsandbytes import functional

    def round_trip(weight: Tensor) -> Tensor:
        compute = weight.to(getattr(torch, quantization.compute))
        packed, state = functional.quantize_4bit(
            compute, blocksize=BLOCK, quant_type="nf4", compress_statistics=quantization.double
        )
        held: Tensor = functional.dequantize_4bit(packed, state)
        return held

    return round_trip


def _merge_one(
    place: Stored, adapter: LoraAdapter, round_trip: RoundTrip | None, merged: Merged
) -> None:
    """Write one tensor: the base's, perhaps as NF4 has it, with the adapter's part if it has one.

    It is rounded once, to the base's type, and to even where it stands between two values.
    """
    before = place.read()
    held = before if round_trip is None else round_trip(before)
    layer = place.name.removesuffix(".weight")
    if layer in adapter.shapes:
        exact = merged_weight(held, *adapter.matrices(layer), adapter.scale)
        after = exact.to(before.dtype)
        merged.add(held.to(before.dtype), exact, after)
    else:
        after = held.to(before.dtype)
    put(place, after)


def _round_trips(context: StageContext, base: Base, weights: Weights) -> dict[str, RoundTrip]:
    """The tensors that training held as NF4, with what that makes of them; none for 16bit.

    They are those that transformers replaces: every linear layer but the output.
    """
    if context.recipe.export.merge_base == "16bit":
        return {}
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.quantizers.base import get_keys_to_not_convert

    config = AutoConfig.from_pretrained(base.folder, local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    kept = set(get_keys_to_not_convert(model))
    linear = {
        _weight(name)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name not in kept
    }
    round_trip = nf4_round_trip(context.recipe.quantization)
    return {name: round_trip for name in linear if name in weights.tensors}


def _check_prepared(path: Path, base: Base) -> None:
    """Refuse another base than the adapter's, of the same shapes: only its digest tells them apart.

    Raises:
        InputError: the rows that it was trained on were prepared for another one.
    """
    try:
        prepared = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # an adapter from elsewhere, in a folder without its rows
        return
    if prepared.get("base_digest", base.digest) != base.digest:
        raise InputError(
            f"the adapter was trained on {prepared.get('base')}, which is not {base.name} as it "
            "is now",
            where=str(path.parent.parent),
            hint="Merge with the recipe it was trained with.",
        )


def _check_fit(adapter: LoraAdapter, weights: Weights, base: Base) -> None:
    """Refuse a base that the adapter does not belong to, or whose weights are no whole numbers.

    Raises:
        InputError: naming the layer, or the tensor.
    """
    where = str(base.folder)
    for tensor in weights.tensors.values():
        if tensor.dtype in PACKED:
            raise InputError(
                f"holds quantized weights ({tensor.name} is {tensor.dtype})",
                where=where,
                hint="An adapter is merged into 16-bit weights: name the base they were made from.",
            )
    for layer, shape in adapter.shapes.items():
        found = weights.tensors.get(_weight(layer))
        if found is None or found.shape != shape or found.dtype not in FLOATS:
            has = "none of that name" if found is None else f"{found.shape} of {found.dtype}"
            raise InputError(
                f"is not the base of this adapter: {layer} should be {shape}, it has {has}",
                where=where,
                hint="Merge into the base that the adapter was trained on.",
            )


def _is_tied(base: Path, weights: Weights) -> bool:
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    return bool(config.get("tie_word_embeddings")) and "lm_head.weight" not in weights.tensors


def _weight(layer: str) -> str:
    return f"{layer}.weight"


STAGE = Stage("merge", "merge the adapter into the base's 16-bit weights", inputs, perform)
