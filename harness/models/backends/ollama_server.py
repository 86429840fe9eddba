"""An Ollama server: its address, its models, their files and their capabilities."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
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

if TYPE_CHECKING:
    import ollama


DEFAULT_HOST = "http://127.0.0.1:11434"
_FILE = re.compile(r"(?m)^(?:FROM|ADAPTER) .*sha256-([0-9a-f]{64})$")
"""Lines of the Modelfile that /api/show returns: the files in the server's own folder."""
PULL_SECONDS = 600.0
"""Read timeout of a download: the server is silent while it verifies gigabytes."""
DOWNLOAD = "https://ollama.com/download"
START = "Start it with `ollama serve`; OLLAMA_HOST names another address."


class Absent(ModelUnavailable):
    """Nothing is where an entry looks by default: no server, or no such model."""


class NoModel(Absent, remote.NotServed):
    """The server has no such model."""


def host_of(url: str | None = None) -> str:
    """Return the address of a server: `url`, else OLLAMA_HOST, else the default."""
    return url or os.environ.get("OLLAMA_HOST") or DEFAULT_HOST


def full_name(name: str) -> str:
    """Return the name of a model with its tag."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def open_client(host: str, seconds: float, handle: remote.ConnectionHandle) -> ollama.Client:
    """Return a client with a read timeout of `seconds`.

    Raises:
        ModelUnavailable: `host` is not an address; the client also reads OLLAMA_HOST on import.
    """
    import httpx

    try:
        import ollama

        timeout = httpx.Timeout(seconds, connect=min(seconds, remote.CONNECT_SECONDS))
        return ollama.Client(
            host=host,
            timeout=timeout,
            event_hooks=handle.hooks,
            trust_env=not remote.is_local(host),
        )
    except (ValueError, httpx.InvalidURL) as exc:
        raise ModelUnavailable(
            f"{host!r} is not the address of an Ollama server",
            hint=f"Correct OLLAMA_HOST or the registry; the default is {DEFAULT_HOST}.",
        ) from exc


@contextlib.contextmanager
def translated_errors(host: str) -> Iterator[None]:
    """Translate the errors of a client of the server at `host`.

    Raises:
        ModelUnavailable: nothing answers, something other than Ollama, or it refuses the client.
        NothingFound: the server does not have the model.
        ModelBusy: its queue is full.
        SkillFailed: the server reports an error.
        GenerationFailed: the connection was closed.
    """
    import httpx
    import ollama

    try:
        yield
    except ollama.ResponseError as exc:
        raise _refused(f"Ollama at {host}", exc.status_code, exc.error) from exc
    except (ConnectionError, httpx.ConnectError, httpx.ConnectTimeout) as exc:
        kind = Absent if host == DEFAULT_HOST else ModelUnavailable
        absent = host == DEFAULT_HOST and shutil.which("ollama") is None
        hint = f"Install it from {DOWNLOAD}. {START}" if absent else START
        raise kind(f"no Ollama server at {host}", hint=hint) from exc
    except httpx.TimeoutException as exc:
        raise ModelUnavailable(
            f"the Ollama server at {host} does not answer", hint="Restart it."
        ) from exc
    except httpx.HTTPError as exc:
        raise remote.stream_error(f"Ollama at {host}") from exc
    except (ValueError, TypeError, KeyError) as exc:
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
        return NothingFound(message, hint="`ollama list` lists its models.")
    if status in (429, 503):
        return ModelBusy(message, hint="Its queue is full: try again in a moment.")
    where = "Ollama stores models in OLLAMA_MODELS, temporarily twice."
    is_full = "no space left" in reason
    return SkillFailed(message, hint=where if is_full else "See the server's log.")


def _not_ollama(host: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"the server at {host} is not Ollama", hint="Set OLLAMA_HOST to its address."
    )


@contextlib.contextmanager
def _answering(host: str, seconds: float) -> Iterator[ollama.Client]:
    """Yield a client, whose errors become ModelUnavailable: no Ollama server answers at `host`."""
    import httpx

    with open_client(host, seconds, remote.ConnectionHandle()) as client, translated_errors(host):
        import ollama

        try:
            yield client
        except ollama.ResponseError as exc:
            raise ModelUnavailable(
                f"{host} answers {exc.status_code}", hint="Check that this is Ollama's address."
            ) from exc
        except (httpx.ProtocolError, httpx.ReadError, httpx.WriteError) as exc:
            raise _not_ollama(host) from exc


def list_models(host: str) -> Mapping[str, str]:
    """Return the digests of the models on the server, by full name.

    Raises:
        ModelUnavailable: no Ollama server answers at `host`.
    """
    with _answering(host, remote.PROBE_SECONDS) as client:
        models = client.list().models
    return {full_name(model.model): model.digest or "" for model in models if model.model}


def pull(host: str, name: str, tick: Callable[[str], None]) -> None:
    """Download a model to the server; an interrupted download goes on where it ended.

    Args:
        tick: receives the server's status, with the megabytes so far and in all.

    Raises:
        ModelUnavailable: no Ollama server answers at `host`, it cannot download the model, or the
            connection broke.
    """
    import httpx
    import ollama

    status: str | None = None
    with _answering(host, PULL_SECONDS) as client:
        try:
            for part in client.pull(name, stream=True):
                status = part.status
                size = f" {(part.completed or 0) / 1e6:,.0f} of {(part.total or 0) / 1e6:,.0f} MB"
                tick(f"{status}{size if part.total else ''}")
        except ollama.ResponseError as exc:
            raise ModelUnavailable(
                f"Ollama cannot download {name}: {exc.error}",
                hint="https://ollama.com/library lists the names.",
            ) from exc
        except (httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError):
            status = "interrupted"
    if status != "success":
        raise ModelUnavailable(
            f"the download of {name} did not end (last status: {status})",
            hint="Repeat the line: Ollama goes on where it ended.",
        )


def rendered_prompt(host: str, body: Mapping[str, Any]) -> str:
    """Return the prompt that the server makes of a chat; "" if it does not return it."""
    with open_client(host, remote.CONNECT_SECONDS, remote.ConnectionHandle()) as client:
        import httpx
        import ollama

        try:
            found = client._request_raw("POST", "/api/chat", json=body).json()
            return str((found.get("_debug_info") or {}).get("rendered_template") or "")
        except (ConnectionError, ollama.ResponseError, httpx.HTTPError, ValueError, AttributeError):
            return ""


def plain(message: str) -> str:
    """Return the text of an error that Ollama passes on as the JSON of its runner."""
    start = message.find("{")
    try:
        found: Any = json.loads(message[start:]) if start >= 0 else message
    except ValueError:
        return message
    while isinstance(found, dict):
        found = found.get("error", found.get("message"))
    return message[: max(start, 0)] + found if isinstance(found, str) else message


def capabilities(host: str, model: str) -> Collection[str]:
    """Return the capabilities of a model; empty if the server does not report them."""
    shown = _show(host, model)
    return (shown and shown.capabilities) or ()


def files_of(host: str, model: str) -> Collection[str]:
    """Return the SHA-256 of a model's weights and adapters, if the server states them."""
    shown = _show(host, model)
    return _FILE.findall((shown and shown.modelfile) or "")


def _show(host: str, model: str) -> ollama.ShowResponse | None:
    import httpx

    with open_client(host, remote.PROBE_SECONDS, remote.ConnectionHandle()) as client:
        import ollama

        try:
            shown: ollama.ShowResponse = client.show(model)
        except (ConnectionError, ollama.ResponseError, httpx.HTTPError, ValueError):
            return None
        return shown
