"""The engine's HTTP port on this machine, for what the in-process calls do not offer."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import GenerationFailed, SkillFailed

if TYPE_CHECKING:
    import httpx

SECONDS = 30.0
"""Default timeout of a request; most answers take milliseconds."""
IDLE_SECONDS = 2.0
"""Maximum idle time of the connection; the engine itself closes it after 5 s."""


class EnginePort:
    """Requests to one running engine, one at a time.

    A single connection is kept, since each occupies one of the engine's few HTTP threads.

    Args:
        address: "http://127.0.0.1:PORT".
        key: the API key that the engine was started with.
        seconds: the timeout of a request.
    """

    def __init__(self, address: str, key: str, seconds: float = SECONDS) -> None:
        self._address = address
        self._key = key
        self._seconds = seconds
        self._turn = threading.Lock()
        self._client: httpx.Client | None = None

    def count_tokens(self, prompt: Mapping[str, Any]) -> int:
        """Return the tokens of `prompt`, the body of a chat completion, after the chat template.

        Raises:
            SkillFailed: the engine refuses the messages.
            GenerationFailed: the engine does not answer.
        """
        path = "/v1/chat/completions/input_tokens"
        return int(self.request("POST", path, prompt)["input_tokens"])

    def context(self) -> int:
        """Return the context of each slot, in tokens, as rounded or limited by the engine.

        Raises:
            GenerationFailed: the engine does not answer.
        """
        return int(self.request("GET", "/props")["default_generation_settings"]["n_ctx"])

    def close(self) -> None:
        """Close the connection; may be called twice."""
        with self._turn:
            if self._client is not None:
                self._client.close()
            self._client = None

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a request and return the JSON of the answer.

        Raises:
            SkillFailed: the engine refuses the request.
            GenerationFailed: the engine does not answer.
        """
        import httpx

        try:
            with self._turn:
                if self._client is None:
                    self._client = httpx.Client(
                        base_url=self._address,
                        headers={"Authorization": f"Bearer {self._key}"},
                        timeout=self._seconds,
                        limits=httpx.Limits(keepalive_expiry=IDLE_SECONDS),
                        trust_env=False,  # no proxy for this machine
                    )
                answer = self._client.request(method, path, json=body).json()
        except (httpx.HTTPError, json.JSONDecodeError) as exc:
            raise GenerationFailed(
                f"the engine does not answer at its port: {type(exc).__name__}: {exc}",
                hint="Run it again.",
            ) from exc
        if "error" in answer:
            raise SkillFailed(f"the engine refuses the request: {answer['error']['message']}")
        return answer
