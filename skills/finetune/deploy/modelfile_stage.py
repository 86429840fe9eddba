"""The stage `modelfile`: write the Modelfiles from which Ollama creates the model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.models.gguf_file import open_gguf
from harness.runs import targets
from harness.support.text_input import at_home
from skills.finetune.deploy.modelfile import Modelfile, Parameter, write
from skills.finetune.export.artifact_files import file_digest
from skills.finetune.run.run_dir import Done
from skills.finetune.run.stage import Stage, StageContext
from skills.nanda.framework import CLOSE_TAG

LIBRARY = re.compile(r"(?i)Qwen/Qwen(2\.5)-([\d.]+B)-Instruct")
"""Bases whose name in Ollama's library follows from their name on the hub."""
COMMENTS = (
    "No TEMPLATE: the GGUF contains the chat template that the model was trained with, and Ollama\n"
    "uses it. A Go template written here would replace it.",
    "No SYSTEM: every row of the training data starts with a system message, and /annotate sends\n"
    "the same one. A SYSTEM line would only apply to requests without one.",
    "The end-of-turn token that the model was trained to write, and the end of an annotation.",
)
ADAPTER = (
    "The adapter alone, on the base it was trained on. Ollama accepts this up to 0.34.0; from\n"
    "0.34.1 on it rejects adapters: use the merged model of the other Modelfile."
)


def served_gguf(context: StageContext) -> Path:
    """Return the GGUF for Ollama: the quantized one if it exists, else the 16-bit one.

    Raises:
        InputError: neither exists.
    """
    run_dir = context.run_dir
    for path in (run_dir.quantized(context.recipe.export.quantize), run_dir.f16):
        if path.is_file():
            return path
    raise run_dir.needs("gguf", "there is no GGUF of the model yet")


def adapter_base(context: StageContext) -> str | None:
    """Return the base of the adapter: a local GGUF or a model of Ollama's library, or None."""
    registry = context.call.models.registry
    path = at_home(context.recipe.base)
    if context.recipe.base in registry.files:
        path = context.files.path(context.recipe.base)
    elif found := LIBRARY.fullmatch(context.recipe.base):
        return f"qwen{found[1]}:{found[2].lower()}-instruct"
    elif path.suffix != ".gguf":
        return None
    return str(path.resolve()) if path.is_file() else None


def _inputs(context: StageContext) -> Mapping[str, Any]:
    gguf, lora = served_gguf(context), context.run_dir.lora
    return {
        "gguf": gguf.name,
        "gguf_sha256": file_digest(context.run_dir, gguf),
        "lora_sha256": file_digest(context.run_dir, lora) if lora.is_file() else None,
        "adapter_base": adapter_base(context),
        "seed": context.recipe.training.seed,
        **context.recipe.export.model_dump(include={"num_ctx", "num_predict", "temperature"}),
    }


def _perform(context: StageContext) -> Done:
    path, run_dir, export = served_gguf(context), context.run_dir, context.recipe.export
    gguf = open_gguf(path)
    if gguf.chat_template is None or gguf.end_of_turn is None:
        lacks = "chat template" if gguf.chat_template is None else "end-of-turn token"
        raise InputError(
            f"has no {lacks}",
            where=str(path),
            hint="Use a base that was trained for chat; its tokenizer files contain both.",
        )
    parameters: dict[str, Parameter] = {
        "stop": list(dict.fromkeys((gguf.end_of_turn, CLOSE_TAG))),
        "temperature": export.temperature,
        "num_ctx": export.num_ctx,
        "num_predict": export.num_predict,
        "seed": context.recipe.training.seed,
    }
    modelfiles = {run_dir.modelfile: write(Modelfile(f"./{path.name}", None, parameters), COMMENTS)}
    if not run_dir.lora.is_file():
        adapter = "none: the run has no adapter as GGUF"
    elif (base := adapter_base(context)) is None:
        adapter = f"none: no GGUF of {context.recipe.base} is known, locally or in Ollama's library"
    else:
        adapter = base
        of_adapter = Modelfile(base, f"./{run_dir.lora.name}", parameters)
        modelfiles[run_dir.adapter_modelfile] = write(of_adapter, (ADAPTER, *COMMENTS))
    for target, text in modelfiles.items():
        targets.write_text(target, text)
    facts = {
        "from": path.name,
        "stop": parameters["stop"],
        "template_sha256": hashlib.sha256(gguf.chat_template.encode()).hexdigest(),
        "adapter": adapter,
    }
    return Done(list(modelfiles), facts)


STAGE = Stage("modelfile", "write the Modelfile for Ollama", _inputs, _perform)
