"""Query an Ollama server for its models, prompts and capabilities, and download models to it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import (
    HarnessError,
    ModelBusy,
    ModelUnavailable,
    NothingFound,
    SkillFailed,
)
from harness.models.backends import remote
from harness.support import bounded_http

if TYPE_CHECKING:
    import ollama


DEFAULT_HOST = "http://127.0.0.1:11434"
_FILE = re.compile(r"(?m)^(?:FROM|ADAPTER) .*sha256-([0-9a-f]{64})$")
"""Matches the lines with the files of a model in the Modelfile that /api/show returns."""
PULL_SECONDS = 600.0
"""Seconds without a message or progress after which a download is given up. The number is large,
since a server sends no messages while it verifies files.
"""
PULL_BYTES = 1_000_000_000
"""Maximum total size in bytes of the progress messages of a download."""
DOWNLOAD = "https://ollama.com/download"
START = "Start Ollama with `ollama serve`, or set OLLAMA_HOST to another address."


class Absent(ModelUnavailable):
    """Raised if no server runs at the default address, or if a server does not have the model."""


class NoModel(Absent, remote.NotServed):
    """Raised if the server does not have the model."""


def host_of(url: str | None = None) -> str:
    """Return the address of a server: `url`, or else OLLAMA_HOST, or else `DEFAULT_HOST`."""
    return url or os.environ.get("OLLAMA_HOST") or DEFAULT_HOST


def full_name(name: str) -> str:
    """Return the name of a model with its tag, by default "latest"."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def open_client(host: str, seconds: float, handle: remote.ConnectionHandle) -> ollama.Client:
    """Return a client with a read timeout of `seconds`, and set `handle.server`.

    The client raises ollama.ResponseError for every response with an error status, whatever the
    body of the response contains.

    Raises:
        ModelUnavailable: `host` or OLLAMA_HOST is not an address. OLLAMA_HOST matters in any case,
            since the package `ollama` parses the variable at import.
    """
    import httpx

    handle.server = f"Ollama at {remote.shown_address(host)}"
    try:
        import ollama

        def refuse(response: httpx.Response) -> None:
            if response.is_error:
                reason = json.dumps(
                    {"error": bounded_http.error_text(response.read().decode(errors="replace"))}
                )
                raise ollama.ResponseError(reason, response.status_code)

        timeout = httpx.Timeout(seconds, connect=min(seconds, remote.CONNECT_SECONDS))
        return ollama.Client(
            host=host,
            timeout=timeout,
            event_hooks={**handle.hooks, "response": [*handle.hooks["response"], refuse]},
            trust_env=not remote.is_local(host),
        )
    except (ValueError, httpx.InvalidURL) as exc:
        raise ModelUnavailable(
            f"{remote.shown_address(host)!r} is not the address of an Ollama server",
            hint=f"Correct OLLAMA_HOST or the registry; the default is {DEFAULT_HOST}.",
        ) from exc


@contextlib.contextmanager
def translated_errors(host: str) -> Iterator[None]:
    """Translate the errors of an Ollama client for `host` into errors of the harness.

    Raises:
        ModelUnavailable: no server answers, or the server is not Ollama or refuses the client.
        NothingFound: the server does not have the model.
        ModelBusy: the queue of the server is full.
        SkillFailed: the server reports an error.
        GenerationFailed: the connection was closed.
    """
    import httpx
    import ollama

    shown = remote.shown_address(host)
    try:
        yield
    except ollama.ResponseError as exc:
        raise _refused(f"Ollama at {shown}", exc.status_code, str(exc.error)) from exc
    except (ConnectionError, httpx.ConnectError, httpx.ConnectTimeout) as exc:
        kind = Absent if host == DEFAULT_HOST else ModelUnavailable
        absent = host == DEFAULT_HOST and shutil.which("ollama") is None
        hint = f"Install Ollama from {DOWNLOAD}. {START}" if absent else START
        raise kind(f"no Ollama server at {shown}", hint=hint) from exc
    except httpx.TimeoutException as exc:
        raise ModelUnavailable(
            f"the Ollama server at {shown} does not answer", hint="Restart the server."
        ) from exc
    except httpx.HTTPError as exc:
        raise remote.stream_error(f"Ollama at {shown}") from exc
    except bounded_http.UNREADABLE as exc:
        raise _not_ollama(host) from exc


def _refused(server: str, status: int, reason: str) -> HarnessError:
    answer = f"answers {status}" if status > 0 else "reports an error"
    message = f"{server} {answer}: {' '.join(reason.split())[:200] or 'no reason given'}"
    if status == 403:
        return ModelUnavailable(
            message,
            hint="A server that listens on loopback only must be addressed as 127.0.0.1 or "
            "localhost.",
        )
    if status == 404:
        return NothingFound(message, hint="`ollama list` lists the models of the server.")
    if status in (429, 503):
        return ModelBusy(message, hint="The server's queue is full: try again in a moment.")
    where = "Free space in OLLAMA_MODELS, where Ollama briefly stores a new model twice."
    is_full = "no space left" in reason
    return SkillFailed(message, hint=where if is_full else "See the server's log.")


def _not_ollama(host: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"the server at {remote.shown_address(host)} is not Ollama",
        hint="Set OLLAMA_HOST to the address of an Ollama server.",
    )


@contextlib.contextmanager
def _answering(
    host: str, seconds: float, handle: remote.ConnectionHandle
) -> Iterator[ollama.Client]:
    """Yield a client; errors of requests within the block are raised as ModelUnavailable."""
    import httpx

    with open_client(host, seconds, handle) as client, translated_errors(host):
        import ollama

        try:
            yield client
        except bounded_http.TooLong as exc:
            raise ModelUnavailable(exc.message) from exc
        except ollama.ResponseError as exc:
            raise ModelUnavailable(
                f"{remote.shown_address(host)} answers {exc.status_code}: {exc.error}",
                hint="Check that this is the address of an Ollama server.",
            ) from exc
        except (httpx.ProtocolError, httpx.ReadError, httpx.WriteError) as exc:
            if handle.overdue:
                raise httpx.ReadTimeout("not complete in time") from exc
            raise _not_ollama(host) from exc


@contextlib.contextmanager
def _probing(
    host: str, allowed: str | None, seconds: float | None = None
) -> Iterator[ollama.Client]:
    """Yield a client for short requests; a time limit applies to the whole block.

    Args:
        seconds: the read timeout, by default `PROBE_SECONDS`. The time limit of the block is
            `PROBE_LIMIT` times as long.

    Raises:
        ModelUnavailable: raised by `_answering`.
    """
    seconds, handle = seconds or remote.PROBE_SECONDS, remote.ConnectionHandle(allowed=allowed)
    with handle.limited(seconds * remote.PROBE_LIMIT), _answering(host, seconds, handle) as client:
        yield client


def list_models(host: str, allowed: str | None = None) -> Mapping[str, str]:
    """Return the digests of the models on a server, by the full name of the model.

    Args:
        allowed: another host, to which the server may redirect.

    Raises:
        ModelUnavailable: no Ollama server answers at `host`.
    """
    with _probing(host, allowed) as client:
        return listed(client)


def listed(client: ollama.Client) -> Mapping[str, str]:
    """Return the digests of the models on a client's server, by the full name of the model."""
    # The client's own method creates objects that need ten times the memory of the answer.
    models = client._client.request("GET", "/api/tags", timeout=remote.PROBE_SECONDS).json()
    named = [(str(one["name"]), one.get("digest")) for one in models["models"] or ()]
    return {full_name(name): digest for name, digest in named if isinstance(digest, str)}


def pull(host: str, name: str, tick: Callable[[str], None]) -> None:
    """Download a model to the server; an interrupted download is continued.

    Args:
        tick: called with a text: the status that the server reports, followed by the downloaded
            and the total size in megabytes if the total size is known.

    Raises:
        ModelUnavailable: no Ollama server answers at `host`, the server cannot download the model,
            the connection broke, or the download made no progress for `PULL_SECONDS`.
    """
    import httpx
    import ollama

    status: str | None = None
    progress, since = (status, 0), time.monotonic()
    handle = remote.ConnectionHandle(size=PULL_BYTES, ends=(b"\n",))
    with _answering(host, PULL_SECONDS, handle) as client:
        try:
            for part in client.pull(name, stream=True):
                status = part.status
                if progress != (status, part.completed or 0):
                    progress, since = (status, part.completed or 0), time.monotonic()
                elif time.monotonic() - since > PULL_SECONDS:
                    break
                size = f" {(part.completed or 0) / 1e6:,.0f} of {(part.total or 0) / 1e6:,.0f} MB"
                tick(f"{status}{size if part.total else ''}")
        except ollama.ResponseError as exc:
            raise ModelUnavailable(
                f"Ollama cannot download {name}: {exc.error}",
                hint="https://ollama.com/library lists the names of models.",
            ) from exc
        except (httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError):
            status = "interrupted"
    if status != "success":
        raise ModelUnavailable(
            f"the download of {name} did not end (last status: {status})",
            hint="Repeat the line: Ollama continues the download.",
        )


def rendered_prompt(host: str, body: Mapping[str, Any], allowed: str | None) -> str:
    """Return the prompt that the server renders from a chat.

    The result is "" if the server does not report the prompt.

    Args:
        body: the body of a request to /api/chat.
        allowed: another host, to which the server may redirect.
    """
    found = _details(host, "/api/chat", body, allowed, remote.CONNECT_SECONDS).get("_debug_info")
    prompt = found.get("rendered_template") if isinstance(found, dict) else None
    return prompt if isinstance(prompt, str) else ""


def capabilities(host: str, model: str, allowed: str | None) -> Collection[str]:
    """Return the capabilities of a model, or () if the server does not report capabilities."""
    found = _details(host, "/api/show", {"model": model}, allowed).get("capabilities")
    return found if isinstance(found, list) else ()


def files_of(host: str, model: str, allowed: str | None) -> Collection[str]:
    """Return the SHA-256 of each weights file and adapter of a model.

    The result is [] if the server does not report the files.
    """
    found = _details(host, "/api/show", {"model": model}, allowed).get("modelfile")
    return _FILE.findall(found if isinstance(found, str) else "")


def _details(
    host: str,
    path: str,
    body: Mapping[str, Any],
    allowed: str | None,
    seconds: float | None = None,
) -> Mapping[str, Any]:
    """Return the JSON object that answers a POST request, or {} after an error."""
    try:
        with _probing(host, allowed, seconds) as client:
            found = client._client.request("POST", path, json=body).json()
    except HarnessError:
        return {}
    return found if isinstance(found, dict) else {}
