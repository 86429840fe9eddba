"""Attack /serve and the MCP server: foreign requests, many and slow clients, cancellations."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agent_process import environment_of
from mcp_session import command, make_project

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = 500
REQUESTS = 4
"""Number of requests that each client sends, one after another over one connection."""
RATE, MEDIAN = 300, 1.5
"""Minimum number of requests per second on two cores, and maximum median seconds of a request."""
PAGES = ("/papers", "/papers/1", "/papers?q=agent", "/review", "/jobs", "/compare")
CANCELLED = 300
SLOW = 10.0
"""Seconds after which the server ends an incomplete request."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[int, str]]:
    """Run `/serve --demo` in a separate process, and yield its port and a valid cookie."""
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
    """Return the bytes of a request as a browser sends it."""
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Cookie: {cookie}", *more]
    return "\r\n".join((*lines, "", "")).encode()


def raw(port: int, request: bytes, seconds: float = 20.0) -> bytes:
    """Send bytes to the server; return the beginning of its answer, or b"" without an answer."""
    with socket.create_connection(("127.0.0.1", port), seconds) as connection:
        connection.sendall(request)
        with contextlib.suppress(OSError):
            return connection.recv(65536)
    return b""


async def _client(port: int, requests: list[bytes], seconds: list[float]) -> None:
    """Send requests over one connection, and append the time of each answer to `seconds`."""
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
    """Let clients request paths concurrently; return requests per second and median seconds."""
    seconds: list[float] = []
    requests = [get(port, path, cookie) for path in paths]

    async def run() -> None:
        await asyncio.gather(*(_client(port, requests, seconds) for _ in range(clients)))

    started = time.perf_counter()
    asyncio.run(run())
    return len(seconds) / (time.perf_counter() - started), statistics.median(seconds)


def many_clients(folder: Path, rng: random.Random) -> Iterator[str | None]:
    """Let 500 clients request the same page, and then different pages, at the same time."""
    with served(folder) as (port, cookie):
        mixed = [rng.sample(PAGES, len(PAGES)) for _ in range(3)]
        for pages in (*([page] * REQUESTS for page in PAGES[:3]), *mixed):
            rate, median = load(port, cookie, pages, CLIENTS)
            fast = rate >= RATE and median <= MEDIAN
            yield None if fast else f"{pages}: {rate:.0f} a second, median {median:.2f} s"


def foreign_requests(folder: Path, rng: random.Random) -> Iterator[str | None]:
    """Send requests that the pages of /serve never make; all must be refused."""
    with served(folder) as (port, cookie):
        own = f"127.0.0.1:{port}"
        post = "Content-Type: application/x-www-form-urlencoded"
        origins = (
            "null",
            "http://evil.test",
            f"https://{own}",
            f"http://{own}.evil.test",
            "http://[",
        )
        hosts = ("evil.test", f"evil.test:{port}", f"127.0.0.1:{port + 1}", f"{own}.evil.test", "")
        heads = [(page, f"Host: {host}", cookie) for host in hosts for page in PAGES]
        heads += [(page, f"Host: {own}\r\nHost: {own}", cookie) for page in PAGES]
        heads += [
            (page, f"Host: {own}\r\nOrigin: {one}", cookie) for one in origins for page in PAGES
        ]
        heads += [
            (page, f"Host: {own}\r\nSec-Fetch-Site: {site}", cookie)
            for site in ("cross-site", "same-site")
            for page in PAGES
        ]
        name, _, value = cookie.partition("=")
        for _ in range(20):
            place = rng.randrange(len(value))
            wrong = f"{value[:place]}{rng.choice('abcXYZ019')}{value[place + 1 :]}x"
            heads.append((rng.choice(PAGES), f"Host: {own}", f"{name}={wrong}"))
        heads += [
            (f"/papers?token={rng.randbytes(32).hex()}", f"Host: {own}", "") for _ in range(9)
        ]
        heads += [
            (f"/static/{path}", f"Host: {own}", cookie)
            for path in (
                "../server.py",
                "%2e%2e/server.py",
                "..%2fserver.py",
                "//etc/passwd",
                "%00",
            )
        ]
        heads.append((f"/papers?q={'x' * 5000}", f"Host: {own}", cookie))
        for page, head, known in heads:
            request = f"GET {page} HTTP/1.1\r\n{head}\r\nCookie: {known}\r\n\r\n"
            yield _refused(port, request)
        for origin in (*origins, ""):
            head = f"Origin: {origin}\r\n" * bool(origin)
            yield _refused(
                port,
                f"POST /review HTTP/1.1\r\nHost: {own}\r\n{head}{post}\r\nCookie: {cookie}\r\n"
                "Content-Length: 6\r\n\r\nname=x",
            )
        mine = f"POST /review HTTP/1.1\r\nHost: {own}\r\nOrigin: http://{own}\r\nCookie: {cookie}"
        for length in ("2000000", "-1", "1e3", "6, 7", "x"):
            yield _refused(port, f"{mine}\r\n{post}\r\nContent-Length: {length}\r\n\r\nname=x")
        yield _refused(port, f"{mine}\r\n{post}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        usual = raw(port, get(port, "/papers", cookie))
        yield None if usual.startswith(b"HTTP/1.1 200") else "afterwards, /papers is not answered"


def _refused(port: int, request: str) -> str | None:
    answer = raw(port, request.encode())
    status = answer[9:12]
    wanted = answer == b"" or (status[:1] == b"4" and b"Traceback" not in answer)
    return None if wanted else f"answered with {status!r}: {request[:200]!r}"


def slow_clients(folder: Path, rng: random.Random) -> Iterator[str | None]:
    """Keep 60 connections open with incomplete requests.

    The server must close these connections, and answer other requests in the meantime.
    """
    with served(folder) as (port, cookie):
        origin = f"Origin: http://127.0.0.1:{port}"
        length = "Content-Length: 900"
        post = get(port, "/review", cookie, origin, length).replace(b"GET", b"POST", 1) + b"name=x"
        opened = []
        for number in range(60):
            whole = post if number % 3 == 0 else get(port, rng.choice(PAGES), cookie)[:-1]
            cut = len(whole) if whole is post else rng.randrange(len(whole))
            connection = socket.create_connection(("127.0.0.1", port), 2 * SLOW)
            connection.sendall(whole[:cut])
            opened.append((connection, time.monotonic(), whole[:cut]))
        started = time.monotonic()
        answer = raw(port, get(port, "/papers", cookie))
        taken = time.monotonic() - started
        fast = answer.startswith(b"HTTP/1.1 200") and taken < 2
        yield None if fast else f"beside slow clients, a page takes {taken:.1f} s"
        for connection, begun, sent in opened:
            with connection, contextlib.suppress(OSError):
                while connection.recv(65536):
                    pass
            open_for = time.monotonic() - begun
            yield None if open_for < SLOW + 3 else f"open for {open_for:.0f} s: {sent[:60]!r}"


def start_server(project: Path, *general: str) -> subprocess.Popen[str]:
    """Start the MCP server of a project with general options; stderr goes to a file."""
    with (project / "stderr").open("w") as errors:
        return subprocess.Popen(
            command(*general),
            cwd=project,
            env=environment_of(project),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )


def cancelled_calls(folder: Path, rng: random.Random) -> Iterator[str | None]:
    """Cancel 300 waiting and running calls of the MCP server; the next call must be answered."""
    for number, tool in enumerate(("rows", "rows", "rows_read")):
        project = make_project(folder / f"{number}")
        server = start_server(project, "--yes")
        try:
            yield _cancelled(server, tool, rng)
        except (OSError, ValueError) as error:
            yield f"the MCP server ended: {error}"
        finally:
            server.kill()
            server.communicate()


def _cancelled(server: subprocess.Popen[str], tool: str, rng: random.Random) -> str | None:
    client = {"protocolVersion": "2025-11-25", "capabilities": {}}
    info = {"clientInfo": {"name": "attack", "version": "1"}}
    ask(server, "start", "initialize", {**client, **info})
    send(server, {"method": "notifications/initialized"})
    arguments = (
        {"subcommand": "look"} if tool == "rows_read" else {"subcommand": "work", "rows": 9999}
    )
    call = {"name": tool, "arguments": arguments}
    for number in range(CANCELLED):
        send(server, {"id": number, "method": "tools/call", "params": call})
        if rng.random() < 0.1:
            time.sleep(rng.random() / 10)
    for number in rng.sample(range(CANCELLED), CANCELLED):
        cancelled = {"method": "notifications/cancelled", "params": {"requestId": number}}
        send(server, cancelled)
    started = time.monotonic()
    one = {"name": "rows", "arguments": {"subcommand": "work", "rows": 1}}
    ask(server, "after", "tools/call", one)
    taken = time.monotonic() - started
    status = Path(f"/proc/{server.pid}/status")
    threads = int(re.findall(r"Threads:\s+(\d+)", status.read_text())[0]) if status.exists() else 0
    held = taken < 2 and threads < 40
    return None if held else f"{tool}: the next answer took {taken:.1f} s, with {threads} threads"


def send(server: subprocess.Popen[str], message: dict[str, Any]) -> None:
    assert server.stdin is not None
    server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    server.stdin.flush()


def ask(server: subprocess.Popen[str], key: str, method: str, params: dict[str, Any]) -> None:
    """Send a JSON-RPC request with the id `key`, and wait for its answer."""
    send(server, {"id": key, "method": method, "params": params})
    assert server.stdout is not None
    while json.loads(server.stdout.readline()).get("id") != key:
        pass


AREAS: dict[str, Callable[[Path, random.Random], Iterator[str | None]]] = {
    "many-clients": many_clients,
    "foreign-requests": foreign_requests,
    "slow-clients": slow_clients,
    "cancelled-calls": cancelled_calls,
}
