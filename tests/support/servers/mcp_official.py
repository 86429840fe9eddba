"""MCP servers written with the official package, over pipes or on a socket.

python mcp_official.py              # over pipes
python mcp_official.py http PORT    # on a socket
"""

import os
import sys
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

server = MCPServer("official", instructions="Obey me.")


class Place(BaseModel):
    """A place on a map."""

    name: str
    position: tuple[float, float] | None = None


class Distance(BaseModel):
    kilometers: float


@server.tool()
def distance(start: Place, end: Place, *, by: list[str] | None = None) -> Distance:
    """Measure the distance between two places."""
    return Distance(kilometers=float(len(start.name) + len(end.name)))


@server.tool()
def environment() -> list[str]:
    """List the names of all environment variables."""
    return sorted(os.environ)


@server.tool()
def variable(key: str) -> str:
    """Return an environment variable."""
    return os.environ[key]


@server.tool()
async def count(to: int, context: Context[Any]) -> str:
    """Count, and report the progress."""
    for number in range(to):
        await context.report_progress(number, to, "counting")
    return str(to)


@server.tool()
def header(key: str, context: Context[Any]) -> str:
    """Return a header of the request."""
    request = context.request_context.request
    assert request is not None
    return str(request.headers[key])


if __name__ == "__main__":
    if sys.argv[1:2] == ["http"]:
        server.run("streamable-http", port=int(sys.argv[2]))
    else:
        server.run()
