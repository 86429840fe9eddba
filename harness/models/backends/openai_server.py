"""A server with OpenAI's protocol: its address and key, its models, and its errors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.errors import HarnessError, ModelUnavailable
from harness.models.backends import remote

if TYPE_CHECKING:
    import openai

    from harness.models.schema import ServeEntry

DEFAULT_URL = "https://api.openai.com/v1"
NO_KEY = "none"
"""Sent if no key is set: the client requires one, and local servers ignore it."""
NO_QUOTA = "insufficient_quota"
START = "Start the server, or correct its url in the registry (or OPENAI_BASE_URL)."


class OpenAIServer:
    """The address and the key of a server."""

    def __init__(self, entry: ServeEntry) -> None:
        self.url = entry.url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_URL
        self.key_env = entry.api_key_env or "OPENAI_API_KEY"
        self.key = os.environ.get(self.key_env) or NO_KEY

    def client(self, seconds: float, handle: remote.ConnectionHandle) -> openai.OpenAI:
        """Return a client without retries and with a read timeout of `seconds`."""
        import openai

        timeout = openai.Timeout(seconds, connect=min(seconds, remote.CONNECT_SECONDS))
        return openai.OpenAI(
            base_url=self.url,
            api_key=self.key,
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultHttpxClient(
                event_hooks=handle.hooks, trust_env=not remote.is_local(self.url)
            ),
        )

    def models(self) -> Mapping[str, str] | None:
        """Return the owners of the models by id, or None if the server does not list them in time.

        Raises:
            ModelUnavailable: there is no such server, or it refuses the key.
        """
        import openai

        handle = remote.ConnectionHandle()
        with self.client(remote.PROBE_SECONDS, handle) as client:
            try:
                listed = client.models.list().data
                return {model.id: model.owned_by or "" for model in listed}
            except openai.NotFoundError:
                return None
            except openai.APIConnectionError as exc:
                if isinstance(exc, openai.APITimeoutError) and handle.connected:
                    return None
                raise ModelUnavailable(f"no server answers at {self.url}", hint=START) from exc
            except openai.APIStatusError as exc:
                raise ModelUnavailable(self.error(exc).message, hint=START) from exc
            except (openai.APIError, ValueError, TypeError, AttributeError) as exc:
                raise ModelUnavailable(
                    f"the server at {self.url} does not use OpenAI's protocol", hint=START
                ) from exc

    def error(self, exc: openai.APIStatusError) -> HarnessError:
        """Return the error for a status that does not depend on the request."""
        if exc.status_code in (401, 403):
            unset = " (not set)" if self.key == NO_KEY else ""
            return ModelUnavailable(
                f"{self.url} refuses the key of {self.key_env}{unset}",
                hint=f"Set the environment variable {self.key_env} to the server's key.",
            )
        if NO_QUOTA in (exc.code, exc.type):  # a 429 that does not end by waiting
            return ModelUnavailable(
                f"{self.url} refuses the key of {self.key_env}: {server_message(exc)}",
                hint="Check the plan and the limits of its account.",
            )
        after = exc.response.headers.get("retry-after")
        return remote.status_error(exc.status_code, server_message(exc), self.url, after)


def server_message(exc: openai.APIStatusError) -> str:
    """Return the server's own message, without that of the client."""
    body = exc.body
    return str(body["message"]) if isinstance(body, dict) and "message" in body else exc.message
