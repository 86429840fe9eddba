"""A test server for Ollama's and OpenAI's documented protocols, over real sockets.

    with ProtocolServer(model) as server:
        server.fail("busy")                  # for every later chat request
        server.fail("hang", model="slow:1b")  # or only for those of this model
        ... server.url, server.requests ...

It generates with a real model, refuses what the real servers refuse, and fails on demand:

    hang        accepts the request and never answers
    missing     404 before the answer, although the model is listed
    busy        503 before the answer
    gateway     502 before the answer
    quota       429 before the answer, with OpenAI's code for an exhausted quota
    load_error  500 before the answer: the model cannot be loaded
    refuse      400 before the answer
    schema      400 before the answer, with Ollama's JSON of its runner as the message
    drop        closes the connection without an answer
    error       an error inside the answer, after a few pieces, under status 200
    cut         the connection is closed in the middle of the answer
    unfinished  the answer ends properly, but without its last part: a crash of Ollama's runner
    garbage     a line inside the answer that is not JSON
    slow        a piece every 0.3 s, without end

As an OpenAI server it is of the kind that `owner` names: "vllm" continues a final message of the
assistant, but only with fields of its own, which all others refuse. `logprobs` sets what it does if
they are requested: "told", "ignored", "refused" or "alone" (of the token, without alternatives).

Tool calls are sent as each protocol requires: completely by Ollama, in pieces of a few characters
by OpenAI, as `splits` sets: "index" (OpenAI's own form), or "ids", where all calls have index 0 and
differ only in their ids. `tools` sets how tools are handled: "told" (supported, and reported by
/api/show), "untold" (an old Ollama, which supports but does not report them), "refused" (with 400;
/api/show reports it) or "refused untold". `prefill` sets what Ollama does with a final message of
the assistant: "continued" (a Go template), "repeated" in the answer (the GGUF's Jinja template), or
"ignored" (a guessed template closes it). `renders` is False for a server before 0.11.5, which does
not return its prompt. `made_of` are the digests in the Modelfile of /api/show. A prompt of more
words than num_ctx is refused with `truncate: false` if the server knows that (`refuses_long`), else
cut. `drop_at` closes the connection instead of answering the
chat with that number, from 0 on. `retry_after` is the header of every 503.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from protocol_dialects import OllamaDialect, OpenAIDialect, token_of
from protocol_requests import (
    ProtocolError,
    chatml,
    check_make,
    check_ollama,
    check_openai,
    messages_of,
    tools_of,
)

from harness.models.backend import Message, Model, OnText, Reply, Request
from harness.testing import FakeModel

DIGEST = "ab" * 32
LOADED = {
    "message": {"role": "assistant", "content": ""},
    "done": True,
    "done_reason": "load",
}
SLOW_SECONDS = 0.3
EARLY = {
    "missing": (404, "model '{model}' not found"),
    "busy": (503, "server busy, please try again.  maximum pending requests exceeded"),
    "gateway": (502, "bad gateway"),
    "quota": (429, "You exceeded your current quota, please check your plan"),
    "load_error": (500, "llama runner process has terminated: error loading model"),
    "refuse": (400, "this request is not taken"),
    "schema": (
        400,
        '{"error":{"code":400,"message":"failed to parse grammar","type":"invalid_request_error"}}',
    ),
}
CODES = {"quota": "insufficient_quota"}
STREAMED = ("error", "cut", "unfinished", "garbage", "slow")
FAILURES = (*EARLY, *STREAMED, "hang", "drop")
PIECES_BEFORE_FAILURE = 3

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
SHOWN = {
    "told": {"capabilities": ["completion", "tools"]},
    "refused": {"capabilities": ["completion"]},
}


@dataclass(frozen=True)
class Recorded:
    """One request: path, headers by lower-case name, and the JSON body."""

    path: str
    headers: dict[str, str]
    body: Any


class Gone(Exception):
    """The client disconnected, or a failure ends the answer."""


class ProtocolServer:
    """The server; a context manager.

    Args:
        model: generates, in a thread for each request.
        names: the listed models, all served by `model`.
        api_key: the key that OpenAI's routes require, if any.
        port: the port to listen at; any by default.
    """

    def __init__(
        self,
        model: Model | None = None,
        names: tuple[str, ...] = ("smollm2:latest",),
        api_key: str | None = None,
        port: int = 0,
    ) -> None:
        self.model, self.names, self.api_key = model, names, api_key
        self.owner, self.logprobs = "test", "told"
        self.tools, self.splits = "told", "index"
        self.prefill, self.renders, self.refuses_long = "continued", True, True
        self.digest = DIGEST
        self.made_of: tuple[str, ...] = ("cd" * 32,)
        self.drop_at: int | None = None
        self.retry_after: str | None = None
        self.seconds_to_list = 0.0
        self.requests: list[Recorded] = []
        self.disconnected = threading.Event()
        self.released = threading.Event()
        self._failures: dict[str | None, str] = {}
        self._http = _HTTPServer(("127.0.0.1", port), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def __enter__(self) -> ProtocolServer:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.released.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def fail(self, how: str | None, model: str | None = None) -> None:
        """Fail like this from now on, for every model or only one; None ends it."""
        assert how is None or how in FAILURES
        self._failures[model] = how or ""

    def failure(self, model: str) -> str:
        return self._failures.get(model, "") or self._failures.get(None, "")

    def bodies(self, path: str) -> list[Any]:
        """Return the bodies sent to `path`, in order."""
        return [recorded.body for recorded in self.requests if recorded.path == path]

    def knows(self, name: str) -> bool:
        return name in self.names or f"{name}:latest" in self.names

    def generate(self, request: Request, on_text: Any) -> Reply:
        assert self.model is not None, "this server has no model"
        return self.model.generate(request, on_text)


class Meeting(FakeModel):
    """Repeats the last message, as soon as `parties` generations run at the same time."""

    def __init__(self, parties: int) -> None:
        super().__init__()
        self._barrier = threading.Barrier(parties, timeout=20)

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        self._barrier.wait()
        return FakeModel(request.messages[-1].content).generate(request, on_text, cancel)


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = False  # closing the server waits for its threads

    def handle_error(self, *args: Any) -> None:
        """Ignore a client that disconnected between two requests."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*args)


def _handler(server: ProtocolServer) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (ProtocolHandler,), {"state": server})


class ProtocolHandler(BaseHTTPRequestHandler):
    state: ProtocolServer
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds that a client may keep its connection without asking anything

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._record(None)
        routes = {
            "/": lambda: self._send(200, b"Ollama is running", "text/plain"),
            "/api/version": lambda: self._json(200, {"version": "0.33.0"}),
            "/api/tags": lambda: self._json(
                200, {"models": [_tag(n, self.state.digest) for n in self.state.names]}
            ),
            "/v1/models": self._openai_models,
        }
        self._route(routes)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        self._record(body)
        routes = {
            "/api/show": lambda: self._ollama_show(body),
            "/api/chat": lambda: self._ollama_chat(body),
            "/v1/chat/completions": lambda: self._openai_chat(body),
        }
        self._route(routes)

    def _record(self, body: Any) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.state.requests.append(Recorded(self.path, headers, body))

    def _route(self, routes: dict[str, Any]) -> None:
        openai = self.path.startswith("/v1/")
        try:
            if self.path not in routes:
                raise ProtocolError(404, "404 page not found")
            if openai:
                self._check_key()
            routes[self.path]()
        except ProtocolError as exc:
            error: Any = exc.message
            if openai:
                error = {"message": exc.message, "type": "error", "code": None, **exc.more}
            self._json(exc.status, {"error": error})
        except (Gone, ConnectionError):
            self.state.disconnected.set()
            self.close_connection = True

    def _check_key(self) -> None:
        key = self.state.api_key
        if key is not None and self.headers.get("Authorization") != f"Bearer {key}":
            raise ProtocolError(401, "Incorrect API key provided", code="invalid_api_key")

    # Sending

    def _json(self, status: int, data: Any) -> None:
        self._send(status, json.dumps(data).encode(), "application/json")

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if status == 503 and self.state.retry_after:
            self.send_header("Retry-After", self.state.retry_after)
        self.end_headers()
        self.wfile.write(content)

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _finish(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    # What both protocols share

    def _check_model(self, body: Any) -> str:
        if not isinstance(body, dict):
            raise ProtocolError(400, "invalid request body")
        name = body.get("model")
        if not name or not isinstance(name, str):
            raise ProtocolError(400, "model is required")
        if not self.state.knows(name):
            raise ProtocolError(404, f"model '{name}' not found", code="model_not_found")
        return name

    def _check_tools(self, body: Any, name: str) -> None:
        """Refuse tools where this server does, and what no server takes of them."""
        if body.get("tools") and self.state.tools.startswith("refused"):
            full = name if ":" in name else f"{name}:latest"
            raise ProtocolError(400, f"registry.ollama.ai/library/{full} does not support tools")
        for tool in body.get("tools") or ():
            function = tool.get("function") or {}
            if tool.get("type") != "function" or not NAME.fullmatch(function.get("name", "")):
                raise ProtocolError(400, "invalid tool")
            if (function.get("parameters") or {}).get("type") != "object":
                raise ProtocolError(400, "invalid tool parameters")

    def _fail_early(self, name: str) -> None:
        number = sum(recorded.path == self.path for recorded in self.state.requests) - 1
        failure = self.state.failure(name)
        if number == self.state.drop_at:
            raise Gone
        if failure in EARLY:
            status, message = EARLY[failure]
            raise ProtocolError(status, message.replace("{model}", name), code=CODES.get(failure))
        if failure == "hang":
            self._wait_for_the_end()
        if failure == "drop":
            raise Gone

    def _wait_for_the_end(self) -> None:
        """Wait until the client disconnects or the test ends."""
        self.connection.settimeout(0.05)
        while not self.state.released.is_set():
            try:
                self.connection.recv(1)
            except TimeoutError:
                continue
            break
        raise Gone

    def _stream(self, name: str, request: Request, dialect: Any) -> None:
        """Send the answer to `request` piece by piece, and fail if set to."""
        failure = self.state.failure(name)
        self._begin(dialect.kind)
        if failure in STREAMED:
            self._stream_failing(failure, dialect)
            return
        if request.top_logprobs and self.state.logprobs != "ignored":
            reply = self._stream_told(request, dialect)
        else:
            reply = self.state.generate(request, lambda text: self._chunk(dialect.piece(text)))
        for data in (*dialect.calls(reply.tool_calls, self.state.splits), *dialect.end(reply)):
            self._chunk(data)
        self._finish()

    def _stream_told(self, request: Request, dialect: Any) -> Reply:
        """Send each piece with its log probabilities; the end of the answer is not a piece."""
        pieces: list[str] = []
        reply = self.state.generate(request, pieces.append)
        for piece, told, own in itertools.zip_longest(pieces, reply.logprobs, reply.tokens):
            known = own.logprob if own else (told or {}).get(piece or "", -9999.0)
            token = token_of(own.text if own else piece or "", known)
            if self.state.logprobs == "told":
                token["top_logprobs"] = [token_of(*item) for item in (told or {}).items()]
            self._chunk(dialect.piece(piece or "", logprobs=[token]))
        return reply

    def _stream_failing(self, failure: str, dialect: Any) -> None:
        for number in range(PIECES_BEFORE_FAILURE):
            self._chunk(dialect.piece(f"piece {number} "))
        while failure == "slow" and not self.state.released.wait(SLOW_SECONDS):
            self._chunk(dialect.piece("and more "))
        if failure == "cut":
            # An incomplete chunk: its size announces more than is sent.
            self.wfile.write(b"400\r\n" + dialect.piece("half a")[:10])
            raise Gone
        if failure == "error":
            self._chunk(dialect.error("the runner has crashed"))
        if failure == "garbage":
            self._chunk(dialect.garbage)
        self._finish()

    # Ollama

    def _ollama_show(self, body: Any) -> None:
        self._check_model(body)
        self._json(
            200,
            {
                "modelfile": "".join(
                    f"{'ADAPTER' if i else 'FROM'} /models/blobs/sha256-{digest}\n"
                    for i, digest in enumerate(self.state.made_of)
                ),
                "details": {"family": "llama", "format": "gguf", "quantization_level": "Q4_1"},
                "model_info": {"general.architecture": "llama", "llama.context_length": 2048},
                "tensors": [{"name": "output.weight", "type": "Q4_1", "shape": [576, 49152]}],
                **SHOWN.get(self.state.tools, {}),
            },
        )

    def _ollama_chat(self, body: Any) -> None:
        name = self._check_model(body)
        if not body.get("messages"):
            self._json(200, {"model": name, **LOADED})
            return
        check_ollama(body)
        self._check_tools(body, name)
        self._fail_early(name)
        options = body.get("options") or {}
        messages = self._fitting(messages_of(body["messages"]), body)
        begun = messages[-1].content if messages[-1].role == "assistant" else ""
        if body.get("_debug_render_only") and self.state.renders:
            closes = self.state.prefill == "ignored"
            self._json(200, {"model": name, **rendered_only(chatml(messages, closes=closes))})
            return
        if begun and self.state.prefill == "ignored":
            # The request to FakeModel has no prefill, which is closest to a server that ignores it.
            messages = messages[:-1]
        request = Request(
            messages=messages,
            max_tokens=options.get("num_predict", 256),
            temperature=options.get("temperature", 0.8),
            seed=options.get("seed", 0),
            stop=tuple(options.get("stop", ())),
            json_schema=body.get("format") or None,
            top_logprobs=body.get("top_logprobs", 0),
            tools=tools_of(body),
        )
        repeated = begun if self.state.prefill == "repeated" else ""
        self._stream(name, request, OllamaDialect(name, repeated))

    def _fitting(self, messages: tuple[Message, ...], body: Any) -> tuple[Message, ...]:
        """Refuse a prompt of more words than num_ctx, or cut it, as Ollama does by tokens."""
        size = (body.get("options") or {}).get("num_ctx", 4096)
        words = messages[-1].content.split()
        if len(words) <= size:
            return messages
        if body.get("truncate") is False and self.state.refuses_long:
            raise ProtocolError(400, "the input length exceeds the context length")
        last = Message(messages[-1].role, " ".join(words[-size // 2 :]))
        return (*messages[:-1], last)

    # OpenAI

    def _openai_models(self) -> None:
        self.state.released.wait(self.state.seconds_to_list)
        owned = {"owned_by": self.state.owner} if self.state.owner else {}
        models = [{"id": n, "object": "model", **owned} for n in self.state.names]
        self._json(200, {"object": "list", "data": models})

    def _openai_chat(self, body: Any) -> None:
        name = self._check_model(body)
        check_openai(body)
        check_make(body, self.state.owner)
        self._check_tools(body, name)
        if body.get("logprobs") and self.state.logprobs == "refused":
            raise ProtocolError(403, "You are not allowed to request logprobs from this model")
        self._fail_early(name)
        stop = body.get("stop") or ()
        schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
        request = Request(
            messages=messages_of(body["messages"]),
            max_tokens=body.get("max_tokens", 256),
            temperature=body.get("temperature", 1.0),
            seed=body.get("seed", 0),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            json_schema=schema,
            top_logprobs=body.get("top_logprobs", 0),
            tools=tools_of(body),
        )
        usage = (body.get("stream_options") or {}).get("include_usage", False)
        self._stream(name, request, OpenAIDialect(name, usage))


def _tag(name: str, digest: str) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "modified_at": "2026-11-24T10:00:00Z",
        "size": 98362432,
        "digest": digest,
        "details": {
            "format": "gguf",
            "family": "llama",
            "quantization_level": "Q4_1",
            "context_length": 2048,
        },
        "capabilities": ["completion"],
    }


def rendered_only(prompt: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": ""}
    return {"message": message, "done": False, "_debug_info": {"rendered_template": prompt}}
