"""Copy settings, tokenizer and chat template of a base to the merged model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from skills.finetune.formats.json_files import read_json
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
"""Files copied unchanged. transformers 5 would name another tokenizer class if it saved the
tokenizer again, and converters recognize tokenizers by their output."""


def copy_texts(base: Path, folder: Path) -> None:
    """Copy everything except the weights."""
    for name in COPIED:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    config = read_json(base / "config.json")
    _write_json(folder / "config.json", _without_quantization(config))
    template = chat_template(base)
    settings = folder / "tokenizer_config.json"
    if template and settings.is_file():
        # transformers 5 only writes it to chat_template.jinja, which older converters do not read.
        content = read_json(settings)
        _write_json(settings, {**content, "chat_template": template})


def _without_quantization(value: Any) -> Any:
    """Remove `quantization_config` at every depth: converters reject it."""
    if not isinstance(value, dict):
        return value
    return {
        name: _without_quantization(inner)
        for name, inner in value.items()
        if name != "quantization_config"
    }


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
