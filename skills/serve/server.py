"""The HTTP server of the application: uvicorn on a socket of 127.0.0.1."""

from __future__ import annotations

import socket

import uvicorn

from skills.serve.app import application
from skills.serve.guard import address_of
from skills.serve.state import State

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
