"""A server that speaks OpenAI's protocol: its address and key, its models, and its refusals."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.errors import HarnessError, ModelUnavailable
from harness.models.backends.remote import CONNECT_SECONDS, Plug, is_local, refusal
from harness.models.schema import ServeEntry

if TYPE_CHECKING:
    import openai

DEFAULT_URL = "https://api.openai.com/v1"
NO_KEY = "none"
"""What is sent where no key is set; the client insists on one, local servers do not look at it."""
NO_QUOTA = "insufficient_quota"
START = "Start the server, or correct its url in the registry (or OPENAI_BASE_URL)."


class Silent(ModelUnavailable):
    """A server took the connection and has not answered yet."""


class OpenAIServer:
    """A server's address and key."""

    def __init__(self, entry: ServeEntry) -> None:
        self.url = entry.url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_URL
        self.key_env = entry.api_key_env or "OPENAI_API_KEY"
        self.key = os.environ.get(self.key_env) or NO_KEY

    def client(self, seconds: float, plug: Plug) -> openai.OpenAI:
        """A client that never retries by itself, and whose reads last `seconds` at most."""
        import openai

        timeout = openai.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
        return openai.OpenAI(
            base_url=self.url,
            api_key=self.key,
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultHttpxClient(
                event_hooks=plug.hooks, trust_env=not is_local(self.url)
            ),
        )

    def models(self, seconds: float) -> Mapping[str, str] | None:
        """The server's models by id, with who owns each, or None where it does not list them.

        Raises:
            Silent: there is one, which has not answered within these seconds.
            ModelUnavailable: there is no such server, or it refuses the key.
        """
        import openai

        plug = Plug()
        with self.client(seconds, plug) as client:
            try:
                listed = client.models.list().data
                return {model.id: model.owned_by or "" for model in listed}
            except openai.NotFoundError:
                return None
            except openai.APIConnectionError as exc:
                if isinstance(exc, openai.APITimeoutError) and plug.connected:
                    raise Silent(
                        f"{self.url} has not answered within {seconds:g} s", hint="Restart it."
                    ) from exc
                raise ModelUnavailable(f"no server answers at {self.url}", hint=START) from exc
            except openai.APIStatusError as exc:
                raise ModelUnavailable(self.refused(exc).message, hint=START) from exc
            except (openai.APIError, ValueError, TypeError, AttributeError) as exc:
                raise ModelUnavailable(
                    f"what answers at {self.url} does not speak OpenAI's protocol", hint=START
                ) from exc

    def refused(self, exc: openai.APIStatusError) -> HarnessError:
        """The error for a status that says the same of every request."""
        if exc.status_code in (401, 403):
            unset = " (not set)" if self.key == NO_KEY else ""
            return ModelUnavailable(
                f"{self.url} refuses the key of {self.key_env}{unset}",
                hint=f"Set the environment variable {self.key_env} to the server's key.",
            )
        if NO_QUOTA in (exc.code, exc.type):  # a 429 that no waiting helps against
            return ModelUnavailable(
                f"{self.url} serves no more on the key of {self.key_env}: {said(exc)}",
                hint="Look at the plan and the limits of its account.",
            )
        after = exc.response.headers.get("retry-after")
        return refusal(exc.status_code, said(exc), self.url, after)


def said(exc: openai.APIStatusError) -> str:
    """The server's own words, without the client's."""
    body = exc.body
    return str(body["message"]) if isinstance(body, dict) and "message" in body else exc.message
