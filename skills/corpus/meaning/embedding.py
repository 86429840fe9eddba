"""Compute vectors of texts with the static vectors of wordllama.

The vector of a text is the mean of the vectors of its tokens. The weights and the tokenizer are
files of the wheel, read here: importing wordllama takes a second, configures the log of the whole
process, and its loader looks for the tokenizer in the network.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.support.process import require

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NAME = "wordllama l2_supercat"
DIMENSIONS = 256
WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
MOST_CHARACTERS = 8_000
"""Of a text; a move has some hundred."""

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Embedder:
    """A loaded model.

    Attributes:
        digest: of the weights and the tokenizer.
        megabytes: their size.
    """

    weights: NDArray[np.float16]
    tokenizer: Tokenizer
    digest: str
    megabytes: float

    @classmethod
    def load(cls) -> Embedder:
        """Return the model of the installed wheel, loaded once.

        Raises:
            UsageError: it is not installed.
        """
        require("wordllama", "tokenizers", "safetensors", extra="meaning")
        return _loaded()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return a vector of length 1 for each text; zeros for a text without tokens."""
        cut = [text[:MOST_CHARACTERS] for text in texts]
        encoded = self.tokenizer.encode_batch_fast(cut, add_special_tokens=False)
        sums = np.zeros((len(cut), DIMENSIONS), dtype=np.float32)
        for row, one in enumerate(encoded):
            if one.ids:
                sums[row] = self.weights[one.ids].sum(axis=0, dtype=np.float32)
        return normalized(sums)


def normalized(vectors: Vectors) -> Vectors:
    """Return vectors of length 1; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    made: Vectors = vectors / lengths
    return made


@functools.cache
def _loaded() -> Embedder:
    from safetensors.numpy import load
    from tokenizers import Tokenizer

    found = importlib.util.find_spec("wordllama")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent
    weights, tokenizer = ((folder / name).read_bytes() for name in (WEIGHTS, TOKENIZER))
    return Embedder(
        load(weights)["embedding.weight"],
        Tokenizer.from_buffer(tokenizer),
        hashlib.sha256(weights + tokenizer).hexdigest(),
        (len(weights) + len(tokenizer)) / 1e6,
    )
