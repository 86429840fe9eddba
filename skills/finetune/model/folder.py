"""The settings in a model folder of transformers: chat template, end tokens, config.json."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.support.bounded_files import read_text
from harness.support.text_input import unreadable
from skills.finetune.formats.json_files import LARGEST, read_json
from skills.finetune.formats.safetensors_files import read_weights
from skills.finetune.model.facts import check_family

TEMPLATE = "chat_template.jinja"


def chat_template(folder: Path) -> str:
    """Return the chat template of a base as transformers finds it, "" if there is none."""
    own = folder / TEMPLATE
    if own.is_file():
        try:
            return read_text(own, LARGEST)
        except (OSError, ValueError) as exc:
            raise unreadable(own, exc) from exc
    template = _json(folder / "tokenizer_config.json").get("chat_template") or ""
    if isinstance(template, list):  # several by name
        named = {one["name"]: one["template"] for one in template}
        template = named.get("default", "")
    return str(template)


def template_sha256(folder: Path) -> str:
    """Return the SHA-256 of the chat template."""
    return hashlib.sha256(chat_template(folder).encode()).hexdigest()


def end_tokens(folder: Path) -> frozenset[int]:
    """Return the ids that end an answer, from the base's own configuration."""
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        ids = _json(folder / name).get("eos_token_id")
        found.update(ids if isinstance(ids, list) else [ids] if isinstance(ids, int) else [])
    return frozenset(found)


def read_config(folder: Path) -> dict[str, Any]:
    """Read the config.json of a base.

    Raises:
        InputError: there is none, or the model cannot be a base.
    """
    path = folder / "config.json"
    if not path.is_file():
        is_adapter = (folder / "adapter_config.json").exists()
        raise InputError(
            "is an adapter, not a model" if is_adapter else "has no config.json",
            where=str(folder),
            hint="A base is a folder as transformers saves a model.",
        )
    config = _json(path)
    check_family(config.get("model_type"), path)
    if config.get("quantization_config"):
        raise InputError(
            "contains weights that are already quantized",
            where=str(path),
            hint="Use the same model in 16 bits: it is quantized according to the recipe.",
        )
    return config


def is_whole(folder: Path) -> bool:
    """Return True if an unpacked folder exists with all its weights."""
    try:
        return bool(read_weights(folder).files) and (folder / "config.json").is_file()
    except InputError:
        return False


def _json(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise unreadable(path, exc) from exc
    return found if isinstance(found, dict) else {}
