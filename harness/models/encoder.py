"""Describe the passages of a text by vectors: the activations of a language model that reads it.

Each token's vector is the output of the model's first layers, and depends on the text before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.models.backends import engine
from harness.models.backends.engine_http import EnginePort

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONTEXT = 2048
"""Maximum tokens of a text; the passages after them have vectors of zeros. An abstract has 250."""
SECONDS = 180.0
"""Timeout of a request; 2048 tokens take 6 s on two cores, more beside other work."""


class Encoder:
    """The first layers of a model in this process (`FileStore.first_layers`).

    Args:
        path: their GGUF file.

    Raises:
        ModelUnavailable: the engine cannot load it.
    """

    def __init__(self, path: Path) -> None:
        self._engine = engine.start({"gguf": path}, CONTEXT, encodes=True)
        self._port = EnginePort(self._engine.server.listening_address, self._engine.key, SECONDS)

    def vectors(self, passages: Sequence[str]) -> NDArray[Any]:
        """Return two vectors of each passage of a text: (passages, 2, width), float32.

        They are the mean of its tokens and the last of them.

        Args:
            passages: consecutive; a space is inserted between two of them.

        Raises:
            SkillFailed, GenerationFailed: raised by `EnginePort.request`.
        """
        import numpy as np

        tokens = [self._tokens(" " * (i > 0) + text) for i, text in enumerate(passages)]
        every = [token for own in tokens for token in own][:CONTEXT]
        [answer] = self._port.request("POST", "/embedding", {"content": every})
        by_token = np.array(answer["embedding"], dtype=np.float32)
        found = np.zeros((len(passages), 2, by_token.shape[1]), dtype=np.float32)
        start = 0
        for number, own in enumerate(tokens):
            part = by_token[start : start + len(own)]
            if len(part):
                found[number] = part.mean(axis=0), part[-1]
            start += len(own)
        return found

    def close(self) -> None:
        self._port.close()
        self._engine.free()

    def _tokens(self, text: str) -> list[int]:
        tokens: list[int] = self._port.request("POST", "/tokenize", {"content": text})["tokens"]
        return tokens
