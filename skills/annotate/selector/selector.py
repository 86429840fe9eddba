"""Apply the selector: from which sentence of an abstract each move comes, or that none does.

A small language model reads the abstract, and each sentence is described by the activations of one
of its middle layers (`harness.models.encoder`). For a move with the weights w and v and the bias b,
the probability of sentence i is proportional to exp(w x_i), where x_i is the description of the
sentence, and that of "not stated" to exp(v m + b), where m is the mean over the sentences.
`tools/fit_selector.py` fits the weights.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import settings
from harness.models import registry
from harness.models.weights import FileStore
from skills.nanda.framework import Framework, nanda

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.models.encoder import Encoder

WEIGHTS = Path(__file__).with_name("selector.npz")
BASE, LAYERS = "smollm2-135m-instruct", 22
"""The model of the registry that reads the abstract, and how many of its 30 layers. With linear
weights for 318 papers, layers 14, 18, 22, 26 and 30 found .557, .564, .577, .558 and .544 of the
right sentences of 158 others, and hashed words .472."""
_loading = threading.Lock()


@dataclass(frozen=True, slots=True)
class Selector:
    """The weights, each an array with one row for each of `moves`.

    Attributes:
        sentence: w, (moves, features).
        unstated: v, (moves, features).
        bias: b, (moves,).
        digest: SHA-256 of the file.
    """

    moves: tuple[str, ...]
    sentence: NDArray[Any]
    unstated: NDArray[Any]
    bias: NDArray[Any]
    digest: str = ""

    def probabilities(self, described: NDArray[Any]) -> dict[str, list[float]]:
        """Return for each move the probabilities of "not stated" and of the sentences, in order.

        Args:
            described: (sentences, features).
        """
        import numpy as np

        if not len(described):
            return {move: [1.0] for move in self.moves}
        unstated = self.unstated @ described.mean(axis=0) + self.bias
        logits = np.concatenate([unstated[:, None], self.sentence @ described.T], axis=1)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        found = powers / powers.sum(axis=1, keepdims=True)
        return dict(zip(self.moves, found.tolist(), strict=True))


def probabilities(sentences: Sequence[str]) -> dict[str, list[float]]:
    """Return for each move the probabilities of "not stated" and of the sentences of an abstract.

    Raises:
        ModelUnavailable: the model that reads the abstract cannot be downloaded or loaded.
    """
    return load().probabilities(described(sentences))


def described(sentences: Sequence[str]) -> NDArray[Any]:
    """Return the description of each sentence of an abstract: (sentences, features).

    Raises:
        ModelUnavailable: see `probabilities`.
    """
    vectors = encoder().vectors(sentences)
    return vectors.reshape(len(sentences), -1)


def encoder() -> Encoder:
    """Return the model that reads abstracts, loaded once in a process.

    Raises:
        ModelUnavailable: it cannot be downloaded or loaded.
    """
    with _loading:  # not by several threads at once
        return _encoder()


@functools.cache
def _encoder() -> Encoder:
    from harness.models.encoder import Encoder

    found = settings.from_environment()
    files = registry.load(found.shipped_registry).files
    store = FileStore(files, found.cache_dir, lambda _: None)
    loaded = Encoder(store.first_layers(BASE, LAYERS))
    atexit.register(loaded.close)  # the engine must end before the interpreter does
    return loaded


@functools.cache
def load(path: Path = WEIGHTS) -> Selector:
    """Read the weights of a selector."""
    import numpy as np

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with np.load(path, allow_pickle=False) as stored:
        arrays = {
            name: stored[name].astype(np.float32) for name in ("sentence", "unstated", "bias")
        }
        return Selector(tuple(stored["moves"].tolist()), **arrays, digest=digest)


def is_for(framework: Framework) -> bool:
    """Return True if the selector was fitted on these moves: those of the built-in framework.

    Moves of another framework may have the same names and other definitions.
    """
    return framework.moves == nanda().moves
