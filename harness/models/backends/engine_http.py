"""The engine's own HTTP port on this machine, for what its in-process calls do not offer."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import GenerationFailed, SkillFailed

if TYPE_CHECKING:
    import httpx

SECONDS = 30.0
"""An answer takes milliseconds; one that takes longer never comes."""
IDLE_SECONDS = 2.0
"""The engine closes a connection after 5 idle seconds, which must not meet a question under way."""


class EnginePort:
    """Asks one running engine; threads may ask at the same time, and are answered in turn.

    One connection is kept: each has one of the engine's few HTTP threads to itself.

    Args:
        address: "http://127.0.0.1:PORT".
        key: the API key that the engine was started with.
    """

    def __init__(self, address: str, key: str) -> None:
        self._address = address
        self._key = key
        self._turn = threading.Lock()
        self._client: httpx.Client | None = None

    def count_tokens(self, prompt: Mapping[str, Any]) -> int:
        """Tokens of `prompt`, a chat completion's body, after the chat template.

        Raises:
            SkillFailed: the engine refuses the messages.
            GenerationFailed: it does not answer.
        """
        return int(self._ask("POST", "/v1/chat/completions/input_tokens", prompt)["input_tokens"])

    def context(self) -> int:
        """Tokens of context of each slot, as the engine rounded or cut what it was asked for.

        Raises:
            GenerationFailed: it does not answer.
        """
        return int(self._ask("GET", "/props")["default_generation_settings"]["n_ctx"])

    def close(self) -> None:
        """Close the connection. Calling it twice is allowed."""
        with self._turn:
            if self._client is not None:
                self._client.close()
            self._client = None

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        import httpx

        try:
            with self._turn:
                found = self._opened().request(method, path, json=body).json()
        except (httpx.HTTPError, json.JSONDecodeError) as exc:
            raise GenerationFailed(
                f"the engine does not answer at its port: {type(exc).__name__}: {exc}",
                hint="Run it again.",
            ) from exc
        if "error" in found:
            raise SkillFailed(f"the engine refuses the request: {found['error']['message']}")
        return found

    def _opened(self) -> httpx.Client:
        import httpx

        if self._client is None:
            self._client = httpx.Client(
                base_url=self._address,
                headers={"Authorization": f"Bearer {self._key}"},
                timeout=SECONDS,
                limits=httpx.Limits(keepalive_expiry=IDLE_SECONDS),
                trust_env=False,  # a proxy of the environment does not lead to this machine
            )
        return self._client
