"""The models of the Ollama test server: created from blobs, quantized, rendered, and run."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rapidfuzz.distance import Levenshtein

from harness.errors import InputError
from harness.models.backend import Message, OnText, Reply, Request
from harness.models.backends import llamacpp
from harness.models.backends.llamacpp import LlamaCppModel
from harness.models.gguf_file import GgufFile, open_gguf

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
GO_CHATML = (
    "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
    "<|im_start|>assistant\n"
)
PROMPT_ALONE = "{{ .Prompt }}"
GUESSED_BELOW = 100
"""Edit distance to a known template below which Ollama uses its own."""
QUANTIZES = {"F16": 1, "BF16": 32, "F32": 0, "Q8_0": 7, "Q4_K_S": 14, "Q4_K_M": 15, "Q4_K": 15}
QUANTIZE = """
import sys
from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib
source, target, ftype = sys.argv[1:]
given = get_ffi().new("llama_model_quantize_params *")
given[0] = get_lib().llama_model_quantize_default_params()
given.ftype, given.allow_requantize = int(ftype), True
sys.exit(get_lib().llama_model_quantize(source.encode(), target.encode(), given))
"""


class CannotMake(Exception):
    """An error of /api/create, or of a prompt that cannot be rendered."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Made:
    """A model of the server: its files and layers."""

    gguf: GgufFile
    file_type: str
    adapter: Path | None = None
    template: str | None = None
    system: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        layers = [self.gguf.path.name, self.adapter and self.adapter.name, self.template]
        layers += [self.system, self.parameters]
        return hashlib.sha256(json.dumps(layers, sort_keys=True).encode()).hexdigest()


class Blobs:
    """The uploaded files, by their SHA-256."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        return self.folder / digest.replace(":", "-")

    def keep(self, digest: str, pieces: Iterator[bytes]) -> bool:
        """Store an upload; return False, and delete it, if its digest differs."""
        partial, sha256 = self.folder / f"partial-{threading.get_ident()}", hashlib.sha256()
        with partial.open("wb") as file:
            for piece in pieces:
                sha256.update(piece)
                file.write(piece)
        if f"sha256:{sha256.hexdigest()}" != digest:
            partial.unlink()
            return False
        partial.replace(self.path(digest))
        return True

    def gguf(self, digest: str) -> GgufFile:
        path = self.path(digest)
        if not path.is_file():
            raise CannotMake(f"open {path.name}: no such file or directory")
        try:
            return open_gguf(path)
        except InputError as exc:
            raise CannotMake("supplied file was not in GGUF format", 400) from exc


def quantized(gguf: GgufFile, kind: str, blobs: Blobs) -> GgufFile:
    """Quantize a model with llama.cpp's library; Ollama runs llama-quantize.

    Raises:
        CannotMake: Ollama does not take the type, or the library is not installed.
    """
    if kind not in QUANTIZES:
        raise CannotMake(
            f"unsupported quantization type {kind} - supported types are F32, F16, ..."
        )
    if gguf.file_type not in ("F16", "BF16", "F32"):
        raise CannotMake("quantization is only supported for F16, BF16 and F32 models")
    target = blobs.folder / f"quantizing-{threading.get_ident()}"
    arguments = [sys.executable, "-c", QUANTIZE, str(gguf.path), str(target), str(QUANTIZES[kind])]
    ran = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise CannotMake(f"unsupported quantization type {kind}: {ran.stderr.strip()[-200:]}")
    kept = blobs.path("sha256:" + hashlib.sha256(target.read_bytes()).hexdigest())
    return open_gguf(target.replace(kept))


def guessed_template(gguf: GgufFile) -> str | None:
    """Return the built-in Go template that Ollama would use for a GGUF, or None."""
    template = gguf.chat_template or ""
    near = template and Levenshtein.distance(template, CHATML) < GUESSED_BELOW
    return GO_CHATML if near else None


def full_name(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def make(
    body: Mapping[str, Any],
    models: Mapping[str, Made],
    blobs: Blobs,
    tell: Callable[..., None],
    *,
    rewrites: bool,
) -> Made:
    """Create a model, reporting each step.

    Args:
        rewrites: a GGUF is copied through llama-quantize; here this is only reported.

    Raises:
        CannotMake: as Ollama cannot.
    """
    parameters = dict(body.get("parameters") or {})
    files, adapters = body.get("files") or {}, body.get("adapters") or {}
    if body.get("from"):
        if (parent := models.get(full_name(body["from"]))) is None:
            tell("pulling manifest")
            raise CannotMake("pull model manifest: file does not exist")
        made = Made(parent.gguf, parent.file_type, parent.adapter, parent.template, parent.system)
        made.parameters = {**parent.parameters, **parameters}
    elif files:
        tell("parsing GGUF")
        gguf = blobs.gguf(next(iter(files.values())))
        made = Made(gguf, gguf.file_type or "unknown", None, guessed_template(gguf))
        if made.template == GO_CHATML:
            tell("using autodetected template chatml")
            made.parameters["stop"] = ["<|im_start|>", "<|im_end|>"]
        made.parameters |= parameters
    else:
        raise CannotMake("neither 'from' or 'files' was specified", 400)
    if len(adapters) > 1:
        raise CannotMake("only one adapter is currently supported", 400)
    for digest in adapters.values():
        made.adapter = blobs.gguf(digest).path
    if kind := str(body.get("quantize") or "").upper():
        tell("verifying conversion", digest="0000000000000000000", total=100, completed=0)
        made.gguf = quantized(made.gguf, kind, blobs)
        made.file_type = made.gguf.file_type or "unknown"
        tell("verifying conversion", digest="0000000000000000000", total=100, completed=100)
        tell(f"creating new layer {made.gguf.path.name.replace('-', ':')}")
    elif files and rewrites:
        tell("verifying conversion")
    made.template = body.get("template") or made.template
    made.system = body.get("system") or made.system
    for digest in (*files.values(), *adapters.values()):
        tell(f"using existing layer {digest}")
    return made


class Runner:
    """A model that runs, in llama.cpp."""

    def __init__(self, made: Made, *, runs_jinja: bool) -> None:
        files = {"gguf": made.gguf.path}
        if made.adapter is not None:
            files["adapter"] = made.adapter
        running = llamacpp.start(files, int(made.parameters.get("num_ctx", 4096)))
        self._model = LlamaCppModel(running, {}, 1)
        self._template = made.template or (None if runs_jinja else PROMPT_ALONE)

    def close(self) -> None:
        self._model.close()

    @property
    def template(self) -> str | None:
        """The template used in place of the GGUF's Jinja template."""
        return self._template

    def render(self, messages: tuple[Message, ...]) -> str:
        if self._template == GO_CHATML:
            turns = "".join(f"<|im_start|>{m.role}\n{m.content}<|im_end|>\n" for m in messages)
            return f"{turns}<|im_start|>assistant\n"
        if self._template == PROMPT_ALONE:
            return messages[-1].content
        if self._template is not None:
            raise CannotMake("this test server knows no other Go template than ChatML", 500)
        asked = {"messages": [{"role": m.role, "content": m.content} for m in messages]}
        return str(self._ask("/apply-template", asked)["prompt"])

    def generate(self, request: Request, on_text: OnText) -> Reply:
        if self._template is None:
            return self._model.generate(request, on_text)
        asked = {
            "prompt": self.render(request.messages),
            "n_predict": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed,
            "stop": list(request.stop),
        }
        found = self._ask("/completion", asked)
        on_text(found["content"])
        reason = "length" if found["stop_type"] == "limit" else "stop"
        counts = found["tokens_evaluated"], found["tokens_predicted"]
        return Reply(found["content"], reason, *counts, seconds=0.1)  # type: ignore[arg-type]

    def _ask(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._model._running().request("POST", path, body)
