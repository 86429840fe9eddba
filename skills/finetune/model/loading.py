"""Load the base for training: quantized, frozen, and with a new adapter."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import InputError
from skills.finetune.run import ranks
from skills.finetune.run.recipe import Recipe


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide warnings of torch, transformers, peft and bitsandbytes that users cannot act on."""
    logger = logging.getLogger("bitsandbytes")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def device_kind() -> str:
    """Return "cuda" if there is a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@quiet()
def load_model(
    folder: Path, recipe: Recipe, *, adapted: bool = True, is_sharded: bool = False
) -> Any:
    """Load the base with an adapter whose output is still zero; only the adapter is trainable.

    This does what peft's `prepare_model_for_kbit_training` does, except that weights which are not
    quantized are not cast to float32: for a 7B model these are two matrices of the vocabulary,
    4.4 GB instead of 2.2. Norms compute in float32 in any case, and the adapter is float32.

    The adapter's weights are drawn from torch's generator, which is seeded here.

    Args:
        adapted: False to load the base alone.
        is_sharded: FSDP will divide it among the ranks.

    Raises:
        InputError: a layer that the recipe names does not exist, or the folder has no model.
    """
    import torch
    from transformers import AutoModelForCausalLM, set_seed
    from transformers.utils import logging as their_logging

    their_logging.set_verbosity_error()
    their_logging.disable_progress_bar()
    kind = device_kind()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(folder),
            dtype=getattr(torch, recipe.quantization.compute),
            quantization_config=_quantization(recipe, is_sharded=is_sharded),
            device_map={"": ranks.local_rank() if kind == "cuda" else "cpu"},
            local_files_only=True,
            use_safetensors=True,
        )
    except (OSError, ValueError) as exc:
        raise InputError(f"the base cannot be loaded: {exc}", where=str(folder)) from exc
    if recipe.quantization.kind == "nf4" and recipe.quantization.unpacked:
        _unpack(model, getattr(torch, recipe.quantization.compute))
    model.config.use_cache = False
    model.requires_grad_(False)
    if recipe.training.checkpointing:
        # The first is the newer name. Non-reentrant: no input needs a gradient.
        enable = getattr(model, "activation_checkpointing_enable", None)
        (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
    set_seed(recipe.training.seed)
    return _with_adapter(model, recipe) if adapted else model


def _quantization(recipe: Recipe, *, is_sharded: bool) -> Any:
    """Return None, or NF4 with all its settings: the defaults are fp4 and float32.

    FSDP divides only tensors of a floating type: the packed weights are stored as if they were of
    the compute type. With uint8, the default, accelerate leaves them whole in every rank.
    """
    import torch
    from transformers import BitsAndBytesConfig

    if recipe.quantization.kind == "none":
        return None
    compute = getattr(torch, recipe.quantization.compute)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=recipe.quantization.double,
        bnb_4bit_compute_dtype=compute,
        bnb_4bit_quant_storage=compute if is_sharded else None,
    )


def _unpack(model: Any, compute: Any) -> None:
    """Replace each NF4 layer with a linear layer that has its dequantized weights.

    bitsandbytes passes the same weights to every matrix product, so no number changes. The marks of
    a quantized model are removed, so that transformers and peft treat it as a 16-bit one.
    """
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    for name, packed in list(model.named_modules()):
        if isinstance(packed, Linear4bit):
            weight = dequantize_4bit(packed.weight.data, packed.weight.quant_state).to(compute)
            plain = torch.nn.Linear(packed.in_features, packed.out_features, device="meta")
            plain.weight, plain.bias = torch.nn.Parameter(weight), packed.bias
            model.set_submodule(name, plain)
    model.is_quantized = model.is_loaded_in_4bit = False
    model.hf_quantizer = model.quantization_method = None
    del model.config.quantization_config


def _with_adapter(model: Any, recipe: Recipe) -> Any:
    from peft import LoraConfig, get_peft_model

    adapter = recipe.adapter
    targets = adapter.targets
    # An integer if possible: converters expect one.
    alpha: Any = int(adapter.alpha) if adapter.alpha == int(adapter.alpha) else adapter.alpha
    config = LoraConfig(
        r=adapter.r,
        lora_alpha=alpha,
        lora_dropout=adapter.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as exc:
        raise InputError(f"adapter.targets: {exc}") from exc
