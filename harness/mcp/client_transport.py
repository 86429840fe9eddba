"""Connect to MCP servers by the pipes of a process or by HTTP, and limit the size of messages.

The function `stdio_client` of the package `mcp` is not used, since it reads lines of any length,
and since its process cannot be stopped immediately when the harness ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
from mcp import types
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage

from harness.errors import InputError
from harness.support import ctrl_c
from harness.support.bounded_http import IDENTITY, MESSAGE, VALUES, Meter, has_too_many_values

KEPT = 20
"""Maximum number of lines that are kept from each piece that is read from a server's stderr."""
LINE = 500
"""Maximum number of characters of a line in the log of a server."""
STRAY = 1000
"""Number of successive lines without a message after which a server is not read any more."""
INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TMPDIR", "LANG", "LC_ALL"),
    *("SYSTEMROOT", "SYSTEMDRIVE", "PATHEXT", "COMSPEC", "TEMP", "APPDATA", "LOCALAPPDATA"),
    *("USERNAME", "USERPROFILE", "HOMEDRIVE", "HOMEPATH", "PROGRAMFILES"),
)
"""Environment variables that every server receives, in addition to its variables in mcp.json."""
GRACE = 1.0
"""Seconds from closing a server's stdin to SIGTERM, and from SIGTERM to SIGKILL."""

UNAUTHORIZED = (
    "the server requires authorization (HTTP {status}): its entry in mcp.json needs a header with "
    'a token, such as "headers": {{"Authorization": "Bearer ${{TOKEN}}"}}, with the variable TOKEN '
    "in the environment; the harness does not sign in by OAuth"
)

running: set[int] = set()
"""The process groups of the servers that this process has started and not stopped yet."""


def kill_all() -> None:
    """Kill the processes of all servers immediately."""
    for group in tuple(running):
        _signal(group, "SIGKILL")


ctrl_c.kill_first.append(kill_all)


@contextlib.asynccontextmanager
async def over_pipes(
    command: Sequence[str], env: Mapping[str, str], folder: Path, log: deque[str]
) -> AsyncIterator[tuple[Any, Any]]:
    """Start a server, and yield the streams of received and sent messages.

    At the end of the block, the server and all its child processes are stopped.

    Args:
        env: environment variables in addition to `INHERITED`.
        folder: the working folder of the server.
        log: receives the last lines of stderr, and lines of stdout that are not messages.

    Raises:
        InputError: the command does not exist.
        OSError: the server cannot be started.
    """
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environ = {**inherited, **env}
    process = await asyncio.create_subprocess_exec(
        *_started(command, environ.get("PATH")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environ,
        cwd=folder,
        start_new_session=True,
        limit=MESSAGE,
    )
    running.add(process.pid)
    received, messages = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, sent = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with received, messages, outgoing, sent, anyio.create_task_group() as tasks:
            tasks.start_soon(_read, process, received, log)
            tasks.start_soon(_write, process, sent)
            tasks.start_soon(_keep, process, log)
            yield messages, outgoing
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            stopping = asyncio.create_task(_stop(process))
            try:
                await asyncio.shield(stopping)
            except asyncio.CancelledError:  # the harness ends while a failed server is stopped
                await stopping
                raise


def _started(command: Sequence[str], path: str | None) -> list[str]:
    """Return the command line that starts a server.

    If `setpriv` is installed, the system kills the server when this process ends.

    Args:
        path: the value of PATH, which lists the folders to search for the command.

    Raises:
        InputError: the command does not exist.
    """
    program = shutil.which(command[0], path=path)
    if program is None:
        raise InputError(
            f"there is no command {command[0]!r}", hint="Is the program installed, and on PATH?"
        )
    setpriv = shutil.which("setpriv")  # from util-linux
    ended = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    return [*ended, program, *command[1:]]


async def _read(process: asyncio.subprocess.Process, received: Any, log: deque[str]) -> None:
    """Pass the messages in a server's stdout to the stream `received`, then close this stream.

    Reading ends at the end of the output, at a line that exceeds a limit, or after `STRAY`
    successive lines that are not messages.
    """
    stray = 0
    async with received:
        with contextlib.suppress(anyio.BrokenResourceError):
            while stray < STRAY and (line := await _line(process, log)):
                try:
                    message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValueError:  # some servers print a greeting before the protocol
                    log.append(line[:LINE].decode(errors="replace"))
                    stray += 1
                else:
                    await received.send(SessionMessage(message))
                    stray = 0


async def _line(process: asyncio.subprocess.Process, log: deque[str]) -> bytes:
    assert process.stdout is not None
    with contextlib.suppress(ValueError):  # raised if the line is longer than the limit
        line = await process.stdout.readline()
        if not has_too_many_values(line):
            return line
    log.append(f"a line of more than {MESSAGE / 1e6:g} MB, or {VALUES:,} values")
    return b""


async def _write(process: asyncio.subprocess.Process, sent: Any) -> None:
    assert process.stdin is not None
    async with sent:
        with contextlib.suppress(OSError):  # raised if the server does not read any more
            async for message in sent:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                process.stdin.write(text.encode() + b"\n")
                await process.stdin.drain()


async def _keep(process: asyncio.subprocess.Process, log: deque[str]) -> None:
    """Read a server's stderr, and append the last lines of each piece to `log`.

    If stderr were not read, a full pipe would block the server.
    """
    assert process.stderr is not None
    while piece := await process.stderr.read(65536):
        log.extend(line[-LINE:] for line in piece.decode(errors="replace").splitlines()[-KEPT:])


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Close a server's stdin, wait for the server's end, and stop its process group by signals."""
    assert process.stdin is not None
    process.stdin.close()
    for name in ("SIGTERM", "SIGKILL"):
        if not await _has_ended(process):
            _signal(process.pid, name)
    await _has_ended(process)
    _signal(process.pid, "SIGKILL")  # kills remaining children
    running.discard(process.pid)
    process._transport.close()  # type: ignore[attr-defined]  # a child may keep the pipes open


async def _has_ended(process: asyncio.subprocess.Process) -> bool:
    """Return True if the process ends within `GRACE` seconds.

    `Process.wait` is not used, since it would also wait for the end of the process's pipes.
    """
    until = time.monotonic() + GRACE
    while process.returncode is None and time.monotonic() < until:
        await asyncio.sleep(0.01)
    return process.returncode is not None


def _signal(group: int, name: str) -> None:
    with contextlib.suppress(OSError):  # raised if the process has ended
        if hasattr(os, "killpg"):
            os.killpg(group, getattr(signal, name))
        else:
            os.kill(group, signal.SIGTERM)  # on Windows, this ends the process


@contextlib.asynccontextmanager
async def over_http(
    url: str, headers: Mapping[str, str], log: deque[str]
) -> AsyncIterator[tuple[Any, Any]]:
    """Connect to a server by HTTP, and yield the streams of received and sent messages.

    Args:
        headers: HTTP headers of every request, such as a token.
        log: receives the HTTP statuses of failed POST requests.
    """
    client = httpx2.AsyncClient(
        headers={**headers, **IDENTITY},
        timeout=httpx2.Timeout(30.0, read=None),
        event_hooks={"response": [partial(_check, log)]},
    )
    async with (
        client,
        streamable_http_client(url, http_client=client, max_sse_event_size=MESSAGE) as streams,
    ):
        yield streams


async def _check(log: deque[str], response: httpx2.Response) -> None:
    """Check a response, and limit its size unless it is a stream of events.

    Args:
        log: receives the HTTP status of a failed POST request.

    Raises:
        HTTPError: the server requires a token, or compresses the response.
    """
    if response.status_code in (401, 403):
        raise httpx2.HTTPStatusError(
            UNAUTHORIZED.format(status=response.status_code),
            request=response.request,
            response=response,
        )
    status = f"HTTP {response.status_code} {response.reason_phrase}"
    if response.is_error and response.request.method == "POST" and status not in log:
        log.append(status)  # the package `mcp` does not pass the status on
    if response.headers.get("content-encoding", "identity") != "identity":
        raise httpx2.DecodingError("the server compresses its answers, which was not requested")
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Limited(response.stream)


class _Limited(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        meter = Meter("the server", MESSAGE)
        async for piece in self._stream:
            yield meter.feed(piece)

    async def aclose(self) -> None:
        await self._stream.aclose()
