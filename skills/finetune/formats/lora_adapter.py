"""A LoRA adapter as peft saves it: read without peft, and refused where it is more than W + s B A.

llama.cpp's converter of adapters would drop what is refused here without a word: its engine knows
one scale, alpha / r, for all layers (src/llama-adapter.h).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
A, B = ".lora_A.weight", ".lora_B.weight"
UNKNOWN = {
    "use_rslora": "rank-stabilized LoRA",
    "use_dora": "DoRA",
    "use_qalora": "QALoRA",
    "lora_bias": "biases of its own",
    "modules_to_save": "whole layers that were trained",
    "trainable_token_indices": "tokens that were trained",
    "target_parameters": "parameters that are no layers",
    "rank_pattern": "ranks that differ from layer to layer",
    "alpha_pattern": "scales that differ from layer to layer",
    "layer_replication": "layers that are repeated",
    "fan_in_fan_out": "transposed layers",
    "alora_invocation_tokens": "an adapter that tokens switch on",
    "corda_config": "a base that CorDA has changed",
    "loftq_config": "a base that LoftQ has changed",
}
"""Settings of peft that a merge, or a GGUF, would not follow, each with what it means."""
STARTS = (True, False, "gaussian", "orthogonal", "eva")
"""The values of init_lora_weights that leave the base as it is."""


@dataclass(frozen=True, slots=True)
class LoraAdapter:
    """An adapter of plain LoRA: W + scale * B A.

    Attributes:
        shapes: of each layer that has one, by its name in the base, (outputs, inputs).
    """

    folder: Path
    r: int
    alpha: float
    shapes: Mapping[str, tuple[int, int]]

    @property
    def scale(self) -> float:
        return self.alpha / self.r

    @property
    def files(self) -> tuple[Path, Path]:
        return self.folder / CONFIG, self.folder / WEIGHTS

    def matrices(self, layer: str) -> tuple[Tensor, Tensor]:
        """A, (r, inputs), and B, (outputs, r), of one layer."""
        from safetensors import safe_open

        with safe_open(self.folder / WEIGHTS, framework="pt") as file:
            a, b = (file.get_tensor(f"{PREFIX}{layer}{side}") for side in (A, B))
        return a, b


def read_adapter(folder: Path) -> LoraAdapter:
    """Read what an adapter says of itself.

    Raises:
        InputError: it is not there, damaged, or no plain LoRA; which setting it is.
    """
    config = _config(folder)
    _check(config, folder / CONFIG)
    try:
        shapes = _shapes(folder / WEIGHTS, r := int(config["r"]))
        return LoraAdapter(folder, r, float(config["lora_alpha"]), shapes)
    except (KeyError, TypeError, ValueError, OSError) as exc:
        raise _damaged(folder, exc) from exc


def _config(folder: Path) -> dict[str, Any]:
    for path in (folder / CONFIG, folder / WEIGHTS):
        if not path.is_file():
            raise InputError(
                f"there is no adapter: {path.name} is missing",
                where=str(folder),
                hint="`/finetune train` makes one.",
            )
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise _damaged(folder, exc) from exc
    if not isinstance(config, dict):
        raise _damaged(folder, ValueError(f"{CONFIG} is no object"))
    return config


def _check(config: Mapping[str, Any], path: Path) -> None:
    found = [f"{name} ({meaning})" for name, meaning in UNKNOWN.items() if config.get(name)]
    if config.get("peft_type") != "LORA":
        found.append(f"peft_type {config.get('peft_type')}")
    if config.get("bias", "none") != "none":
        found.append(f"bias {config['bias']} (biases of the base that were trained)")
    if config.get("init_lora_weights", True) not in STARTS:
        found.append(f"init_lora_weights {config['init_lora_weights']} (the base was changed)")
    if found:
        raise InputError(
            f"is more than plain LoRA: {', '.join(found)}",
            where=str(path),
            hint="What these change would be lost. Train with a recipe of ours.",
        )


def _shapes(path: Path, r: int) -> dict[str, tuple[int, int]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  it is no mapping
    except SafetensorError as exc:
        raise ValueError(str(exc)) from exc
    layers = {name.removeprefix(PREFIX).removesuffix(A) for name in found if name.endswith(A)}
    if not layers:
        raise ValueError("it has no matrices")
    shapes = {}
    for layer in sorted(layers):
        a = found.pop(f"{PREFIX}{layer}{A}")
        b = found.pop(f"{PREFIX}{layer}{B}")
        if len(a) != 2 or len(b) != 2 or a[0] != r or b[1] != r:
            raise ValueError(f"{layer} has matrices of {a} and {b}, and r is {r}")
        shapes[layer] = (b[0], a[1])
    if found:
        raise ValueError(f"{next(iter(found))} is no matrix of LoRA")
    return shapes


def _damaged(folder: Path, exc: Exception) -> InputError:
    words = f"{exc} is missing" if isinstance(exc, KeyError) else str(exc)
    return InputError(
        f"is no adapter that can be read: {words}",
        where=str(folder),
        hint="`/finetune train` makes it anew.",
    )
