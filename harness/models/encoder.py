"""Describe the passages of a text by vectors: the activations of a language model that reads it.

Each token's vector is the output of the model's first layers, and depends on the text before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.models.backends import engine
from harness.models.backends.engine_http import EnginePort

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONTEXT = 2048
"""Maximum tokens of a text; those after them have vectors of zeros. An abstract has 250."""
BLANK = ord(" ")
SECONDS = 180.0
"""Timeout of a request; 2048 tokens take 6 s on two cores, more beside other work."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """The vectors of the tokens of a text.

    Attributes:
        tokens: (tokens, width), float32.
        ends: the visible bytes of the text up to the end of each token (`visible_bytes`).
    """

    tokens: NDArray[Any]
    ends: NDArray[Any]

    def vectors(self, passages: Sequence[tuple[int, int]]) -> NDArray[Any]:
        """Return the mean of the tokens of each passage and the last of them: (passages, 2 width).

        Args:
            passages: the visible bytes before each, and before what follows it. A token that is
                only partly in a passage belongs to it.
        """
        import numpy as np

        bounds = np.array(passages, dtype=int).reshape(-1, 2)
        first = np.searchsorted(self.ends, bounds[:, 0], side="right")
        last = np.maximum(np.searchsorted(self.ends, bounds[:, 1], side="left"), first)
        sums = np.vstack([np.zeros_like(self.tokens[:1]), self.tokens.cumsum(axis=0)])
        means = (sums[last + 1] - sums[first]) / (last + 1 - first)[:, None]
        return np.concatenate([means, self.tokens[last]], axis=1)

    def whole(self) -> NDArray[Any]:
        """Return the mean of all tokens and the last one: (2 width,)."""
        import numpy as np

        return np.concatenate([self.tokens.mean(axis=0), self.tokens[-1]])


def visible_bytes(text: str) -> int:
    """Return the length of a text in UTF-8 without its blanks."""
    return len("".join(text.split()).encode())


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

    def encode(self, sentences: Sequence[str]) -> Encoded:
        """Return the vectors of a text.

        Args:
            sentences: at least one; a blank is inserted between two of them. They are divided into
                tokens one by one.

        Raises:
            SkillFailed, GenerationFailed: raised by `EnginePort.request`.
        """
        import numpy as np

        found = [self._tokens(" " * (i > 0) + text) for i, text in enumerate(sentences)]
        tokens = [token for own in found for token in own]
        content = [token["id"] for token in tokens[:CONTEXT]]
        [answer] = self._port.request("POST", "/embedding", {"content": content})
        read = np.array(answer["embedding"], dtype=np.float32)
        vectors = np.zeros((len(tokens), read.shape[1]), dtype=np.float32)
        vectors[: len(read)] = read
        return Encoded(vectors, np.cumsum([_visible(token["piece"]) for token in tokens]))

    def close(self) -> None:
        self._port.close()
        self._engine.free()

    def _tokens(self, text: str) -> list[dict[str, Any]]:
        """Return the tokens of a text, each with its number and its piece of the text."""
        content = {"content": text, "with_pieces": True}
        tokens: list[dict[str, Any]] = self._port.request("POST", "/tokenize", content)["tokens"]
        return tokens


def _visible(piece: str | list[int]) -> int:
    """Return the visible bytes of a token; the engine gives those of a part of a character."""
    return visible_bytes(piece) if isinstance(piece, str) else sum(byte > BLANK for byte in piece)
