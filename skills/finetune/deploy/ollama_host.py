"""Which Ollama server is meant, and what its version lets it do."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    import httpx

DEFAULT_HOST, DEFAULT_PORT = "http://127.0.0.1:11434", 11434


def host_of(given: str | None) -> str:
    """The server that is meant: the one given, else OLLAMA_HOST, else this machine's own."""
    return given or os.environ.get("OLLAMA_HOST") or DEFAULT_HOST


def parse_version(version: str) -> tuple[int, int, int] | None:
    """Three numbers; None for one that was built from source, "0.0.0", or names none."""
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    numbers = (int(found[1]), int(found[2]), int(found[3])) if found else (0, 0, 0)
    return numbers if any(numbers) else None


def url_of(host: str) -> httpx.URL:
    """The address, as Ollama's own client reads it: without a scheme the port is 11434.

    Raises:
        UsageError: it is none.
    """
    import httpx

    scheme, given, rest = host.strip().rstrip("/").rpartition("://")
    try:
        url = httpx.URL(f"{scheme if given else 'http'}://{rest}")
        url = url.copy_with(host=url.host or "127.0.0.1")
        url = url if given or url.port is not None else url.copy_with(port=DEFAULT_PORT)
    except (httpx.InvalidURL, TypeError, ValueError) as exc:
        raise _no_address(host) from exc
    if url.scheme not in ("http", "https") or len(host.split()) != 1:
        raise _no_address(host)
    return url


def _no_address(host: str) -> UsageError:
    return UsageError(
        f"{host!r} is not the address of an Ollama server", hint=f"The usual one is {DEFAULT_HOST}."
    )
