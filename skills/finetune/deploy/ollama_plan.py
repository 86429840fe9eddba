"""The model that the stage `ollama` creates, and the server versions that can create it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError, UsageError
from harness.models.gguf_file import GgufFile, open_gguf
from skills.finetune.deploy.modelfile import Modelfile, parse
from skills.finetune.deploy.modelfile_stage import served_gguf
from skills.finetune.deploy.ollama_api import parse_version
from skills.finetune.deploy.registered import name_of
from skills.finetune.export.artifact_files import file_digest
from skills.finetune.run.run_dir import RunDir
from skills.finetune.run.stage import StageContext

FILES_SINCE = (0, 5, 5)
"""Before it, /api/create took the text of a Modelfile with paths on the server's own disk."""
GGUF_ALONE_SINCE = (0, 34, 1)
"""From it on, /api/create rejects adapters and does not quantize a GGUF."""
QUANTIZES = ("Q4_K_M", "Q4_K_S", "Q8_0")
"""The types to which /api/create quantizes a GGUF before that version."""
SIXTEEN_BITS = ("F16", "BF16", "F32")
ADAPTER_SUFFIX = "-lora"
"""Suffix of the name of the model made of the base and the adapter."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The model to create.

    Attributes:
        model: its name on the server.
        file, adapter: the files to send; None where the Modelfile names a model of the server.
        quantize: the type the server has to quantize a 16-bit file to, or None.
        gguf: the GGUF with the template and the tokens of the model.
        file_type: the type of the weights in the end, or None if only the server knows it.
    """

    model: str
    modelfile: Modelfile
    file: Path | None
    adapter: Path | None
    quantize: str | None
    gguf: GgufFile
    file_type: str | None

    def request(self, run_dir: RunDir) -> dict[str, Any]:
        """Return the arguments of /api/create."""
        modelfile = self.modelfile
        files, adapters = (
            {path.name: f"sha256:{file_digest(run_dir, path)}"} if path else None
            for path in (self.file, self.adapter)
        )
        request = {
            "from": None if files else modelfile.base,
            "files": files,
            "adapters": adapters,
            "parameters": modelfile.parameters,
            "quantize": self.quantize,
            "template": modelfile.template,
            "system": modelfile.system,
        }
        return {"model": self.model, **{name: value for name, value in request.items() if value}}


def make_plan(context: StageContext) -> Plan:
    """Read the Modelfile and the files it names.

    Raises:
        InputError: the Modelfile or a file it names is missing or cannot be used.
    """
    of_adapter, run_dir = bool(getattr(context.call.options, "adapter", False)), context.run_dir
    path = run_dir.adapter_modelfile if of_adapter else run_dir.modelfile
    modelfile = _read(path)
    file, adapter = _named(path, modelfile.base), _named(path, modelfile.adapter)
    gguf = open_gguf(file or served_gguf(context))
    file_type = gguf.file_type if file else None
    quantize = None
    if file_type in SIXTEEN_BITS and not adapter:
        quantize = file_type = context.recipe.export.quantize
    name = name_of(context) + ADAPTER_SUFFIX * of_adapter
    return Plan(name, modelfile, file, adapter, quantize, gguf, file_type)


def check_version(version: str, plan: Plan | None = None) -> None:
    """Raise UsageError if a server of this version rejects the plan, before files are sent.

    Args:
        plan: the model to create; None to check only that the server accepts files.
    """
    numbers = parse_version(version)
    if numbers is None:
        return
    if numbers < FILES_SINCE:
        raise UsageError(
            f"Ollama {version} is too old: it cannot create a model from uploaded files",
            hint="Update it to 0.5.5 or later.",
        )
    if plan and plan.adapter and numbers >= GGUF_ALONE_SINCE:
        raise UsageError(
            f"Ollama {version} does not support adapters",
            hint="0.34.1 removed them. Leave out --adapter: the merged model is equivalent.",
        )
    if plan and plan.quantize and (numbers >= GGUF_ALONE_SINCE or plan.quantize not in QUANTIZES):
        raise UsageError(
            f"Ollama {version} does not quantize a GGUF to {plan.quantize}",
            hint="Run `/finetune quantize`, then `/finetune modelfile` to use its result.",
        )


def _read(path: Path) -> Modelfile:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise InputError(
            f"cannot be read: {exc.strerror or exc}",
            where=str(path),
            hint=f"`/finetune modelfile {path.parent}` writes it.",
        ) from exc


def _named(modelfile: Path, name: str | None) -> Path | None:
    """Return the file that a Modelfile names; None for nothing or a model of the server."""
    path = modelfile.parent / (name or "")
    if path.is_file():
        return path
    if name and path.suffix == ".gguf":
        raise InputError(f"names {name}, which does not exist", where=str(modelfile))
    return None
