"""The stage `merge`: merge the adapter into the base, in the format of transformers.

The setting `export.merge_base` selects the weights into which the adapter is merged: the 16-bit
weights of the base, or these weights after NF4 quantization and dequantization, as in NF4 training.
Which choice is better depends on the model. The adapter is never merged into weights that are
stored in 4 bits, since the stage `quantize` would quantize them a second time.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InputError, OutputError, SkillFailed, UsageError
from harness.support.bounded_files import read_json
from harness.support.process import require
from skills.finetune.model.base_shapes import FLOATS, PACKED, Weights, read_weights
from skills.finetune.model.bases import Base, chat_template, check_prepared, describe, open_base
from skills.finetune.model.lora_adapters import CONFIG, WEIGHTS, LoraAdapter, read_adapter
from skills.finetune.model.resources import BLOCK
from skills.finetune.run_folder import Entry, StageContext, digest_of, need_disk, partial

if TYPE_CHECKING:
    from torch import Tensor

RoundTrip = Callable[["Tensor"], "Tensor"]
COPIED = frozenset({".json", ".jinja", ".model", ".txt"})
"""Suffixes of the files that are copied from the base: tokenizer, template, configuration, index.

The tokenizer files are copied, since transformers 5 would save another tokenizer class.
"""
NOT_COPIED = frozenset({"adapter_config.json", "pytorch_model.bin.index.json"})
"""Files that describe weights which are not copied."""


def merge(context: StageContext) -> Entry:
    """Merge the adapter of the run into its base. Return the stage's entry.

    Raises:
        UsageError: the finetune extra is missing, or `merge_base` does not fit the recipe.
        InputError: the adapter is missing, is not plain LoRA, or does not fit the base.
        OutputError: the disk is too small, or a file cannot be written.
        SkillFailed: the adapter changes no weight.
        Interrupted: the run was cancelled.
    """
    require("torch", "safetensors", "transformers")
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    recipe, out = context.recipe, context.run_dir
    into_nf4 = recipe.export.merge_base == "nf4"
    if into_nf4:
        if recipe.quantization.kind != "nf4":
            raise UsageError(
                "export.merge_base is nf4, but the adapter is trained on weights that are not "
                "quantized (quantization.kind none)",
                hint="Set export.merge_base to 16bit, to merge into the weights that the adapter "
                "was trained on.",
            )
        require("bitsandbytes")
    adapter, base = read_adapter(out.adapter), open_base(context)
    weights = read_weights(base.folder)
    check_prepared(out.prepared_facts(), base, out.folder)
    _check_fit(adapter, weights, base)
    inputs = {
        "adapter": digest_of(out, "train", out.adapter / WEIGHTS),
        "adapter_config": digest_of(out, "train", out.adapter / CONFIG),
        "base": base.digest,
        "merge_base": recipe.export.merge_base,
        "quantization": recipe.quantization.model_dump(mode="json") if into_nf4 else None,
    }
    stage = context.begin("merge", "merge the adapter into the base", inputs)
    if stage.unchanged is not None:
        return stage.unchanged
    need_disk(out.folder, weights.size, "the merged model")
    rounded = _round_trips(context, weights)
    names = {*rounded, *(f"{layer}.weight" for layer in adapter.shapes)}
    changed = 0
    with context.call.screen.progress("merging") as tick, partial(out.merged) as folder:
        copy_texts(base.folder, folder)
        for path in weights.files:
            tensors = load_file(path)
            for name in sorted(names & tensors.keys()):
                context.call.cancel.check()
                tick(name)
                tensors[name], different = _merged(
                    tensors[name], name.removesuffix(".weight"), adapter, rounded.get(name)
                )
                changed += different
            try:
                save_file(tensors, folder / path.name, metadata={"format": "pt"})
            except SafetensorError as exc:  # for example if the disk is full
                raise OutputError(f"not written: {exc}", where=str(out.merged)) from exc
            # safetensors writes files that only their owner can read.
            shutil.copymode(folder / "config.json", folder / path.name)
        if not changed:
            raise SkillFailed(
                "the adapter changes no weight of the base",
                where=str(adapter.path),
                hint="The adapter was trained for too few steps, or with too small a learning "
                "rate.",
            )
    facts = {
        "layers": len(adapter.shapes),
        "weights_changed": round(changed / sum(map(math.prod, adapter.shapes.values())), 4),
        "merge_base": recipe.export.merge_base,
        "scale": adapter.scale,
        "bytes": weights.size,
    }
    return stage.record([out.merged], facts)


def _merged(
    weight: Tensor, layer: str, adapter: LoraAdapter, round_trip: RoundTrip | None
) -> tuple[Tensor, int]:
    """Return the merged weight of a layer, and the number of values that the adapter changed.

    The sum W + scale * B A (Hu et al. 2021, arXiv 2106.09685) is computed in float32 and rounded
    once, to the nearest value of the base's data type, with ties to even.

    Args:
        round_trip: quantizes and dequantizes the weight of the base before the sum; None to use
            the weight as it is.
    """
    base = weight if round_trip is None else round_trip(weight)
    unchanged = base.to(weight.dtype)
    if layer not in adapter.shapes:
        return unchanged, 0
    a, b = adapter.matrices(layer)
    merged = (base.float() + adapter.scale * (b.float() @ a.float())).to(weight.dtype)
    return merged, int((merged != unchanged).sum())


def _round_trips(context: StageContext, weights: Weights) -> dict[str, RoundTrip]:
    """Return functions that quantize weights to NF4 and dequantize them, by tensor name.

    There is a function for each tensor that training quantized: the weights of all linear layers
    except the output layer. For `merge_base` 16bit, the result is {}.
    """
    if context.recipe.export.merge_base == "16bit":
        return {}
    import torch
    from bitsandbytes import functional

    quantization = context.recipe.quantization

    def round_trip(weight: Tensor) -> Tensor:
        """Return a weight after quantization and dequantization as in bitsandbytes."""
        compute = weight.to(getattr(torch, quantization.compute))
        packed, state = functional.quantize_4bit(
            compute, blocksize=BLOCK, quant_type="nf4", compress_statistics=quantization.double
        )
        unpacked: Tensor = functional.dequantize_4bit(packed, state)
        return unpacked

    shapes = describe(context)
    assert shapes is not None  # `merge` has opened the base
    linear = {f"{layer}.weight" for layer in shapes.layer_shapes}
    return dict.fromkeys(linear & weights.tensors.keys(), round_trip)


def _check_fit(adapter: LoraAdapter, weights: Weights, base: Base) -> None:
    """Raise InputError if the base is quantized, or its layers do not fit the adapter."""
    where = str(base.folder)
    for name, tensor in weights.tensors.items():
        if tensor.dtype in PACKED:
            raise InputError(
                f"contains quantized weights ({name} is {tensor.dtype})",
                where=where,
                hint="An adapter is merged into 16-bit weights: name the unquantized base.",
            )
    for layer, shape in adapter.shapes.items():
        found = weights.tensors.get(f"{layer}.weight")
        if found is None or found.shape != shape or found.dtype not in FLOATS:
            actual = "missing" if found is None else f"{found.shape} of {found.dtype}"
            raise InputError(
                f"is not the base of this adapter: {layer} should be {shape}, and is {actual}",
                where=where,
                hint="Merge into the base that the adapter was trained on.",
            )


def copy_texts(base: Path, folder: Path) -> None:
    """Copy the text files of a base to `folder`, and change two copies for the converters."""
    for path in base.iterdir():
        if path.suffix in COPIED and path.name not in NOT_COPIED and path.is_file():
            shutil.copyfile(path, folder / path.name)
    config = json.loads((base / "config.json").read_bytes(), object_hook=_without_quantization)
    _write_json(folder / "config.json", config)
    template = chat_template(base)
    settings = folder / "tokenizer_config.json"
    if template and settings.is_file():
        # transformers 5 writes the template only to chat_template.jinja, which older converters do
        # not read.
        content = read_json(settings)
        _write_json(settings, {**content, "chat_template": template})


def _without_quantization(config: dict[str, Any]) -> dict[str, Any]:
    """Return an object of a config without `quantization_config`, which converters reject."""
    return {name: value for name, value in config.items() if name != "quantization_config"}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
