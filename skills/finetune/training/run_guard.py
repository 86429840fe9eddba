"""What a run was begun with, so that it is gone on with in the same way or not at all.

On resume transformers compares the batch size and how often is logged, measured and saved, and of
those it only warns; other data, another learning rate or another seed pass unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from harness.errors import InputError
from skills.finetune.run.recipe import Recipe

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate")
PREPARED = ("base_digest", "tokenizer_sha256", "template_sha256", "eos_token_id", "pad_token_id")
FREE = frozenset({"max_steps", "keep", "start_from"})
"""Settings that may be others on resume. The learning rate's schedule goes by `epochs`, and
`max_steps` only cuts it short; `keep` only deletes; of `start_from` the digest is kept instead. How
often is logged, measured and saved may not: transformers would go on with the old numbers."""


def guard(
    recipe: Recipe,
    prepared: Mapping[str, Any],
    digests: Mapping[str, str],
    start: str | None = None,
) -> dict[str, Any]:
    """All that decides what the steps of a run are, by name.

    Args:
        prepared: prepared.json, which has all of PREPARED.
        digests: sha256 of the prepared rows; the split into training and dev is in them.
        start: sha256 of the adapter that the recipe goes on from.
    """
    from skills.finetune.model.loading import device_kind

    found: dict[str, Any] = {f"data.{name}": digests[name] for name in ("train.jsonl", "dev.jsonl")}
    for name in PREPARED:
        found[name] = prepared.get(name)
    settings = recipe.model_dump(mode="json", include={"quantization", "adapter", "training"})
    for part, values in settings.items():
        found |= {f"{part}.{name}": value for name, value in values.items() if name not in FREE}
    found["adapter.start_sha256"] = start
    found["device"] = device_kind()
    return found | {f"version.{name}": _version(name) for name in PACKAGES}


def check(before: Mapping[str, Any] | None, now: Mapping[str, Any], where: str) -> None:
    """Refuse to go on with anything else than a run was begun with.

    Args:
        before: None where a run is begun.

    Raises:
        InputError: naming each field that differs, with both values.
    """
    if before is None:
        return
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    if names:
        changes = (f"{name} was {_said(before, name)}, is {_said(now, name)}" for name in names)
        raise InputError(
            f"the run was begun with something else: {'; '.join(changes)}",
            where=where,
            hint="Go on with what it was begun with, or begin anew with another `--out`.",
        )


def _said(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    return "not known" if value is None else str(value)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
