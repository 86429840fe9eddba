"""Files that a run writes, and their sizes, computed from shapes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from skills.finetune.model.facts import BaseFacts
from skills.finetune.model.memory import TRAINED, adapter_matrices, optimizer_bytes
from skills.finetune.run.recipe import Recipe
from skills.finetune.run.run_dir import RunDir
from skills.finetune.run.stage import StageContext

BITS = {"F16": 16, "Q4_K": 4.5, "Q5_K": 5.5, "Q6_K": 6.5625, "Q8_0": 8.5, "Q5_0": 5.5, "Q5_1": 6}
"""Bits per weight of llama.cpp's block types (ggml/src/ggml-common.h)."""
MIX = {
    "Q4_K_M": ("Q4_K", "Q6_K"),
    "Q5_K_M": ("Q5_K", "Q6_K"),
    "Q6_K": ("Q6_K", "Q6_K"),
    "Q8_0": ("Q8_0", "Q8_0"),
}
"""The type of most weights, and of those that llama.cpp gives more bits (src/llama-quant.cpp)."""
MORE_BITS = frozenset({"v_proj", "down_proj"})
"""The layers that get the better type in about half of the decoder."""
FALLBACK = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
"""The type for rows whose length is not a multiple of 256 (the same file)."""
TOKEN_BYTES = 39
"""Bytes per token of a GGUF's vocabulary, merges and scores: 1.9 MB for SmolLM2's 49,152 tokens."""
TEXTS = 12_000_000
"""A tokenizer and its template, beside weights in the format of transformers."""
STATE = 100_000
"""The rest of a checkpoint: seeds, schedule, history."""
BYTES_PER_ID = 7
"""A token of a prepared row as JSON: five or six digits, a comma and a space."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file or folder to be written.

    Attributes:
        bytes: the size of the whole.
        present: bytes of it that exist already.
    """

    name: str
    path: Path
    bytes: int
    formula: str
    present: int = 0

    @property
    def missing(self) -> int:
        """Bytes still to be written."""
        return max(0, self.bytes - self.present)


def checkpoint_bytes(facts: BaseFacts, recipe: Recipe) -> int:
    """Return the size of a checkpoint: the adapter in float32, and its optimizer's state.

    Raises:
        UsageError: the recipe names a layer that the base does not have.
    """
    matrices = adapter_matrices(facts, recipe.adapter) * facts.layers
    states = optimizer_bytes(matrices, recipe.training.optimizer)
    return TRAINED * sum(matrices) + states + STATE


def quantized_bytes(facts: BaseFacts, kind: str) -> int:
    """Return the size of the quantized GGUF.

    llama.cpp gives the projection of values and the second layer of the MLP more bits in about half
    of the decoder layers (`use_more_bits` of src/llama-quant.cpp), and also the output, which is
    the embedding where they are tied.
    """
    usual, better = MIX[kind]
    table = facts.vocab * facts.hidden
    bits = table * _bits(better, facts.hidden)
    if not facts.tied:
        bits += table * _bits(usual, facts.hidden)
    for name, (inputs, outputs) in facts.linear.items():
        other = better if name in MORE_BITS else usual
        each = (_bits(usual, inputs) + _bits(other, inputs)) / 2
        bits += facts.layers * inputs * outputs * each
    rest = facts.parameters - facts.linear_parameters - table * (1 if facts.tied else 2)
    return round(bits / 8) + 4 * rest + TOKEN_BYTES * facts.vocab


def artifacts(
    facts: BaseFacts, recipe: Recipe, run_dir: RunDir, *, tokens: int, checkpoints: int
) -> tuple[Artifact, ...]:
    """Return all that the stages write into the folder of the run.

    Args:
        tokens: of all rows.
        checkpoints: the highest number of them at a time.

    Raises:
        UsageError: the recipe names a layer that the base does not have.
    """
    adapter = facts.layers * sum(adapter_matrices(facts, recipe.adapter)) * TRAINED
    values = f"{adapter // TRAINED:,} values x {TRAINED} bytes"
    count, kind, each = facts.parameters, recipe.export.quantize, checkpoint_bytes(facts, recipe)
    weights, quantized = f"{count:,} parameters x 2 bytes", quantized_bytes(facts, kind)
    merged, f16 = 2 * count + TEXTS, 2 * count + TOKEN_BYTES * facts.vocab
    stored = f"{checkpoints} x {each:,} bytes of adapter and optimizer"
    mix = f"llama.cpp's mix for {kind}: {8 * quantized / count:.2f} bits a weight"
    found = (
        ("prepared rows", run_dir.prepared, tokens * BYTES_PER_ID, f"{tokens:,} tokens as JSON"),
        ("checkpoints", run_dir.folder / "checkpoint-*", checkpoints * each, stored),
        ("adapter", run_dir.adapter, adapter, values),
        ("merged model, 16 bit", run_dir.merged, merged, f"{weights}, and the tokenizer"),
        ("GGUF, f16", run_dir.f16, f16, f"{weights}, and the tokens"),
        (f"GGUF, {kind}", run_dir.quantized(kind), quantized, mix),
        ("GGUF of the adapter", run_dir.lora, adapter, values),
    )
    return tuple(
        Artifact(name, path, size, formula, _present(path)) for name, path, size, formula in found
    )


def base_artifacts(facts: BaseFacts, context: StageContext) -> tuple[Artifact, ...]:
    """Return what is written into the cache: a GGUF of the registry, and the base unpacked."""
    registry, name = context.call.models.registry, context.recipe.base
    if name not in registry.files:
        return ()
    path, entry = context.files.path(name), registry.files[name]
    sha256 = entry.sha256 or (context.files.digest(name) if path.is_file() else "none")
    folder = context.cache / "bases" / f"{sha256[:16]}-*"
    size, formula = 2 * facts.parameters + TEXTS, f"{facts.parameters:,} parameters x 2 bytes"
    present = _present(folder)  # complete if it exists: it gets its name at the end
    unpacked = Artifact("base, unpacked", folder, present or size, formula, present)
    if not entry.pypi:
        return (unpacked,)
    size = entry.size or 0
    return (Artifact("base, fetched", path, size, "size in the registry", _present(path)), unpacked)


def _bits(kind: str, row: int) -> float:
    if kind in FALLBACK and row % 256:
        kind = FALLBACK[kind]
    return BITS["F16"] if row % 32 else BITS[kind]


def _present(path: Path) -> int:
    """Return the bytes of a file, of the files of a folder, or of all that match a pattern."""
    found = (file for match in path.parent.glob(path.name) for file in (match, *match.rglob("*")))
    return sum(file.stat().st_size for file in found if file.is_file())
