"""The stage `ollama`: make the model at a server, of what the Modelfile says, and verify it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import InputError, UsageError
from harness.terminal.console import Screen
from skills.finetune.deploy.modelfile import Modelfile, parse
from skills.finetune.deploy.modelfile_stage import digest_of, served
from skills.finetune.deploy.ollama_api import Ollama
from skills.finetune.deploy.ollama_host import host_of, parse_version
from skills.finetune.deploy.ollama_verify import Expected, verify
from skills.finetune.deploy.registered import name_of
from skills.finetune.formats.gguf_head import GgufHead, read_head
from skills.finetune.run.run_dir import Done, Out
from skills.finetune.run.stage import Stage, Work

FILES_SINCE = (0, 5, 5)
"""Before it, /api/create took the text of a Modelfile with paths of the server's own disk."""
GGUF_ALONE_SINCE = (0, 34, 1)
"""From it on, /api/create refuses adapters, and to quantize a GGUF."""
QUANTIZES = ("Q4_K_M", "Q4_K_S", "Q8_0")
"""What /api/create quantizes a GGUF to, before that."""
SIXTEEN_BITS = ("F16", "BF16", "F32")
ADAPTER_SUFFIX = "-lora"
"""Of the name of the model that is made of the base and the adapter alone."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made.

    Attributes:
        model: its name at the server.
        modelfile: what the run's Modelfile says.
        files, adapters: the files that are sent, by the name that the server is told.
        quantize: what the server is to quantize to, where the file is in 16 bits.
        head: of the GGUF whose template and tokens the model has.
        file_type: how its weights are kept in the end; None where only the server knows.
    """

    model: str
    modelfile: Modelfile
    files: Mapping[str, Path]
    adapters: Mapping[str, Path]
    quantize: str | None
    head: GgufHead
    file_type: str | None

    def body(self, digest: Callable[[Path], str]) -> dict[str, Any]:
        """What /api/create is sent; `digest` gives the sha256 of a file."""
        modelfile = self.modelfile
        files, adapters = (
            {name: f"sha256:{digest(path)}" for name, path in paths.items()}
            for paths in (self.files, self.adapters)
        )
        parameters = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in modelfile.parameters.items()
        }
        given = {
            "from": None if files else modelfile.base,
            "files": files,
            "adapters": adapters,
            "parameters": parameters,
            "quantize": self.quantize,
            "template": modelfile.template,
            "system": modelfile.system,
        }
        # `parameters.stop` is a list: a text would be stored, and fail every chat from then on.
        return {"model": self.model, **{name: value for name, value in given.items() if value}}


def plan_of(work: Work) -> Plan:
    """Read what is to be made from the run's folder.

    Raises:
        InputError: the Modelfile or a file that it names is missing or cannot be used.
        UsageError: the Modelfile says what is not sent on.
    """
    adapter = bool(getattr(work.call.options, "adapter", False))
    out = work.out
    path = out.adapter_modelfile if adapter else out.modelfile
    modelfile = _read(path)
    files, adapters = _named(out, modelfile.base), {}
    if not files and modelfile.base.endswith(".gguf"):
        raise InputError(f"names {modelfile.base}, which is not there", where=str(path))
    if modelfile.adapter is not None:
        adapters = _named(out, modelfile.adapter)
        if not adapters:
            raise InputError(f"names {modelfile.adapter}, which is not there", where=str(path))
    head = read_head(next(iter(files.values()), None) or served(work))
    file_type = head.file_type if files else None
    quantize = None
    if file_type in SIXTEEN_BITS and not adapters:
        quantize = file_type = work.recipe.export.quantize
    name = name_of(work) + ADAPTER_SUFFIX * adapter
    return Plan(name, modelfile, files, adapters, quantize, head, file_type)


def refuse_old(version: str) -> None:
    """Refuse a server that takes no files at all.

    Raises:
        UsageError: saying since when one does.
    """
    numbers = parse_version(version)
    if numbers is not None and numbers < FILES_SINCE:
        raise UsageError(
            f"Ollama {version} is too old: it cannot make a model of files that are sent to it",
            hint="0.5.5 and later can. Update it.",
        )


def check_version(version: str, plan: Plan) -> None:
    """Refuse, before gigabytes are sent, what a server of this version does not take.

    Raises:
        UsageError: saying why, and what to do.
    """
    refuse_old(version)
    numbers = parse_version(version)
    if numbers is None:
        return
    if numbers >= GGUF_ALONE_SINCE and plan.adapters:
        raise UsageError(
            f"Ollama {version} takes no adapters",
            hint="0.34.1 took them out. Leave out --adapter: the merged model says the same.",
        )
    if plan.quantize and (numbers >= GGUF_ALONE_SINCE or plan.quantize not in QUANTIZES):
        raise UsageError(
            f"Ollama {version} does not quantize a GGUF to {plan.quantize}",
            hint="`/finetune quantize` does it here, and `/finetune modelfile` then names that.",
        )


def _inputs(work: Work) -> Mapping[str, Any]:
    plan = plan_of(work)
    host = host_of(getattr(work.call.options, "host", None))
    with Ollama(host) as ollama:
        version = ollama.version()
        check_version(version, plan)
        there = ollama.digest(plan.model)
    return {
        "host": ollama.host,
        "version": version,
        "stands": _stands(work.out, there),
        "create": plan.body(partial(digest_of, work.out)),
    }


def _perform(work: Work) -> Done:
    plan, screen = plan_of(work), work.call.screen
    with Ollama(host_of(getattr(work.call.options, "host", None))) as ollama:
        version = ollama.version()
        check_version(version, plan)
        sent = [_send(ollama, work.out, path, screen) for path in plan.files.values()]
        sent += [_send(ollama, work.out, path, screen) for path in plan.adapters.values()]
        body = plan.body(partial(digest_of, work.out))
        _create(ollama, body, screen)
        with screen.progress("verifying"):
            found = verify(ollama, _expected(work, plan, version), work.framework)
        digest = ollama.digest(plan.model)
    for line in (*found.problems, *found.notes):
        screen.notice(f"ollama: {line}")
    facts = {
        "model": plan.model,
        "host": ollama.host,
        "version": version,
        "digest": digest,
        "sent_bytes": sum(sent),
        "verified": not found.problems,
        "problems": found.problems,
        "notes": found.notes,
        **found.facts,
    }
    return Done([], facts)


def _send(ollama: Ollama, out: Out, path: Path, screen: Screen) -> int:
    """Send a file unless the server has it; return the bytes that were sent."""
    sha256, size = digest_of(out, path), path.stat().st_size
    if ollama.has_blob(sha256):
        screen.notice(f"ollama: {path.name} is there already")
        return 0
    screen.notice(f"ollama: sending {path.name}, {size / 1e6:,.1f} MB")
    with screen.progress(f"sending {path.name}") as tick:
        ollama.send_blob(
            path, sha256, lambda sent: tick(f"{sent / 1e6:,.0f} of {size / 1e6:,.0f} MB")
        )
    return size


def _create(ollama: Ollama, body: Mapping[str, Any], screen: Screen) -> None:
    said = ""

    def tell(status: str) -> None:
        nonlocal said
        tick(status)
        words = status.rstrip("0123456789%").strip()
        if words != said:  # a share of what is quantized is told many times a second
            screen.notice(f"ollama: {words}")
        said = words

    with screen.progress("making the model") as tick:
        ollama.create(body, tell)


def _expected(work: Work, plan: Plan, version: str) -> Expected:
    trained_with = None
    with suppress(OSError, ValueError):
        prepared = json.loads((work.out.prepared / "prepared.json").read_text(encoding="utf-8"))
        trained_with = prepared.get("template_sha256")
    return Expected(plan.model, version, plan.file_type, plan.head, plan.modelfile, trained_with)


def _stands(out: Out, there: str | None) -> bool:
    """Whether what an earlier run left at the server is still there, and was found good."""
    entry = out.entry("ollama")
    if entry is None:
        return True
    return entry.facts.get("digest") == there and bool(entry.facts.get("verified"))


def _read(path: Path) -> Modelfile:
    try:
        modelfile = parse(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise InputError(
            f"cannot be read: {exc.strerror or exc}",
            where=str(path),
            hint=f"`/finetune modelfile {path.parent}` writes it.",
        ) from exc
    if modelfile.others:
        raise UsageError(
            f"{modelfile.others[0][0]} is not sent on", where=str(path), hint="Take it out."
        )
    return modelfile


def _named(out: Out, name: str) -> dict[str, Path]:
    """The file that a Modelfile names, by the name that the server is told; {} if there is none."""
    path = out.folder / name
    return {path.name: path} if path.is_file() else {}


OLLAMA = Stage("ollama", "make the model at Ollama, and verify it", _inputs, _perform)
