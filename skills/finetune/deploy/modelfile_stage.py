"""The stage `modelfile`: what Ollama is told of the model, beside the files it is made of."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from harness.errors import InputError
from harness.models.weights import FileStore
from harness.runs import targets
from skills.finetune.deploy.modelfile import Modelfile, Parameter, write
from skills.finetune.formats.gguf_head import read_head
from skills.finetune.run.run_dir import Done, Out
from skills.finetune.run.stage import Stage, Work
from skills.nanda.framework import CLOSE_TAG

LIBRARY = re.compile(r"(?i)Qwen/Qwen(2\.5)-([\d.]+B)-Instruct")
"""Bases that Ollama's own library has under a name that follows from theirs."""
TEMPLATE = (
    "No TEMPLATE: the GGUF holds the chat template that the model was trained with, and Ollama\n"
    "uses that one. A Go template written here would be used instead of it."
)
SYSTEM = (
    "No SYSTEM: every row of the training data begins with a system message, and /annotate sends\n"
    "the same one. One that stands here would only be used where that is missing."
)
STOP = "The end of the turn, as the model was trained to write it, and the end of an annotation."
ADAPTER = (
    "The adapter alone, on the base that it was trained on. Ollama takes this up to 0.34.0; from\n"
    "0.34.1 on it refuses adapters, and the merged model of the other Modelfile is the way."
)


def served(work: Work) -> Path:
    """The GGUF that Ollama is given: the quantized one, else the one in 16 bits.

    Raises:
        InputError: there is neither.
    """
    out = work.out
    for path in (out.quantized(work.recipe.export.quantize), out.f16):
        if path.is_file():
            return path
    raise InputError(
        "there is no GGUF of the model yet",
        where=str(out.folder),
        hint=f"`/finetune gguf {out.folder}` makes it.",
    )


def adapter_base(work: Work) -> str | None:
    """What the adapter alone stands on: a GGUF of this machine, or a name of Ollama's library.

    None where neither is known of the recipe's base.
    """
    registry = work.call.models.registry
    if work.recipe.base in registry.files:
        store = FileStore(registry.files, work.cache, work.call.screen.notice)
        path = store.path(work.recipe.base)
        return str(path.resolve()) if path.is_file() else None
    if (path := Path(work.recipe.base).expanduser()).suffix == ".gguf" and path.is_file():
        return str(path.resolve())
    if found := LIBRARY.fullmatch(work.recipe.base):
        return f"qwen{found[1]}:{found[2].lower()}-instruct"
    return None


def digest_of(out: Out, path: Path) -> str:
    """The sha256 of a file of the run, from the manifest where the file is as a stage left it."""
    stat = path.stat()
    for stage in ("gguf", "quantize", "modelfile"):
        entry = out.entry(stage)
        kept = entry.outputs.get(path.name) if entry and path.parent == out.folder else None
        if kept and (kept.size, kept.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
            return kept.sha256
    return targets.digest(path)


def _inputs(work: Work) -> Mapping[str, Any]:
    gguf, lora = served(work), work.out.lora
    return {
        "gguf": gguf.name,
        "gguf_sha256": digest_of(work.out, gguf),
        "lora_sha256": digest_of(work.out, lora) if lora.is_file() else None,
        "adapter_base": adapter_base(work),
        "seed": work.recipe.training.seed,
        **work.recipe.export.model_dump(include={"num_ctx", "num_predict", "temperature"}),
    }


def _perform(work: Work) -> Done:
    gguf = served(work)
    head = read_head(gguf)
    if head.chat_template is None or head.end_of_turn is None:
        raise InputError(
            f"has no {'chat template' if head.chat_template is None else 'token that ends a turn'}",
            where=str(gguf),
            hint="Take a base that was trained for chat; its tokenizer files hold both.",
        )
    stop = tuple(dict.fromkeys((head.end_of_turn, CLOSE_TAG)))
    export = work.recipe.export
    parameters: dict[str, Parameter] = {
        "stop": stop,
        "temperature": export.temperature,
        "num_ctx": export.num_ctx,
        "num_predict": export.num_predict,
        "seed": work.recipe.training.seed,
    }
    _save(work.out.modelfile, Modelfile(f"./{gguf.name}", None, parameters), ())
    facts: dict[str, Any] = {
        "from": gguf.name,
        "stop": stop,
        "template_sha256": hashlib.sha256(head.chat_template.encode()).hexdigest(),
    }
    written, base = [work.out.modelfile], adapter_base(work)
    if not work.out.lora.is_file():
        facts["adapter"] = "none: the run has no adapter as GGUF"
    elif base is None:
        facts["adapter"] = f"none: no GGUF of {work.recipe.base} is known, here or at Ollama"
    else:
        modelfile = Modelfile(base, f"./{work.out.lora.name}", parameters)
        _save(work.out.adapter_modelfile, modelfile, (ADAPTER,))
        written.append(work.out.adapter_modelfile)
        facts["adapter"] = base
    return Done(written, facts)


def _save(path: Path, modelfile: Modelfile, comments: tuple[str, ...]) -> None:
    text = write(modelfile, (*comments, TEMPLATE, SYSTEM, STOP)).encode()

    def put(file: IO[bytes]) -> None:
        file.write(text)

    targets.write(path, put)


MODELFILE = Stage("modelfile", "write what Ollama is told of the model", _inputs, _perform)
