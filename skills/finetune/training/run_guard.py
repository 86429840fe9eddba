"""The settings a run was started with, which must be the same when it is resumed.

On resume, transformers compares the batch size and the intervals of logging, evaluation and saving,
and only warns; other data, another learning rate or another seed are not noticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from harness.errors import InputError
from skills.finetune.run.recipe import Recipe

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate")
PREPARED = ("base_digest", "tokenizer_sha256", "template_sha256", "eos_token_id", "pad_token_id")
FREE = frozenset({"max_steps", "keep", "start_from", "checkpointing"})
"""Settings that may change on resume. The learning rate's schedule depends on `epochs`, which
`max_steps` only cuts short; `keep` only deletes; for `start_from` the digest is compared;
`checkpointing` changes time and memory, and depends on the memory that is free. The
intervals of logging, evaluation and saving may not: transformers would continue with the old
ones."""


def guard(
    recipe: Recipe,
    prepared: Mapping[str, Any],
    digests: Mapping[str, str],
    start: str | None = None,
) -> dict[str, Any]:
    """Return everything that determines the steps of a run, by name.

    Args:
        prepared: prepared.json, with all of PREPARED.
        digests: SHA-256 of the prepared rows, which include the split into training and dev.
        start: SHA-256 of the adapter that the recipe continues from.
    """
    from skills.finetune.model.loading import device_kind

    found: dict[str, Any] = {f"data.{name}": digests[name] for name in ("train.jsonl", "dev.jsonl")}
    found |= {name: prepared.get(name) for name in PREPARED}
    settings = recipe.model_dump(mode="json", include={"quantization", "adapter", "training"})
    for part, values in settings.items():
        found |= {f"{part}.{name}": value for name, value in values.items() if name not in FREE}
    found |= {"adapter.start_sha256": start, "device": device_kind()}
    return found | {f"version.{name}": _version(name) for name in PACKAGES}


def check(before: Mapping[str, Any] | None, now: Mapping[str, Any], where: str) -> None:
    """Compare the settings of a resumed run with those it was started with.

    Args:
        before: None for a new run.

    Raises:
        InputError: naming each difference, with both values.
    """
    if before is None:
        return
    names = [
        name
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name) and name.rpartition(".")[2] not in FREE
    ]
    if names:
        changes = (f"{name} was {_shown(before, name)}, is {_shown(now, name)}" for name in names)
        raise InputError(
            f"the run was started with other settings: {'; '.join(changes)}",
            where=where,
            hint="Resume with the same settings, or start again with another `--out`.",
        )


def _shown(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    return "unknown" if value is None else str(value)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
