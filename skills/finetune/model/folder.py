"""A folder as transformers saves a model: its files, looked at without loading any weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from harness.errors import InputError

TEMPLATE = "chat_template.jinja"
AS_SAVED = "A base is a folder as transformers saves a model, with its weights as .safetensors."
MAX_HEADER = 100_000_000
"""Bytes of the header of a .safetensors file, by its format."""


def chat_template(folder: Path) -> str:
    """The chat template of a base, as transformers would take it; "" if there is none."""
    own = folder / TEMPLATE
    if own.is_file():
        return own.read_text(encoding="utf-8")
    template = _json(folder / "tokenizer_config.json").get("chat_template") or ""
    if isinstance(template, list):  # several by name
        named = {one["name"]: one["template"] for one in template}
        template = named.get("default", "")
    return str(template)


def template_sha256(folder: Path) -> str:
    """sha256 of the text of the chat template."""
    return hashlib.sha256(chat_template(folder).encode()).hexdigest()


def end_tokens(folder: Path) -> frozenset[int]:
    """The ids that end an answer, as the base's own configuration has them."""
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        ids = _json(folder / name).get("eos_token_id")
        found.update(ids if isinstance(ids, list) else [ids] if isinstance(ids, int) else [])
    return frozenset(found)


def weight_files(folder: Path, hint: str = AS_SAVED) -> list[Path]:
    """The files of weights.

    Args:
        hint: what to do where one is missing or damaged.

    Raises:
        InputError: one is missing, damaged or cut short.
    """
    index = folder / "model.safetensors.index.json"
    names = {"model.safetensors"}
    if index.is_file():
        names = set(_json(index).get("weight_map", {}).values()) or names
    for name in sorted(names):
        path = folder / name
        if not path.is_file():
            raise InputError(f"has no {name}", where=str(folder), hint=hint)
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = path.stat().st_size
            header = _header(file.read(min(length, MAX_HEADER)))
        if size != 8 + length + max((end for _, end in header), default=-1):
            raise InputError("is damaged or cut short", where=str(path), hint=hint)
    return [folder / name for name in sorted(names)]


def is_whole(folder: Path) -> bool:
    """Whether a folder that was unpacked is there with all its weights."""
    try:
        return bool(weight_files(folder)) and (folder / "config.json").is_file()
    except InputError:
        return False


def blob_name(path: Path) -> str | None:
    """The sha256 that the hub's cache has named a file by; None for any other file."""
    real = path.resolve()
    return real.name if real.parent.name == "blobs" and len(real.name) == 64 else None


def _header(text: bytes) -> list[tuple[int, int]]:
    """Where each tensor begins and ends, by the header of a .safetensors file."""
    try:
        header = json.loads(text)
        return [tuple(t["data_offsets"]) for name, t in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise InputError(f"cannot be read: {exc}", where=str(path)) from exc
    return found if isinstance(found, dict) else {}
