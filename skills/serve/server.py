"""The HTTP server of the application: uvicorn on a socket of 127.0.0.1."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from harness.api.skill import Call, Result
from harness.errors import UsageError
from harness.runs.invocation import as_path
from skills.corpus.db.connection import database, open_corpus
from skills.nanda.framework import Framework
from skills.nanda.framework_option import selected_framework
from skills.serve import demo_corpus
from skills.serve.app import application
from skills.serve.guard import address_of
from skills.serve.pages import CORPUS, ReviewOf, State

GRACE = 1
"""Seconds that requests may take to end after Ctrl-C."""


class Server:
    """A server over a socket that is listening.

    Attributes:
        address: of the start page, with a token for one browser.
    """

    def __init__(self, state: State, listener: socket.socket) -> None:
        self._listener = listener
        port = listener.getsockname()[1]
        self.address = address_of(port, state.sessions)
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                application(state, port),
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE,
            )
        )
        state.is_closing = lambda: self._uvicorn.should_exit

    def run(self) -> None:
        """Serve until Ctrl-C or `stop`; the signal takes effect when all requests have ended."""
        self._uvicorn.run(sockets=[self._listener])

    def stop(self) -> None:
        """Request the end, from another thread."""
        self._uvicorn.should_exit = True


HOST = "127.0.0.1"
PORT = 8700
"""The port without `--port`, so that addresses of pages stay valid; if it is taken, a free one."""


def serve(call: Call) -> Result:
    """Serve until Ctrl-C, which raises KeyboardInterrupt."""
    framework = selected_framework(call.options.framework, call.frameworks)
    with _corpus(call, framework) as path:
        settings, is_demo = call.settings, call.options.demo
        workspace = demo_corpus.FOLDER if is_demo else settings.project_dir
        title = demo_corpus.TITLE if is_demo else f"{path}"
        review = _review(call, path)
        return _serve(call, State(path, framework, settings, workspace, title, review=review))


@contextlib.contextmanager
def _corpus(call: Call, framework: Framework) -> Iterator[Path]:
    """Yield the path of the corpus to serve; that of --demo exists within the block."""
    if not call.options.demo:
        path = database(call)
        if path.is_dir():
            raise UsageError(
                "/serve needs a database, and this is a folder",
                where=f"{path}",
                hint=f"`/corpus add {path} --db papers.db` copies a folder of parts into one; then "
                "`/serve --db papers.db`.",
            )
        with open_corpus(path, must_exist=True):  # refused before anything is served
            pass
        yield path
        return
    if call.options.db:
        raise UsageError("--demo has a corpus of its own", hint="Leave out --db.")
    with tempfile.TemporaryDirectory(prefix="nanda-demo-") as folder:
        path = Path(folder) / "demo.db"
        demo_corpus.write(path, framework)
        yield path


def _serve(call: Call, state: State) -> Result:
    options = call.options
    taken = listener(options.port)
    port = taken.getsockname()[1]
    if options.port is None and port != PORT:
        call.screen.notice(f"Port {PORT} is in use, so that {port} was taken.")
    server = Server(state, taken)
    call.screen.emit(f"{server.address}\n")
    with_json = call.screen.quiet_results  # then the address is not a result
    at = f"at {server.address} " if with_json else ""
    call.screen.notice(f"Serving {at}on this machine only. Ctrl-C ends it.")
    if not options.no_open:
        webbrowser.open(server.address)
    server.run()
    return Result()


def _review(call: Call, corpus: Path) -> ReviewOf:
    options = call.options
    gold = options.gold or (corpus.with_name("gold.csv") if options.demo else Path("gold.csv"))
    if gold.suffix.lower() != ".csv":
        raise UsageError("a gold table is a .csv file", where=f"--gold {gold}")
    table = as_path(options.review)
    if table != CORPUS and not table.is_file():
        raise UsageError("there is no such table", where=f"--review {table}")
    return ReviewOf(
        table, gold, options.double, options.framework, lambda sha256: call.log.wrote(gold, sha256)
    )


def listener(port: int | None) -> socket.socket:
    """Return a socket that listens at this port of 127.0.0.1, or at `PORT` or a free one.

    Raises:
        UsageError: the port is in use.
    """
    try:
        return _listening(PORT if port is None else port)
    except OSError as exc:
        if port is None:
            return _listening(0)
        raise UsageError(
            f"port {port} cannot be used: {exc.strerror}",
            hint="Without --port, a free one is taken.",
        ) from exc


def _listening(port: int) -> socket.socket:
    return socket.create_server((HOST, port))
