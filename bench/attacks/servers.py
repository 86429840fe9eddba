"""Faulty and hostile model servers: 65 faults in Ollama's and OpenAI's protocols.

A client process sends a successful request, and then a request for each fault of the server. Each
request must end in time, with an error of the harness and a short message that does not contain the
key, and may use at most `GROWTH` bytes more memory. Jobs of /annotate that have a key and a
password also use the faulty servers; no file or stream may contain the key or the password.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from agent_process import environment_of, start_agent
from faulty_server import DIGEST, FAULTS, MODEL, NEW_DIGEST, NEW_MODEL, FaultyServer

GROWTH = 64_000_000
DEADLINE = 4.0
"""Maximum seconds of an answer; the client may take `MARGIN` seconds more."""
MARGIN = 6.0
LONGEST_MESSAGE = 1500
AT_ONCE = 6
KEY = "sk-attacked-0123456789abcdef"
KEYS = dict.fromkeys(("OPENAI_API_KEY", "OLLAMA_API_KEY"), KEY)
KEYS["ZOTERO_API_KEY"] = "zotero0123456789abcdef"
PASSWORD = "pass-word-98765"


class Client:
    """A process of `_client.py`, which sends each request from a fork of itself."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("_client.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **KEYS, "PYTHONPATH": os.pathsep.join(sys.path)},
            cwd=folder,
            text=True,
        )

    def meet(self, server: FaultyServer, *, warm: bool = False) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        url = server.url + "/v1" * (self._name == "openai")
        given = {"name": self._name, "url": url, "warm": warm, "deadline": DEADLINE}
        self._process.stdin.write(json.dumps(given) + "\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        self._process.communicate()


def problems(fault: str, found: dict[str, Any], server: FaultyServer) -> Iterator[str]:
    """Yield descriptions of the problems in the outcome of a request to a faulty server."""
    if found["growth"] > GROWTH:
        yield f"{found['growth'] / 1e6:.0f} MB more memory"
    if found["seconds"] > DEADLINE + MARGIN:
        yield f"{found['seconds']:.0f} s"
    if found["kind"] not in ("HarnessError", ""):
        yield f"{found['kind']}: {found['text'][:100]}"
    if len(found["text"]) > LONGEST_MESSAGE and found["kind"]:
        yield f"a message of {len(found['text'])} characters"
    if KEY in found["text"]:
        yield "the key is shown"
    if server.redirected:
        yield f"another host received {server.redirected[0][:60]!r}"


def faulty(name: str) -> Callable[[Path, random.Random], Iterator[str | None]]:
    """Return the area with all faults of one protocol.

    Args:
        name: a key of `_client.MEETINGS`.
    """

    def area(folder: Path, chance: random.Random) -> Iterator[str | None]:
        client = Client(name, folder)
        try:
            with FaultyServer("429 once") as server:
                server.chats = 1  # the fault applies to the first chat only
                client.meet(server, warm=True)
            for fault in chance.sample(list(FAULTS), len(FAULTS)):
                with FaultyServer(fault) as server:
                    found = client.meet(server)
                    wrong = "; ".join(problems(fault, found, server))
                yield f"{fault}: {wrong}" if wrong else None
        finally:
            client.close()

    return area


REGISTRY = """\
version: 1
models:
  nanda-annotator:
    tasks: [annotate]
    serve: [{{backend: {backend}, model: "{model}", url: "{url}"}}]
"""
ABSTRACT = "We count the birds of forty islands. Small islands lose species faster than large ones."


def sweep(folder: Path, chance: random.Random) -> Iterator[str | None]:
    """Run jobs with faulty servers, and search files and output for the key and the password."""

    def run(number: int, backend: str, fault: str) -> str | None:
        home = folder / f"{number}"
        home.mkdir()
        (home / "papers.csv").write_text(f"title,abstract\nBirds,{ABSTRACT}\n")
        with FaultyServer(fault) as server:
            path = "/v1" if backend == "openai" else ""
            url = f"http://user:{PASSWORD}@127.0.0.1:{server.port}{path}"
            (home / "registry.yaml").write_text(
                REGISTRY.format(backend=backend, model=MODEL, url=url)
            )
            own = {**KEYS, "HOME": str(home)}
            own |= {f"HARNESS_{n}": str(home / n.lower()) for n in ("DATA", "CONFIG", "CACHE")}
            environment = {**os.environ, **own, "HARNESS_REGISTRY": str(home / "registry.yaml")}
            line = "/annotate papers.csv --time-limit 3 save to out.jsonl"
            process = start_agent(home, line, environment)
            try:
                out, err = process.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                return f"{backend}, {fault}: not ended after 120 s"
        (home / "streams").write_text(out + err)
        (home / "registry.yaml").unlink()
        for secret in (KEY, PASSWORD):
            found = [
                p for p in home.rglob("*") if p.is_file() and secret.encode() in p.read_bytes()
            ]
            if found:
                return f"{backend}, {fault}: {secret[:4]}... is in {found[0].relative_to(home)}"
        if "Traceback" in err:
            return f"{backend}, {fault}: a traceback: {err[-200:]}"
        return None

    chosen = [(backend, fault) for fault in FAULTS for backend in ("ollama", "openai")]
    chosen = chance.sample(chosen, 60)
    executor = ThreadPoolExecutor(AT_ONCE)
    try:
        yield from executor.map(lambda args: run(*args), ((n, *c) for n, c in enumerate(chosen)))
    finally:
        executor.shutdown(cancel_futures=True)


def changed(folder: Path, chance: random.Random) -> Iterator[str | None]:
    """Replace the model of a server while a job runs; the job must stop, and name both models."""
    for backend in ("ollama", "openai"):
        for after in (chance.randrange(2, 20), chance.randrange(20, 60)):
            home = folder / f"{backend}-{after}"
            home.mkdir()
            with FaultyServer("moves") as server:
                server.changes_after = after
                url = server.url + ("/v1" if backend == "openai" else "")
                (home / "registry.yaml").write_text(
                    REGISTRY.format(backend=backend, model=MODEL, url=url)
                )
                rows = "".join(f"Birds {n},{ABSTRACT} It is abstract {n}.\n" for n in range(80))
                (home / "papers.csv").write_text(f"title,abstract\n{rows}")
                environment = environment_of(home)
                process = start_agent(home, "/annotate papers.csv save to o.jsonl", environment)
                _, err = process.communicate(timeout=120)
            named = (MODEL, NEW_MODEL) if backend == "openai" else (DIGEST[:12], NEW_DIGEST[:12])
            stored = b"".join(path.read_bytes() for path in (home / "data").glob("corpus.db*"))
            wrong = [f"code {process.returncode}: {err[-200:]}"] * (process.returncode != 3)
            wrong += [f"{name} is not named" for name in named if name not in err]
            wrong += ["a row has the later digest"] * (NEW_DIGEST.encode() in stored)
            yield "; ".join(wrong) or None


AREAS = {
    "changed-models": changed,
    "faulty-ollama": faulty("ollama"),
    "faulty-openai": faulty("openai"),
    "faulty-crossref": faulty("crossref"),
    "faulty-pubmed": faulty("pubmed"),
    "faulty-zotero": faulty("zotero"),
    "secrets": sweep,
}
