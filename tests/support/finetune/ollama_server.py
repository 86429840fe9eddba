"""A test server that creates models as Ollama does, and generates with the real engine.

    with OllamaServer(folder, version="0.33.0") as server:
        server.fail("busy")                   # every chat from now on: see protocol_server
        server.fail_create("unfinished")      # the next /api/create
        ... ollama.Client(server.url).create(...) ...

It follows the Go source as docs/ollama.md describes it: blobs, /api/create from GGUF files and
adapters or from a model, its guess of a template, /api/show, /api/chat. What it refuses depends on
`version`: from 0.34.1 on adapters, and to quantize; before 0.30.0 it runs no Jinja; before 0.11.5
it does not render without answering. Failures of /api/create, all documented:

    early       500 before the first line
    error       an error line after the first, under status 200
    unfinished  the stream ends in order, without `success`
    cut         the connection ends in the middle of a line
    garbage     a line that is not JSON
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ollama_models import (
    PROMPT_ALONE,
    Blobs,
    CannotMake,
    Made,
    Runner,
    full_name,
    make,
)
from protocol_dialects import OllamaDialect
from protocol_requests import ProtocolError, check_ollama, messages_of
from protocol_server import (
    LOADED,
    STREAMED,
    Gone,
    ProtocolHandler,
    ProtocolServer,
    rendered_only,
)

from harness.models.backend import Message, Request
from skills.finetune.export.ollama_api import parse_version

GGUF_ALONE = (0, 34, 1)
RUNS_JINJA = (0, 30, 0)
TELLS_PROMPT = (0, 11, 5)
NO_QUANTIZE = (
    "create-time quantization is only supported for safetensors imports; quantize GGUF models "
    "with llama.cpp tools before importing"
)
CREATE_FAILURES = ("early", "error", "unfinished", "cut")
DEFAULTS = {"temperature": 0.8, "num_predict": 512, "seed": 1}
NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)*(:[\w.-]+)?")


class OllamaServer(ProtocolServer):
    """The server; a context manager. `folder` is where blobs are kept."""

    def __init__(self, folder: Path, version: str = "0.33.0") -> None:
        super().__init__(names=())
        self._http.RequestHandlerClass = type("Handler", (_OllamaHandler,), {"state": self})
        self.blobs, self.version = Blobs(folder), version
        self.models: dict[str, Made] = {}
        self.create_failure: str | None = None
        self._runners: dict[str, Runner] = {}
        self._lock = threading.Lock()

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__(*exc_info)
        for name in list(self._runners):
            self.unload(name)

    def since(self, version: tuple[int, int, int]) -> bool:
        return (parse_version(self.version) or (9, 9, 9)) >= version

    def fail_create(self, how: str) -> None:
        assert how in CREATE_FAILURES
        self.create_failure = how

    def keep(self, name: str, made: Made) -> None:
        self.unload(name)
        self.models[name] = made
        self.names = tuple(sorted(self.models))

    def remove(self, name: str) -> None:
        self.unload(name)
        del self.models[name]
        self.names = tuple(sorted(self.models))

    def unload(self, name: str) -> None:
        with self._lock:
            if runner := self._runners.pop(name, None):
                runner.close()

    def runner(self, name: str) -> Runner:
        with self._lock:
            if name not in self._runners:
                runs_jinja = self.since(RUNS_JINJA)
                self._runners[name] = Runner(self.models[name], runs_jinja=runs_jinja)
            return self._runners[name]


class _OllamaHandler(ProtocolHandler):
    state: OllamaServer

    def do_GET(self) -> None:
        self._record(None)
        routes = {
            "/api/version": lambda: self._json(200, {"version": self.state.version}),
            "/api/tags": lambda: self._json(200, {"models": list(self._tags())}),
        }
        self._route(routes)

    def do_HEAD(self) -> None:
        self._record(None)
        digest = self._digest()
        there = digest is not None and self.state.blobs.path(digest).is_file()
        self.send_response(400 if digest is None else 200 if there else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        if self.path.startswith("/api/blobs/"):
            self._record(None)
            self._route({self.path: self._take_blob})
            return
        try:
            body = json.loads(b"".join(self._body()) or b"null")
        except ValueError:
            body = None
        self._record(body)
        routes = {
            "/api/create": lambda: self._create(body),
            "/api/show": lambda: self._show(body),
            "/api/chat": lambda: self._chat(body),
        }
        self._route(routes)

    def do_DELETE(self) -> None:
        body = json.loads(b"".join(self._body()) or b"null")
        self._record(body)
        self._route({"/api/delete": lambda: self._delete(body)})

    def _route(self, routes: dict[str, Any]) -> None:
        host = (self.headers.get("Host") or "").rpartition(":")[0]
        if host in ("127.0.0.1", "localhost"):
            super()._route(routes)
        else:  # Ollama on loopback refuses other names, with an empty body
            self._send(403, b"", "text/plain")

    def _body(self) -> Iterator[bytes]:
        """Yield the request body, which the Python client may send in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            left = int(self.headers.get("Content-Length") or 0)
            while left:
                piece = self.rfile.read(min(left, 1 << 20))
                left -= len(piece)
                yield piece
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    # Blobs and models

    def _digest(self) -> str | None:
        found = re.fullmatch(r"/api/blobs/(sha256[:-][0-9a-fA-F]{64})", self.path)
        return found[1].replace("-", ":") if found else None

    def _take_blob(self) -> None:
        digest, pieces = self._digest(), self._body()
        if digest is None:
            raise ProtocolError(400, "invalid digest format")
        if self.state.blobs.path(digest).is_file():
            for _ in pieces:
                pass
            self._send(200, b"", "text/plain")
        elif self.state.blobs.keep(digest, pieces):
            self._send(201, b"", "text/plain")
        else:
            raise ProtocolError(400, "digest mismatch, expected another one")

    def _tags(self) -> Iterator[dict[str, Any]]:
        for name, made in self.state.models.items():
            yield {
                "name": name,
                "model": name,
                "modified_at": "2026-11-24T10:00:00Z",
                "size": made.gguf.path.stat().st_size,
                "digest": made.digest,
                "details": {**_details(made), "context_length": 2048},
                "capabilities": ["completion"],
            }

    def _delete(self, body: Any) -> None:
        self.state.remove(full_name(self._check_model(body)))
        self._send(200, b"", "text/plain")

    def _show(self, body: Any) -> None:
        name = full_name(self._check_model(body))
        made, jinja = self.state.models[name], self.state.since(RUNS_JINJA)
        used = made.template or (made.gguf.chat_template if jinja else PROMPT_ALONE)
        parameters = [
            f"{key:<30} {json.dumps(value)}"
            for key, values in reversed(made.parameters.items())  # Ollama has no fixed order
            for value in (values if isinstance(values, list) else [values])
        ]
        info = {"general.architecture": "llama", "llama.context_length": 2048}
        lines = [f"FROM {made.gguf.path}"] + [f"ADAPTER {made.adapter}"] * bool(made.adapter)
        shown = {
            "modelfile": "\n".join(lines),
            "parameters": "\n".join(parameters),
            "template": used,
            "system": made.system,
            "details": _details(made),
            "model_info": info,
            "tensors": [{"name": "output.weight", "type": "Q8_0", "shape": [256, 300]}],
            "capabilities": ["completion"],
            "modified_at": "2026-11-24T10:00:00Z",
        }
        # Ollama omits empty fields.
        self._json(200, {name: value for name, value in shown.items() if value})

    def _check_create(self, body: Any) -> None:
        if not isinstance(body, dict):
            raise ProtocolError(400, "missing request body")
        for path in body.get("files") or {}:  # Ollama does not check paths of adapters
            if path.startswith("/") or ".." in path.split("/"):
                raise ProtocolError(400, "file path must be relative")
        if not NAME.fullmatch(str(body.get("model") or "")):
            raise ProtocolError(400, "invalid model name")
        if body.get("adapters") and self.state.since(GGUF_ALONE):
            raise ProtocolError(400, "LoRA adapters are no longer supported")
        if body.get("quantize") and self.state.since(GGUF_ALONE):
            raise ProtocolError(400, NO_QUANTIZE)
        if self.state.create_failure == "early":
            raise ProtocolError(500, "mkdir blobs: permission denied")

    def _create(self, body: Any) -> None:
        self._check_create(body)
        state = self.state
        streams = body.get("stream") is not False
        self._streaming = False
        try:
            rewrites = not state.since(GGUF_ALONE)
            tell = self._status if streams else _tell_nobody
            made = make(body, state.models, state.blobs, tell, rewrites=rewrites)
            tell("writing manifest")
            if state.create_failure != "unfinished":
                state.keep(full_name(body["model"]), made)
                tell("success")
        except CannotMake as exc:
            if not self._streaming:
                raise ProtocolError(400, str(exc)) from exc
            self._chunk(json.dumps({"error": str(exc)}).encode() + b"\n")
        if streams:
            self._finish()
        else:
            self._json(200, {"status": "success"})

    def _status(self, status: str, **more: Any) -> None:
        failure = self.state.create_failure
        if not self._streaming:
            self._begin("application/x-ndjson")
            self._streaming = True
        self._chunk(json.dumps({"status": status, **more}).encode() + b"\n")
        if failure == "error":
            raise CannotMake("llama-quantize: no space left on device")
        if failure == "cut":
            self.wfile.write(b'400\r\n{"status": "half a')
            raise Gone

    # Chatting

    def _chat(self, body: Any) -> None:
        name = full_name(self._check_model(body))
        made = self.state.models[name]
        if not body.get("messages"):
            self._json(200, {"model": name, **LOADED})
            return
        options = {**DEFAULTS, **made.parameters, **(body.get("options") or {})}
        check_ollama({**body, "options": options, "stream": True})
        self._fail_early(name)
        messages = messages_of(body["messages"])
        if made.system and messages[0].role != "system":
            messages = (Message("system", made.system), *messages)
        runner = self.state.runner(name)
        if body.get("_debug_render_only") and self.state.since(TELLS_PROMPT):
            with _as_refusal():
                rendered = runner.render(messages)
            self._json(200, {"model": name, **rendered_only(rendered)})
            return
        request = Request(
            messages=messages,
            max_tokens=options["num_predict"],
            temperature=options["temperature"],
            seed=options["seed"],
            stop=tuple(options.get("stop", ())),
            json_schema=body.get("format") or None,
        )
        self._answer(name, request, runner, streams=body.get("stream") is not False)

    def _answer(self, name: str, request: Request, runner: Runner, *, streams: bool) -> None:
        last_message = request.messages[-1]
        begun = last_message.content if last_message.role == "assistant" else ""
        dialect = OllamaDialect(name, begun if runner.template is None else "")
        if not streams:
            with _as_refusal():
                reply = runner.generate(request, lambda _: None)
            last = json.loads(dialect.end(reply)[0])
            last["message"]["content"] = reply.text
            self._json(200, last)
            return
        self._begin(dialect.kind)
        if (failure := self.state.failure(name)) in STREAMED:
            self._stream_failing(failure, dialect)
            return
        reply = runner.generate(request, lambda text: self._chunk(dialect.piece(text)))
        self._chunk(dialect.end(reply)[0])
        self._finish()


def _tell_nobody(status: str, **more: Any) -> None:
    """Used for requests that do not stream: they only get the last line."""


def _details(made: Made) -> dict[str, Any]:
    family = str(made.gguf.values["general.architecture"])
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": "1M",
        "quantization_level": made.file_type,
    }


@contextlib.contextmanager
def _as_refusal() -> Iterator[None]:
    try:
        yield
    except CannotMake as exc:
        raise ProtocolError(exc.status or 500, str(exc)) from exc
