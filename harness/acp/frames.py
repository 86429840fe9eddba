"""The messages of the Agent Client Protocol on stdin and stdout, one JSON object per line.

This module replaces the transport of the package `acp`, which reads lines of any length, and ends
at the first line that is JSON but not a message.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, BinaryIO

import acp
import anyio
import anyio.to_thread
from acp import RequestError

from harness.support.bounded_http import ERROR
from harness.support.stdin_messages import StdinMessages

CANCEL = acp.AGENT_METHODS["session_cancel"]
"""The method of the only notification that `receive` returns. The package `acp` would log a
traceback for any other notification.
"""
Message = dict[str, Any]
Then = Callable[[], Awaitable[None]]


class Frames:
    """A transport for the package `acp`.

    A line that is not a message is answered with an error. After the client has closed stdout,
    `send` does nothing and `receive` returns None.

    Args:
        out: the stream to which messages are written.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._lines = aiter(StdinMessages())
        self._out, self._turn = out, anyio.Lock()
        self._then: dict[asyncio.Task[Any] | None, Then] = {}
        self._open = True
        self._reading: anyio.CancelScope | None = None

    async def receive(self) -> Message | None:
        """Return the next message; None if the client has closed stdin or stdout."""
        with anyio.CancelScope() as self._reading:
            while self._open and (line := await anext(self._lines, None)) is not None:
                if not line.strip():
                    continue
                try:
                    message = json.loads(line)
                except (ValueError, RecursionError):
                    error = RequestError.parse_error()
                else:
                    if _is_message(message):
                        if "id" in message or message["method"] == CANCEL:
                            return dict(message)
                        continue
                    error = RequestError.invalid_request()
                await self.send({"jsonrpc": "2.0", "id": None, "error": error.to_error_obj()})
        return None

    async def send(self, message: Message) -> None:
        """Send a message. After an answer, call the function that `then` registered, if any."""
        text = json.dumps(message, default=str)
        if "error" in message and len(text) > ERROR:  # the error quotes the request
            text = json.dumps({**message, "error": {**message["error"], "data": None}})
        async with self._turn:
            await anyio.to_thread.run_sync(self._write, text)
        if not self._open and self._reading is not None:
            self._reading.cancel()
        elif "method" not in message and (then := self._then.pop(asyncio.current_task(), None)):
            await then()

    def _write(self, text: str) -> None:
        try:
            if self._open:
                self._out.write(f"{text}\n".encode())
                self._out.flush()
        except (OSError, ValueError):
            self._open = False

    def then(self, send: Then) -> None:
        """Register `send`, to be called after the answer to the current task's request.

        The package `acp` handles and answers a request in one task.
        """
        self._then[asyncio.current_task()] = send

    async def close(self) -> None:
        """Do nothing: the streams belong to the process."""


def _is_message(message: object) -> bool:
    """Return True for a request, a notification or an answer."""
    if not isinstance(message, dict) or not isinstance(message.get("id"), int | str | None):
        return False
    if "method" in message:
        return isinstance(message["method"], str)
    return "id" in message and isinstance(message.get("error"), dict | None)
