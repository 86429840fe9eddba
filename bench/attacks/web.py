"""Attack /serve and the MCP server: foreign requests, many and slow clients, cancellations."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = 500
REQUESTS = 4
"""Requests of each client, one after the other over one connection."""
RATE, MEDIAN = 300, 1.5
"""Least requests a second on two cores, and the longest median in seconds."""
PAGES = ("/papers", "/papers/1", "/papers?q=agent", "/review", "/jobs", "/compare")
SLOW = 10.0
"""Seconds after which a request that is half sent is ended."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[int, str]]:
    """Serve the demonstration in a process of its own; yield its port and a cookie."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "agent.py", f"/serve --demo --no-open --port {port}"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=(folder / "serve.log").open("w"),
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline()
        found = re.match(r"http://127\.0\.0\.1:\d+/(\?token=\S+)", address)
        assert found, (folder / "serve.log").read_text()[-500:]
        answer = raw(port, get(port, f"/{found[1]}"))
        cookie = re.search(rb"set-cookie: ([^;\r]+)", answer, re.I)
        assert cookie, answer[:300]
        yield port, cookie[1].decode()
    finally:
        process.terminate()
        process.wait(20)


def get(port: int, path: str, cookie: str = "", *more: str) -> bytes:
    """Return a request as the browser sends it."""
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Cookie: {cookie}", *more]
    return "\r\n".join((*lines, "", "")).encode()


def raw(port: int, request: bytes, seconds: float = 20.0) -> bytes:
    """Return the beginning of the answer to bytes, b"" if the connection is closed without one."""
    with socket.create_connection(("127.0.0.1", port), seconds) as connection:
        connection.sendall(request)
        with contextlib.suppress(OSError):
            return connection.recv(65536)
    return b""


async def _client(port: int, requests: list[bytes], seconds: list[float]) -> None:
    """Send requests over one connection, and note how long each answer takes."""
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for request in requests:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head[:100]
            length = re.search(rb"content-length: (\d+)", head, re.I)
            assert length
            await reader.readexactly(int(length[1]))
            seconds.append(time.perf_counter() - started)
            started = time.perf_counter()
    finally:
        writer.close()


def load(port: int, cookie: str, paths: list[str], clients: int) -> tuple[float, float]:
    """Return requests a second and the median of the seconds until an answer."""
    seconds: list[float] = []
    requests = [get(port, path, cookie) for path in paths]

    async def run() -> None:
        await asyncio.gather(*(_client(port, requests, seconds) for _ in range(clients)))

    started = time.perf_counter()
    asyncio.run(run())
    return len(seconds) / (time.perf_counter() - started), statistics.median(seconds)
