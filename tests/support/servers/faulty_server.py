"""A server of Ollama's and OpenAI's protocols that is faulty or hostile in the answer to a chat.

    with FaultyServer("gzip bomb") as server:
        ... server.url, server.redirected ...

Models are listed as by a sound server; `FAULTS` are the ways in which a chat is answered.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from skills.nanda.framework import nanda

MODEL = "sound:1b"
DIGEST = "ab" * 32
NEW_MODEL, NEW_DIGEST = "sound-2:1b", "cd" * 32
"""The model that takes the place of the first one, see `FaultyServer.changes_after`."""
ENDLESS = 400_000_000
"""Bytes after which an endless answer ends, so that a client without limits fails, not the test."""
SECONDS = 20.0
"""Seconds for which a silent or slow answer lasts."""


@dataclass
class Chat:
    """A chat request that is answered.

    Attributes:
        openai: the protocol, else Ollama's.
        key: the credentials that the client sent.
        number: the number of chats before it.
    """

    connection: socket.socket
    server: FaultyServer
    openai: bool
    key: str
    number: int

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def head(self, status: str = "200 OK", **headers: str) -> None:
        """Send the beginning of a response that ends with the connection."""
        kind = "text/event-stream" if self.openai else "application/x-ndjson"
        lines = {"Content-Type": kind, "Connection": "close"}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        stated = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.send(f"HTTP/1.1 {status}\r\n{stated}\r\n".encode())

    def error(self, status: str, body: bytes, **headers: str) -> None:
        self.head(status, Content_Type="application/json", **headers)
        self.send(body)

    def line(self, data: Any) -> bytes:
        """Return a line of Ollama's protocol, or an event of OpenAI's."""
        text = data if isinstance(data, bytes) else json.dumps(data).encode()
        return b"data: " + text + b"\n\n" if self.openai else text + b"\n"

    def piece(self, text: Any = "", **more: Any) -> bytes:
        """Return a piece of the answer; `more` are fields of its message."""
        return self.line(self.part({"role": "assistant", "content": text, **more}))

    def part(self, message: Any, **more: Any) -> dict[str, Any]:
        if self.openai:
            choice = {"index": 0, "delta": message, "finish_reason": None, **more}
            return {
                "id": "c",
                "object": "chat.completion.chunk",
                "model": self.server.served,
                "choices": [choice],
            }
        return {"model": MODEL, "message": message, "done": False, **more}

    def end(self) -> bytes:
        if self.openai:
            chunk = self.part({}, finish_reason="stop")
            return self.line(chunk) + b"data: [DONE]\n\n"
        return self.line(self.part({"role": "assistant"}, done=True, done_reason="stop"))

    def answer(self, *lines: bytes) -> None:
        """Send an answer of status 200."""
        self.head()
        for line in lines:
            self.send(line)

    def flood(self, piece: bytes, most: int = ENDLESS) -> None:
        """Send a piece again and again, in blocks."""
        block = piece * max(1, 65536 // len(piece))
        for _ in range(most // len(block)):
            if self.server.released.is_set():
                return
            self.send(block)

    def wait(self) -> None:
        self.server.released.wait(SECONDS)


Fault = Callable[[Chat], None]


def _bomb(coding: str, bits: int) -> Fault:
    def fault(chat: Chat) -> None:
        chat.head(Content_Encoding=coding)
        packer = zlib.compressobj(wbits=bits)
        for _ in range(60):
            chat.send(packer.compress(bytes(10_000_000)))

    return fault


def _error(body: Any, status: str = "500 Internal Server Error", **headers: str) -> Fault:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda chat: chat.error(status, text, **headers)


def _within(error: Any) -> Fault:
    """Return an answer that ends with an error within the stream."""
    return lambda chat: chat.answer(chat.piece("One. "), chat.line({"error": error}))


def _line(data: Any) -> Fault:
    return lambda chat: chat.answer(chat.piece("One. "), chat.line(data), chat.end())


def _message(**fields: Any) -> Fault:
    return lambda chat: chat.answer(chat.line(chat.part(fields)), chat.end())


def _slow(pieces: Callable[[Chat], Iterable[bytes]], pause: float) -> Fault:
    def fault(chat: Chat) -> None:
        for piece in pieces(chat):
            chat.send(piece)
            if chat.server.released.wait(pause):
                return

    return fault


def _endless(line: Callable[[Chat], bytes]) -> Fault:
    def fault(chat: Chat) -> None:
        chat.head()
        chat.flood(line(chat))

    return fault


def _stalled(chat: Chat) -> Iterator[bytes]:
    chat.head()
    yield chat.piece("One. ")
    yield from itertools.repeat(chat.piece(""), int(SECONDS * 20))


def _reset(chat: Chat) -> None:
    chat.answer(chat.piece("One. "))
    linger = struct.pack("ii", 1, 0)
    chat.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def _redirect(target: Callable[[Chat], str], status: str = "307 Temporary Redirect") -> Fault:
    return lambda chat: chat.head(status, Location=target(chat), Content_Length="0")


def _recovers(status: str) -> Fault:
    """Return a fault of the first chat alone."""

    def fault(chat: Chat) -> None:
        if chat.number:
            chat.answer(chat.piece("One."), chat.end())
        else:
            chat.error(status, b'{"error": "busy"}', Retry_After="1")

    return fault


def _head(*lines: bytes, endless: bytes = b"", wait: bool = False, **headers: str) -> Fault:
    """Return an answer of status 200 with a faulty head or body."""

    def fault(chat: Chat) -> None:
        chat.head(**headers)
        for line in lines:
            chat.send(line)
        if endless:
            chat.flood(endless)
        if wait:
            chat.wait()

    return fault


def _raw(data: bytes, *, then_wait: bool = False) -> Fault:
    def fault(chat: Chat) -> None:
        chat.send(data)
        if then_wait:
            chat.wait()

    return fault


_MANY = b"[" + b"{}," * 30_000 + b"{}]"
_MOVES = {name: f"The {name} of birds." for name in nanda().names}
FAULTS: dict[str, Fault] = {
    "none": lambda chat: chat.answer(chat.piece("One."), chat.end()),
    "moves": lambda chat: chat.answer(chat.piece(json.dumps(_MOVES)), chat.end()),
    "gzip bomb": _bomb("gzip", 31),
    "deflate bomb": _bomb("deflate", 15),
    "endless line": _endless(lambda chat: b"x" * 1000),
    "endless event of lines": _endless(lambda chat: b"data: x\n"),
    "endless answer": _endless(lambda chat: chat.piece("word ")),
    "endless blank lines": _endless(lambda chat: b"\n"),
    "endless empty pieces": _slow(_stalled, 0.05),
    "error: object": _error({"error": {"message": "out of memory", "code": 7}}),
    "error: list": _error([{"error": {"message": "out of memory"}}]),
    "error: text": _error("out of memory"),
    "error: number": _error(7),
    "error: null": _error(None),
    "error: boolean": _error(b"true"),
    "error: list of its fields": _error({"error": ["out", "of", "memory"], "message": {}}),
    "error: nested 9,000 deep": _error(b'{"error":' * 9000 + b"1" + b"}" * 9000),
    "error: not UTF-8": _error(b"\xff\xfe\xfa out of memory"),
    "error: empty": _error(b""),
    "error: 20 MB": _error(b"<p>out of memory</p>" * 1_000_000),
    "error: endless": _head(endless=b"out of memory ", status="500 No"),
    "error: a code that is a list": _error(
        {"error": {"message": 5, "type": [], "code": {}}}, "400 Bad"
    ),
    "404 with an object": _error({"error": {"message": "no such model"}}, "404 Not Found"),
    "429, an object, Retry-After 999999": _error(
        {"error": {"message": "slow down"}}, "429 Too Many Requests", Retry_After="999999"
    ),
    "503, Retry-After a date in 2099": _error(
        b"busy", "503 Busy", Retry_After="Thu, 31 Dec 2099 23:59:59 GMT"
    ),
    "503, Retry-After 1e309": _error(b"busy", "503 Busy", Retry_After="1e309"),
    "429 once": _recovers("429 Too Many Requests"),
    "503 once": _recovers("503 Service Unavailable"),
    "error within: object": _within({"message": "out of memory", "code": [7]}),
    "error within: list": _within(["out of memory"]),
    "error within: number": _within(7),
    "error within: 150 KB": _within("out of memory " * 11_000),
    "307 to another host": _redirect(lambda chat: f"http://localhost:{chat.server.other}/api/chat"),
    "308 to another port": _redirect(
        lambda chat: f"http://127.0.0.1:{chat.server.other}/", "308 Permanent Redirect"
    ),
    "302 to a file": _redirect(lambda chat: "file:///etc/passwd", "302 Found"),
    "307 to itself": _redirect(lambda chat: ""),
    "content-length too large": _head(b"{}", Content_Length="99999999999"),
    "content-length negative": _head(Content_Length="-5"),
    "chunk size not a number": _head(b"zz\r\nabc\r\n", Transfer_Encoding="chunked"),
    "chunk size of 2^64": _head(b"ffffffffffffffff\r\nabc", Transfer_Encoding="chunked"),
    "reset": _reset,
    "closed at once": _raw(b""),
    "silent": _raw(b"", then_wait=True),
    "silent after its head": _head(wait=True),
    "headers drip": _slow(lambda chat: (b"HTTP/1.1 200 OK\r\n", *[b"A: b\r\n"] * 400), 0.05),
    "headers endless": lambda chat: chat.flood(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 50_000),
    "100 Continue without end": lambda chat: chat.flood(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "not HTTP": _raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "HTTP status 999": _raw(b"HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\n{}"),
    "204": _raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "200 and nothing": lambda chat: chat.head(),
    "200 and HTML": lambda chat: chat.answer(b"<html>Sign in</html>\n"),
    "no end": lambda chat: chat.answer(chat.piece("One. ")),
    "line: not UTF-8": lambda chat: chat.answer(chat.line(b'{"\xff": 1}'), chat.end()),
    "line: nested 60,000 deep": _line(b"[" * 60_000 + b"]" * 60_000),
    "line: list": _line([1, 2]),
    "line: null": _line(None),
    "line: number of 100,000 digits": _line(b"9" * 100_000),
    "line: 30,000 logprobs": lambda chat: chat.answer(
        chat.line(
            b'{"message":{"role":"assistant"},"choices":' + _MANY + b',"logprobs":' + _MANY + b"}"
        ),
        chat.end(),
    ),
    "content: number": _message(role="assistant", content=5),
    "content: list": _message(role="assistant", content=[{"type": "text", "text": "One."}]),
    "tool calls: text": _message(role="assistant", content="", tool_calls="none"),
    "tool calls: arguments are a list": _message(
        role="assistant", tool_calls=[{"index": [], "function": {"name": 7, "arguments": ["a"]}}]
    ),
    "the key is repeated": lambda chat: chat.answer(
        *(chat.piece(part) for part in (chat.key[:9], chat.key[9:], " is your key")), chat.end()
    ),
    "the key is refused": lambda chat: chat.error(
        "400 Bad Request", json.dumps({"error": {"message": f"invalid key {chat.key}"}}).encode()
    ),
    "the key within an error": lambda chat: chat.answer(
        chat.piece("One. "), chat.line({"error": {"message": f"invalid key {chat.key}"}})
    ),
}


@dataclass
class FaultyServer:
    """The server; a context manager.

    Attributes:
        digest, served: of the model, as listed by Ollama, and as named in answers of OpenAI's.
        changes_after: number of chats after which another model is served.
        other: the port of a second server, which only records that something reached it.
        redirected: the beginnings of the requests that reached it.
    """

    fault: str
    released: threading.Event = field(default_factory=threading.Event)
    digest: str = DIGEST
    served: str = MODEL
    changes_after: int = 1_000_000
    redirected: list[bytes] = field(default_factory=list)
    chats: int = 0
    other: int = 0

    def __enter__(self) -> FaultyServer:
        self._sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.port, self.other = (one.getsockname()[1] for one in self._sockets)
        for listening, serve in zip(self._sockets, (self._serve, self._record), strict=True):
            threading.Thread(target=self._accept, args=(listening, serve), daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.released.set()
        for listening in self._sockets:
            listening.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _accept(self, listening: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=self._handle, args=(connection, serve), daemon=True).start()

    def _handle(self, connection: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        with connection, contextlib.suppress(OSError, ValueError):  # the client may close it
            connection.settimeout(SECONDS)
            serve(connection)
            connection.shutdown(socket.SHUT_WR)
            time.sleep(0.05)

    def _record(self, connection: socket.socket) -> None:
        self.redirected.append(connection.recv(65536))

    def _serve(self, connection: socket.socket) -> None:
        path, headers, body = _received(connection)
        key = headers.get("authorization", "").removeprefix("Bearer ")
        chat = Chat(connection, self, path.startswith("/v1"), key, self.chats)
        if path in ("/api/tags", "/v1/models", "/api/show"):
            known = {"name": MODEL, "model": MODEL, "digest": self.digest, "id": MODEL}
            found: Any = {"models": [known], "data": [known], "capabilities": ["tools"]}
            chat.error("200 OK", json.dumps(found).encode())
        elif body.startswith(b"{") and json.loads(body).get("_debug_render_only"):
            chat.error("200 OK", b"{}")
        else:
            self.chats += 1
            if self.chats > self.changes_after:
                self.served, self.digest = NEW_MODEL, NEW_DIGEST
            FAULTS[self.fault](chat)


def _received(connection: socket.socket) -> tuple[str, dict[str, str], bytes]:
    """Return path, headers by lower-case name, and body of a request."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536) or b" / \r\n\r\n"
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return first.split(" ")[1], headers, body
