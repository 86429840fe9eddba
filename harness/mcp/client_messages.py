"""What servers send: lists of tools, names and errors; and what the package makes of them."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from harness._version import __version__
from harness.runs.consent import in_one_line
from harness.settings import APP_NAME

if TYPE_CHECKING:
    from mcp import Client, types

PAGES = 100
"""Pages of a list of tools that are read."""
SHOWN = 300
"""Characters of a server's message that are shown."""
NAME = 64
"""Longest name of a tool."""
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")


async def all_tools(client: Client) -> AsyncIterator[types.Tool]:
    """Yield the tools of a server, from all pages of its list."""
    cursor = None
    for _ in range(PAGES):
        page = await client.list_tools(cursor=cursor, cache_mode="refresh")
        for tool in page.tools:
            yield tool
        cursor = page.next_cursor
        if cursor is None:
            return


def chat_name(server: str, tool: str) -> str:
    """Return the name of a tool in the chat, of the characters and length that servers accept."""
    name = f"{server}__{_NOT_IN_NAMES.sub('_', tool)}"
    if len(name) <= NAME:
        return name
    return f"{name[: NAME - 9]}_{hashlib.sha256(tool.encode()).hexdigest()[:8]}"


def client_info() -> types.Implementation:
    """Return the name that servers see."""
    from mcp import types

    return types.Implementation(name=APP_NAME, version=__version__)


def silence() -> None:
    """Keep the package from logging what servers send: without a handler, Python prints it."""
    log = logging.getLogger("mcp")
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())


def leaf_of(exc: BaseException) -> BaseException:
    """Return the error itself, without the groups that task groups make of it."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc


def is_closed(exc: BaseException) -> bool:
    """Return True if an error means that the connection has ended."""
    import anyio
    from mcp import MCPError, types

    leaf = leaf_of(exc)
    if isinstance(leaf, MCPError):
        return leaf.code == types.CONNECTION_CLOSED
    return isinstance(leaf, (anyio.ClosedResourceError, anyio.BrokenResourceError))


def is_late(exc: BaseException) -> bool:
    """Return True if an error means that a server has not answered in time."""
    from mcp import MCPError, types

    leaf = leaf_of(exc)
    late = isinstance(leaf, MCPError) and leaf.code == types.REQUEST_TIMEOUT
    return late or isinstance(leaf, TimeoutError)


def message_of(exc: BaseException) -> str:
    """Return the message of an error, which a server may have written, in one line."""
    leaf = leaf_of(exc)
    return in_one_line(str(leaf), SHOWN) or type(leaf).__name__
