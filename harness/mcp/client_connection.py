"""The connection to an MCP server of mcp.json, with the tools and the state of the server.

Each connection has a separate thread with an event loop, so that a server that hangs, or that sends
too many or too large messages, does not delay other servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness._version import __version__
from harness.errors import DeadlineExceeded, HarnessError, SkillFailed
from harness.mcp.client_config import Entry
from harness.permissions import in_one_line
from harness.redaction import redact
from harness.settings import APP_NAME
from harness.support.stop_token import StopToken

if TYPE_CHECKING:
    from mcp import Client, types

State = Literal["starting", "ready", "failed", "stopped"]

MOST_TOOLS = 1000
"""Maximum number of tools of a server."""
MAX_TOOL = 64_000
"""Maximum number of characters of a tool's definition as JSON; a larger tool is left out."""
LONGEST = 10
"""Maximum duration of a call that reports progress, as a multiple of the time limit."""
TICK = 0.2
"""Interval in seconds at which a running call is checked for a cancellation and the time limit."""
PAGES = 100
"""Maximum number of pages that are read from a server's list of tools."""
SHOWN = 300
"""Maximum number of characters of a server's message that are shown."""
NAME = 64
"""Maximum number of characters of a tool's name in the chat."""
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")


class Server:
    """A server of mcp.json. Creating the object starts the server, in a separate thread.

    Args:
        folder: the working folder of the server's process.
        seconds: time limit in seconds for the start, and between two progress reports of a call.

    Attributes:
        state: "starting", "ready", "failed" or "stopped". A failed server is not started again
            until all servers have been stopped, for example by `/reload`.
        problem: the reason why the server failed, or why tools are left out; "" without a problem.
        tools: the usable tools, by their names in the chat.
        is_late: True if the user was told that the server takes long to start.
        is_reported: True if the user was told about `problem`.
    """

    def __init__(self, entry: Entry, folder: Path, seconds: float) -> None:
        self.entry = entry
        self.state: State = "starting"
        self.problem = ""
        self.tools: dict[str, types.Tool] = {}
        self.is_late = self.is_reported = False
        self._folder, self._seconds = folder, seconds
        self._log: deque[str] = deque(maxlen=20)
        self._sign, self._progress = 0.0, ""
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._runner.get_loop()
        self._wake = asyncio.Event()
        self._task = self._loop.create_task(self._serve())
        self._client: Client | None = None
        self._settled = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"mcp {entry.name}", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait at most `seconds` until the server is ready or has failed."""
        self._settled.wait(seconds)

    def request_stop(self) -> None:
        """Request that the server ends, without waiting; `join` waits for the end."""
        self.state = "stopped" if self.state != "failed" else self.state
        with contextlib.suppress(RuntimeError):  # raised if the event loop has ended
            self._loop.call_soon_threadsafe(self._end)

    def join(self, seconds: float) -> None:
        """Wait at most `seconds` until the server has ended."""
        self._thread.join(seconds)

    def call(
        self,
        name: str,
        arguments: dict[str, Any],
        cancel: StopToken,
        on_progress: Callable[[str], None],
    ) -> types.CallToolResult:
        """Call a tool of the server, and return the result.

        Args:
            name: the tool's name at the server, which may differ from its name in the chat.
            on_progress: called with messages about the progress, in the thread of the caller.

        Raises:
            DeadlineExceeded: the server has neither answered nor reported progress within the time
                limit, or has not answered within `LONGEST` times the time limit.
            SkillFailed: the server is not ready, reports an error, or has ended.
            Interrupted: `cancel` was set.
        """
        if self.state != "ready":
            reason = self.problem or self.state
            raise SkillFailed(f"the server {self.entry.name} does not run: {reason}")
        started = self._sign = time.monotonic()
        future = asyncio.run_coroutine_threadsafe(self._call(name, arguments), self._loop)
        try:
            while not futures.wait([future], TICK).done:
                cancel.check()
                now = time.monotonic()
                if max(now - self._sign, (now - started) / LONGEST) > self._seconds:
                    raise DeadlineExceeded(
                        f"the server {self.entry.name} has not answered within {self._seconds:g} s",
                        hint="HARNESS_MCP_DEADLINE sets the time limit.",
                    )
                on_progress(self._progress)
            return future.result()
        finally:
            future.cancel()

    def _run(self) -> None:
        with self._runner:  # at the end, the runner cancels remaining tasks and closes the loop
            try:
                self._loop.run_until_complete(self._task)
            except asyncio.CancelledError:
                pass
            except BaseException as exc:  # noqa: BLE001 a server's messages may cause any error
                self._fail(exc)
            finally:
                self._settled.set()

    async def _serve(self) -> None:
        # The package `mcp` logs messages of servers, which Python would otherwise print.
        logging.getLogger("mcp").setLevel(logging.CRITICAL + 1)
        for mode in ("auto", "legacy"):
            try:
                await self._connect(mode)
            except Exception as exc:
                # Some servers of earlier protocol revisions exit if the first request is not
                # `initialize`.
                if self.state == "ready" or mode == "legacy" or not is_closed(exc):
                    raise

    async def _connect(self, mode: str) -> None:
        from mcp import Client, types

        self._log.clear()
        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout(self._seconds):
                client = await stack.enter_async_context(
                    Client(
                        self._transport(),
                        mode=mode,
                        # If the server ignores `server/discover`, half of the time limit is left
                        # for `initialize`.
                        read_timeout_seconds=self._seconds / 2,
                        message_handler=self._received,
                        client_info=types.Implementation(name=APP_NAME, version=__version__),
                    )
                )
                await self._list(client)
            self._client, self.state = client, "ready"
            self._settled.set()
            watch = asyncio.create_task(self._listen(client))
            try:
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    await self._list(client)
            finally:
                watch.cancel()

    def _transport(self) -> Any:
        from harness.mcp.client_transport import over_http, over_pipes

        target = self.entry.resolved(os.environ)
        if target.url:
            return over_http(target.url, target.headers, self._log)
        command = [target.command, *target.args]
        return over_pipes(command, target.env, self._folder, self._log)

    async def _list(self, client: Client) -> None:
        found: dict[str, types.Tool] = {}
        left_out = []
        async for tool in all_tools(client):
            name = chat_name(self.entry.name, tool.name)
            if reason := _unusable(tool, found.keys(), name):
                left_out.append(f"its tool {in_one_line(tool.name, 60)} {reason}")
            elif len(found) < MOST_TOOLS:
                found[name] = tool
            else:
                left_out.append(f"it has more than {MOST_TOOLS:,} tools")
                break
        self.tools = found
        self.problem = "; ".join(left_out[:3])

    async def _listen(self, client: Client) -> None:
        """Set `_wake` when the server reports a change, so that the tools are read again.

        Servers of earlier protocol revisions do not support `listen`; see `_received`.
        """
        with contextlib.suppress(Exception):  # raised if the server cannot report changes
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self._wake.set()

    async def _received(self, message: object) -> None:
        from mcp import types

        if isinstance(message, types.ToolListChangedNotification):
            self._wake.set()

    async def _call(self, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            self._sign = time.monotonic()
            share = f"{progress:g} of {total:g}" if total else f"{progress:g}"
            self._progress = in_one_line(f"{share} {message or ''}", 60)

        assert self._client is not None
        self._progress = ""
        try:
            return await self._client.call_tool(name, arguments, 86_400.0, progressed)
        except HarnessError:
            raise
        except Exception as exc:
            # If the connection to a process ends, the server has failed. A server at a URL may
            # answer again.
            if self.entry.written.command and is_closed(exc):
                self._fail(exc)
                self._end()
                raise SkillFailed(f"{self.entry.name} has ended: {self.problem}") from exc
            raise SkillFailed(f"{self.entry.name}: {message_of(exc)}") from exc

    def _end(self) -> None:
        if not self._task.cancelling():  # a second cancellation would interrupt the cleanup
            self._task.cancel()

    def _fail(self, exc: BaseException) -> None:
        if self.state in ("stopped", "failed"):
            return
        self.state, self.tools = "failed", {}
        from mcp import types

        leaf = leaf_of(exc)
        if isinstance(leaf, TimeoutError) or getattr(leaf, "code", 0) == types.REQUEST_TIMEOUT:
            self.problem = f"it has not started within {self._seconds:g} s"
        else:
            self.problem = message_of(exc)
        if self._log:
            wrote = redact(" ".join([*self._log][-3:]))
            self.problem += f"; it wrote: {in_one_line(wrote, SHOWN)}"


def _unusable(tool: types.Tool, taken: Collection[str], name: str) -> str:
    """Return the reason why a tool cannot be used, or "" if it can be used.

    Args:
        taken: the names of other tools in the chat.
        name: the tool's name in the chat.
    """
    if len(tool.model_dump_json()) > MAX_TOOL:
        return "is too large"
    if tool.execution is not None and tool.execution.task_support == "required":
        return "requires tasks of the protocol, which the harness does not support"
    return "has the name of another tool" if name in taken else ""


async def all_tools(client: Client) -> AsyncIterator[types.Tool]:
    """Yield the tools of a server, from the first `PAGES` pages of the server's list."""
    cursor = None
    for _ in range(PAGES):
        page = await client.list_tools(cursor=cursor, cache_mode="refresh")
        for tool in page.tools:
            yield tool
        cursor = page.next_cursor
        if cursor is None:
            return


def chat_name(server: str, tool: str) -> str:
    """Return the name of a tool in the chat: SERVER__TOOL, or a shortened form with a hash.

    Model servers accept only names of at most `NAME` letters, digits, underscores and hyphens.

    Args:
        server: the name of the MCP server.
        tool: the tool's name at the server.
    """
    name = f"{server}__{_NOT_IN_NAMES.sub('_', tool)}"
    if len(name) <= NAME:
        return name
    return f"{name[: NAME - 9]}_{hashlib.sha256(tool.encode()).hexdigest()[:8]}"


def leaf_of(exc: BaseException) -> BaseException:
    """Return the first error in nested exception groups, or `exc` if it is not a group."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc


def is_closed(exc: BaseException) -> bool:
    """Return True if an error means that the connection has ended."""
    import anyio
    from mcp import types

    ended = anyio.ClosedResourceError, anyio.BrokenResourceError
    leaf = leaf_of(exc)
    return isinstance(leaf, ended) or getattr(leaf, "code", 0) == types.CONNECTION_CLOSED


def message_of(exc: BaseException) -> str:
    """Return the message of an error on one line of at most `SHOWN` characters, for the user.

    Secrets and control characters are replaced, since a server may have written the message. If
    the message is empty, the result is the name of the error's class.
    """
    leaf = leaf_of(exc)
    return in_one_line(redact(str(leaf)), SHOWN) or type(leaf).__name__
