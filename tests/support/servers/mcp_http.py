"""An address that does not speak MCP over HTTP as it should."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Callable

from local_http import Handler, local_server


class HostileAddress:
    """Answers every request in one of these ways:

    huge           JSON of 64 MB
    compressed     JSON of 64 MB in a few KB
    html           a page
    unauthorized   401
    broken         500
    redirect       to another origin, which records what reaches it in `leaked`
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.leaked: list[str] = []
        self._servers = contextlib.ExitStack()

    def __enter__(self) -> HostileAddress:
        self._other = self._serve(lambda handler: self.leaked.append(handler.path))
        self.url = f"http://127.0.0.1:{self._serve(self._answer)}/mcp"
        return self

    def __exit__(self, *_: object) -> None:
        self._servers.close()

    def _serve(self, answer: Callable[[Handler], object]) -> int:
        class Answering(Handler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with contextlib.suppress(OSError):
                    answer(self)

            do_GET = do_DELETE = do_POST

        return self._servers.enter_context(local_server(Answering))

    def _answer(self, handler: Handler) -> None:
        json, zeros = "application/json", b" " * 1_000_000
        if self.kind == "huge":
            self._send(handler, 200, json)
            for _ in range(64):
                handler.wfile.write(zeros)
        elif self.kind == "compressed":
            body = gzip.compress(zeros * 64)
            self._send(handler, 200, json, body, **{"Content-Encoding": "gzip"})
        elif self.kind == "html":
            self._send(handler, 200, "text/html", b"<h1>Welcome</h1>")
        elif self.kind == "broken":
            self._send(handler, 500, "text/plain", b"a fault")
        elif self.kind == "unauthorized":
            self._send(handler, 401, "text/plain", b"who are you?")
        else:
            location = f"http://localhost:{self._other}/mcp"
            self._send(handler, 307, "text/plain", b"", Location=location)

    def _send(
        self,
        handler: Handler,
        status: int,
        kind: str,
        body: bytes = b"",
        **headers: str,
    ) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": kind, **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)
