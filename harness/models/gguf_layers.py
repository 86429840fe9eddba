"""Write the first layers of a model as a GGUF of its own.

A layer in the middle of a language model describes a text better than the last one, which is about
the next token (Skean et al. 2025, arXiv 2502.02013), and what follows it need not be computed.
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import ModelUnavailable
from harness.models import gguf_merge, gguf_q8
from harness.models.gguf_file import open_gguf

VERSION = 1
"""Version of the output format: files of another version are written again."""
LAYER = "blk."
"""Begins the names of the tensors of a layer, before its number."""


def write_first_layers(base: Path, count: int, target: Path, adapter: Path | None = None) -> None:
    """Write the embedding, the first `count` layers and the output norm of a model to `target`.

    Args:
        adapter: a LoRA adapter of these layers, which is merged into them.

    Raises:
        ModelUnavailable: the base is not a GGUF, has fewer layers, or has a tensor type that cannot
            be converted, or the adapter does not fit it.
        OSError: the file cannot be written.
    """
    model = open_gguf(base, ModelUnavailable)
    length = f"{model.values.get('general.architecture')}.block_count"
    if model.values.get(length, 0) < count:
        raise ModelUnavailable(f"has fewer than {count} layers", where=str(base))
    changes = gguf_merge.changes(model, adapter) if adapter else {}
    values = {length: count}
    gguf_q8.write(
        model, target, values=values, tensors=lambda name: _layer(name) < count, changes=changes
    )


def _layer(name: str) -> int:
    """Return the number of the layer of a tensor; -1 if it is in none."""
    return int(name.split(".")[1]) if name.startswith(LAYER) else -1
