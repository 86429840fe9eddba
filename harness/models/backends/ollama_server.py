"""An Ollama server: its address, its models and their capabilities."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from harness.errors import ModelUnavailable
from harness.models.backends import remote

if TYPE_CHECKING:
    import ollama

    from harness.models.schema import ServeEntry

DEFAULT_HOST = "http://127.0.0.1:11434"
START = "Start it with `ollama serve`; OLLAMA_HOST names another address."


def host_of(entry: ServeEntry) -> str:
    return entry.url or os.environ.get("OLLAMA_HOST") or DEFAULT_HOST


def full_name(name: str) -> str:
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


def list_models(host: str) -> Mapping[str, str]:
    """Return the digests of the models on the server, by full name.

    Raises:
        ModelUnavailable: no Ollama server answers at `host`.
    """
    import httpx

    with open_client(host, remote.PROBE_SECONDS, remote.ConnectionHandle()) as client:
        import ollama

        try:
            models = client.list().models
        except (ConnectionError, httpx.ConnectTimeout) as exc:
            raise ModelUnavailable(f"no Ollama server at {host}", hint=START) from exc
        except httpx.TimeoutException as exc:
            raise ModelUnavailable(
                f"the Ollama server at {host} does not answer", hint="Restart it."
            ) from exc
        except ollama.ResponseError as exc:
            raise ModelUnavailable(
                f"{host} answers {exc.status_code}", hint="Check that this is Ollama's address."
            ) from exc
        except (httpx.HTTPError, ValueError) as exc:
            raise ModelUnavailable(
                f"the server at {host} is not Ollama", hint="Set OLLAMA_HOST to its address."
            ) from exc
    return {full_name(model.model): model.digest or "" for model in models if model.model}


def capabilities(host: str, model: str) -> Collection[str]:
    """Return the capabilities of a model; empty if the server does not report them."""
    import httpx

    with open_client(host, remote.PROBE_SECONDS, remote.ConnectionHandle()) as client:
        import ollama

        try:
            return client.show(model).capabilities or ()
        except (ConnectionError, ollama.ResponseError, httpx.HTTPError, ValueError):
            return ()
