"""A client process that sends requests to faulty servers, for bench/attacks/servers.py.

Each line of stdin is a JSON object that describes a request: `name` (a key of `MEETINGS`), `url`,
`deadline` and `warm`. The process prints a JSON line with the outcome: `text` (the answer or the
error), `kind` (the class of the error, or ""), `seconds`, and `growth` of the memory in bytes. Each
request is sent by a fork of the process, so that all requests begin with the same memory; with
`warm`, the process itself sends the request.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from faulty_server import MODEL

from harness.errors import HarnessError
from harness.models.backend import Message, Request
from harness.models.backends.ollama import OllamaBackend
from harness.models.backends.openai import OpenAIBackend
from harness.models.registry import ServeEntry
from skills.corpus.sources import access
from skills.corpus.sources.access import Source
from skills.corpus.sources.crossref import Crossref
from skills.corpus.sources.pubmed import PubMed
from skills.corpus.zotero_notes import zotero_api

TIMEOUT = 2.0
"""Read time-out of sources and of Zotero, in seconds."""


def peak() -> int:
    """Return the peak resident memory of this process in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def generate(backend: str, url: str, deadline: float) -> str:
    """Request an answer of a model from the server at `url`, and return its text."""
    entry = ServeEntry(backend=backend, model=MODEL, url=url)
    server = OpenAIBackend() if backend == "openai" else OllamaBackend()
    request = Request((Message("user", "Say one word."),), max_tokens=64, deadline=deadline)
    return server.load(entry).generate(request).text


def look_up(source: type[Source], url: str, deadline: float) -> str:
    """Look up two ids at a source, without pauses, and return the papers as text."""
    folder = Path(tempfile.mkdtemp(dir="."))
    opened = source(url, folder, timeout=TIMEOUT, delay=0.0, wait=lambda seconds: None)
    return str(opened.by_ids(source.kinds[0], ["10.1234/x", "12345"]))


class NoWait:
    """A stop token whose waits take no time."""

    def check(self) -> None:
        """Do nothing, since the process is never stopped."""

    def wait(self, seconds: float) -> bool:
        return False


def use_zotero(url: str, deadline: float) -> str:
    """Check the access to a Zotero library, and return ""."""
    os.environ[zotero_api.URL_VARIABLE] = url
    stop: Any = NoWait()
    with zotero_api.Library("users/1", stop) as library:
        library.check_access(write=False)
    return ""


MEETINGS: dict[str, Callable[[str, float], str]] = {
    "ollama": partial(generate, "ollama"),
    "openai": partial(generate, "openai"),
    "crossref": partial(look_up, Crossref),
    "pubmed": partial(look_up, PubMed),
    "zotero": use_zotero,
}


def meet(name: str, url: str, deadline: float) -> dict[str, Any]:
    """Send a request, and return the outcome, as the docstring of this module describes it."""
    started, before = time.monotonic(), peak()
    try:
        text, kind = MEETINGS[name](url, deadline), ""
    except Exception as exc:  # noqa: BLE001  the class of the error is part of the outcome
        text = str(exc)
        kind = "HarnessError" if isinstance(exc, HarnessError) else type(exc).__name__
    seconds = time.monotonic() - started
    return {"text": text, "kind": kind, "seconds": seconds, "growth": peak() - before}


def main() -> None:
    """Send the requests that the lines of stdin describe, and print the outcomes."""
    zotero_api.TIMEOUT, zotero_api.LONGEST = TIMEOUT, 4 * TIMEOUT
    access.LONGEST = 4 * TIMEOUT
    for line in sys.stdin:
        given = json.loads(line)
        warm = given.pop("warm")
        if warm or not os.fork():
            print(json.dumps(meet(**given)), flush=True)
            if not warm:
                os._exit(0)
        else:
            os.wait()


if __name__ == "__main__":
    main()
