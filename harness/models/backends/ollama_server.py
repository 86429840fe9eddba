"""An Ollama server: its address, and what it says of its models."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from harness.errors import ModelUnavailable
from harness.models.backends.remote import CONNECT_SECONDS, PROBE_SECONDS, Plug, is_local
from harness.models.schema import ServeEntry

if TYPE_CHECKING:
    import ollama

DEFAULT_HOST = "http://127.0.0.1:11434"
START = "Start it with `ollama serve`; OLLAMA_HOST names another address."


def host_of(entry: ServeEntry) -> str:
    return entry.url or os.environ.get("OLLAMA_HOST") or DEFAULT_HOST


def full_name(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def client_of(host: str, seconds: float, plug: Plug) -> ollama.Client:
    """A client whose reads last `seconds` at most.

    Raises:
        ModelUnavailable: `host` is no address. The client reads OLLAMA_HOST when it is imported.
    """
    import httpx

    try:
        import ollama

        timeout = httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
        return ollama.Client(
            host=host, timeout=timeout, event_hooks=plug.hooks, trust_env=not is_local(host)
        )
    except (ValueError, httpx.InvalidURL) as exc:
        raise ModelUnavailable(
            f"{host!r} is not the address of an Ollama server",
            hint=f"Correct OLLAMA_HOST or the registry; the usual one is {DEFAULT_HOST}.",
        ) from exc


def list_models(host: str) -> Mapping[str, str]:
    """The digests of what is pulled at `host`, by full name.

    Raises:
        ModelUnavailable: no Ollama answers there.
    """
    import httpx

    with client_of(host, PROBE_SECONDS, Plug()) as client:
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
                f"{host} answers {exc.status_code}", hint="Is that Ollama's address?"
            ) from exc
        except (httpx.HTTPError, ValueError) as exc:
            raise ModelUnavailable(
                f"what answers at {host} is not Ollama", hint="OLLAMA_HOST names its address."
            ) from exc
    return {full_name(model.model): model.digest or "" for model in models if model.model}


def capabilities(host: str, model: str) -> Collection[str] | None:
    """What Ollama says the model can do; None where it does not say."""
    import httpx

    with client_of(host, PROBE_SECONDS, Plug()) as client:
        import ollama

        try:
            told: Collection[str] | None = client.show(model).capabilities
        except (ConnectionError, ollama.ResponseError, httpx.HTTPError, ValueError):
            return None
        return told
