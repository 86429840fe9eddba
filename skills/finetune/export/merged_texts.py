"""What a merged model has besides weights: settings, tokenizer and chat template of its base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from skills.finetune.model.folder import chat_template

COPIED = (
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "model.safetensors.index.json",
)
"""What a merged model has of its base as it is. transformers 5 would name another tokenizer class
if it saved the tokenizer anew, and converters know tokenizers by what they make of a text."""


def copy_texts(base: Path, folder: Path) -> None:
    """Copy what is no weight: settings, tokenizer, chat template."""
    for name in COPIED:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    _write_json(folder / "config.json", _without_quantization(config))
    template = chat_template(base)
    settings = folder / "tokenizer_config.json"
    if template and settings.is_file():
        # transformers 5 writes it to chat_template.jinja alone, where older converters do not look.
        told = json.loads(settings.read_text(encoding="utf-8"))
        _write_json(settings, {**told, "chat_template": template})


def _without_quantization(value: Any) -> Any:
    """`quantization_config` taken out at every depth: converters refuse what names it."""
    if not isinstance(value, dict):
        return value
    return {
        name: _without_quantization(inner)
        for name, inner in value.items()
        if name != "quantization_config"
    }


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
