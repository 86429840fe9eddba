"""Read a LoRA adapter as peft saves it, without peft; refuse anything but plain W + s B A.

llama.cpp's adapter converter would silently drop what is refused here: its engine knows one scale,
alpha / r, for all layers (src/llama-adapter.h).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError
from skills.finetune.formats.json_files import read_json
from skills.finetune.formats.safetensors_files import read_header

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
"""Settings of peft that a merge or a GGUF would not reproduce, with their meaning."""
INITS = (True, False, "gaussian", "orthogonal", "eva")
"""The values of init_lora_weights that leave the base unchanged."""


@dataclass(frozen=True, slots=True)
class LoraAdapter:
    """A plain LoRA adapter: W + scale * B A.

    Attributes:
        path: a folder of peft, or a GGUF.
        shapes: of each adapted layer, by its name in transformers: (outputs, inputs).
        matrices: returns A, (r, inputs), and B, (outputs, r), of a layer, as tensors or arrays.
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
    """Read an adapter from a folder of peft.

    Raises:
        InputError: it is missing, damaged, or not plain LoRA.
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
                hint="`/finetune train` writes one.",
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
            hint="`/finetune train` writes it again.",
        ) from exc


def _check(config: Mapping[str, Any], path: Path) -> None:
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
            hint="These changes would be lost. Only plain LoRA of the linear layers is supported.",
        )


def _shapes(path: Path, r: int) -> dict[str, tuple[int, int]]:
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
