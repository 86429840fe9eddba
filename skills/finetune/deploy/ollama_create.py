"""The stage `ollama`: create the model on a server from the Modelfile, and verify it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError, UsageError
from harness.models.gguf_file import GgufFile, open_gguf
from harness.terminal.console import Screen
from skills.finetune.deploy.modelfile import Modelfile, parse
from skills.finetune.deploy.modelfile_stage import served_gguf
from skills.finetune.deploy.ollama_api import Ollama, host_of, parse_version
from skills.finetune.deploy.ollama_verify import Expected, verify
from skills.finetune.deploy.registered import name_of
from skills.finetune.export.artifact_files import file_digest
from skills.finetune.run.run_dir import Done, RunDir
from skills.finetune.run.stage import Stage, StageContext

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
        files, adapters: the files to send, by the name in the request.
        quantize: the type the server has to quantize a 16-bit file to, or None.
        gguf: the GGUF with the template and the tokens of the model.
        file_type: the type of the weights in the end, or None if only the server knows it.
    """

    model: str
    modelfile: Modelfile
    files: Mapping[str, Path]
    adapters: Mapping[str, Path]
    quantize: str | None
    gguf: GgufFile
    file_type: str | None

    def request(self, run_dir: RunDir) -> dict[str, Any]:
        """Return the arguments of /api/create."""
        modelfile = self.modelfile
        files, adapters = (
            {name: f"sha256:{file_digest(run_dir, path)}" for name, path in paths.items()}
            for paths in (self.files, self.adapters)
        )
        # `stop` must be a list: the server would store a text, and then fail every chat.
        parameters = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in modelfile.parameters.items()
        }
        request = {
            "from": None if files else modelfile.base,
            "files": files,
            "adapters": adapters,
            "parameters": parameters,
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
    adapter, run_dir = bool(getattr(context.call.options, "adapter", False)), context.run_dir
    path = run_dir.adapter_modelfile if adapter else run_dir.modelfile
    modelfile = _read(path)
    files, adapters = _named(run_dir, modelfile.base), _named(run_dir, modelfile.adapter)
    missing = modelfile.adapter if modelfile.adapter and not adapters else None
    if not files and modelfile.base.endswith(".gguf"):
        missing = modelfile.base
    if missing is not None:
        raise InputError(f"names {missing}, which does not exist", where=str(path))
    gguf = open_gguf(next(iter(files.values()), None) or served_gguf(context))
    file_type = gguf.file_type if files else None
    quantize = None
    if file_type in SIXTEEN_BITS and not adapters:
        quantize = file_type = context.recipe.export.quantize
    name = name_of(context) + ADAPTER_SUFFIX * adapter
    return Plan(name, modelfile, files, adapters, quantize, gguf, file_type)


def refuse_old(version: str) -> None:
    """Raise UsageError for a server that does not accept files."""
    numbers = parse_version(version)
    if numbers is not None and numbers < FILES_SINCE:
        raise UsageError(
            f"Ollama {version} is too old: it cannot create a model from uploaded files",
            hint="Update it to 0.5.5 or later.",
        )


def check_version(version: str, plan: Plan) -> None:
    """Raise UsageError if a server of this version rejects the plan, before files are sent."""
    refuse_old(version)
    numbers = parse_version(version)
    if numbers is None:
        return
    if numbers >= GGUF_ALONE_SINCE and plan.adapters:
        raise UsageError(
            f"Ollama {version} does not support adapters",
            hint="0.34.1 removed them. Leave out --adapter: the merged model is equivalent.",
        )
    if plan.quantize and (numbers >= GGUF_ALONE_SINCE or plan.quantize not in QUANTIZES):
        raise UsageError(
            f"Ollama {version} does not quantize a GGUF to {plan.quantize}",
            hint="Run `/finetune quantize`, then `/finetune modelfile` to use its result.",
        )


def _connect(context: StageContext) -> Ollama:
    return Ollama(host_of(getattr(context.call.options, "host", None)))


def _inputs(context: StageContext) -> Mapping[str, Any]:
    plan, entry = make_plan(context), context.run_dir.entry("ollama")
    with _connect(context) as ollama:
        version = ollama.version()
        check_version(version, plan)
        digest = ollama.digest(plan.model)
    # False if the model of an earlier run is gone, or was found faulty.
    stands = entry is None or (
        entry.facts.get("digest") == digest and bool(entry.facts.get("verified"))
    )
    request = plan.request(context.run_dir)
    return {"host": ollama.host, "version": version, "stands": stands, "create": request}


def _perform(context: StageContext) -> Done:
    plan, screen = make_plan(context), context.call.screen
    with _connect(context) as ollama:
        version = ollama.version()
        check_version(version, plan)
        paths = (*plan.files.values(), *plan.adapters.values())
        sent = sum(_send(ollama, context.run_dir, path, screen) for path in paths)
        _create(ollama, plan.request(context.run_dir), screen)
        with screen.progress("verifying"):
            found = verify(ollama, _expected(context, plan, version), context.framework)
        digest = ollama.digest(plan.model)
    for line in (*found.problems, *found.notes):
        screen.notice(f"ollama: {line}")
    facts = {
        "model": plan.model,
        "host": ollama.host,
        "version": version,
        "digest": digest,
        "sent_bytes": sent,
        "verified": not found.problems,
        "problems": found.problems,
        "notes": found.notes,
        **found.facts,
    }
    return Done([], facts)


def _send(ollama: Ollama, run_dir: RunDir, path: Path, screen: Screen) -> int:
    """Send a file unless the server has it; return the number of bytes sent."""
    sha256, size = file_digest(run_dir, path), path.stat().st_size
    if ollama.has_blob(sha256):
        screen.notice(f"ollama: the server already has {path.name}")
        return 0
    screen.notice(f"ollama: sending {path.name}, {size / 1e6:,.1f} MB")
    with screen.progress(f"sending {path.name}") as tick:
        ollama.send_blob(
            path, sha256, lambda sent: tick(f"{sent / 1e6:,.0f} of {size / 1e6:,.0f} MB")
        )
    return size


def _create(ollama: Ollama, request: dict[str, Any], screen: Screen) -> None:
    last = ""

    def on_status(status: str) -> None:
        nonlocal last
        tick(status)
        step = status.rstrip("0123456789%").strip()
        if step != last:  # the percentage changes many times a second
            screen.notice(f"ollama: {step}")
        last = step

    with screen.progress("creating the model") as tick:
        ollama.create(on_status, request)


def _expected(context: StageContext, plan: Plan, version: str) -> Expected:
    trained_with = context.run_dir.prepared_facts().get("template_sha256")
    return Expected(plan.model, version, plan.file_type, plan.gguf, plan.modelfile, trained_with)


def _read(path: Path) -> Modelfile:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise InputError(
            f"cannot be read: {exc.strerror or exc}",
            where=str(path),
            hint=f"`/finetune modelfile {path.parent}` writes it.",
        ) from exc


def _named(run_dir: RunDir, name: str | None) -> dict[str, Path]:
    """Return the file that a Modelfile names, by its name in the request; {} if not a file."""
    path = run_dir.folder / (name or "")
    return {path.name: path} if path.is_file() else {}


STAGE = Stage("ollama", "create the model in Ollama, and verify it", _inputs, _perform)
