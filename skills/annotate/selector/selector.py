"""Apply the selector: from which passage of an abstract each move comes, or that none does.

A small language model, tuned for it, reads the abstract, and each passage is described by the
activations of one of its middle layers (`harness.models.encoder`). For a move with the weights w, u
and v and the bias b, passage i has the score w x_i + u s_i, where x_i are the mean and the last of
the activations of its tokens and s_i its shape (`candidates.SHAPE`), and "not stated" the score
v m + b, where m are the mean and the last of those of the abstract. Probabilities are proportional
to the exponentials of the scores. `tools/fit_selector.py` fits the model and the weights.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import settings
from harness.models import registry
from harness.models.weights import FileStore
from skills.annotate.selector.candidates import Candidates, candidates_of, limit_of
from skills.nanda.framework import Framework, nanda
from skills.nanda.quoting.numbered import Sentence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.models.encoder import Encoded, Encoder

FOLDER = Path(__file__).parent
WEIGHTS, ADAPTER = "weights.npz", "adapter.gguf"
BASE, LAYERS = "smollm2-135m-instruct", 22
"""The model of the registry that reads the abstract, and how many of its 30 layers. Before it was
tuned, layers 14, 18, 22, 26 and 30 found .557, .564, .577, .558 and .544 of the right sentences."""
_loading = threading.Lock()


@dataclass(frozen=True, slots=True)
class Likely:
    """From which passage of an abstract a move comes.

    Attributes:
        unstated: the probability that the abstract does not state it.
        passages: the log probability of each candidate if it does, (candidates,).
    """

    candidates: Candidates
    unstated: float
    passages: NDArray[Any]

    def by_sentence(self) -> list[float]:
        """Return the probabilities of "not stated" and of the sentences of the abstract."""
        import numpy as np

        count = len(self.candidates.by_sentence)
        found = np.bincount(self.candidates.place, np.exp(self.passages), minlength=count)
        return [self.unstated, *((1 - self.unstated) * found).tolist()]


@dataclass(frozen=True, slots=True)
class Selector:
    """The weights, each an array with one row for each of `moves`.

    Attributes:
        passage: w, (moves, 2 width).
        shape: u, (moves, len(SHAPE)).
        unstated: v, (moves, 2 width).
        bias: b, (moves,).
        digest: SHA-256 of their file and of the adapter.
    """

    moves: tuple[str, ...]
    passage: NDArray[Any]
    shape: NDArray[Any]
    unstated: NDArray[Any]
    bias: NDArray[Any]
    digest: str = ""

    def likely(self, encoded: Encoded, candidates: Mapping[str, Candidates]) -> dict[str, Likely]:
        """Return from which of its candidates each move comes.

        Args:
            candidates: those of each move, all of the encoded abstract; at least one.
        """
        import numpy as np

        unstated = self.unstated @ encoded.whole() + self.bias
        vectors = {id(own): encoded.vectors(own.bounds) for own in candidates.values()}
        found = {}
        for number, move in enumerate(self.moves):
            own = candidates[move]
            scores = vectors[id(own)] @ self.passage[number] + own.shape @ self.shape[number]
            stated = np.logaddexp.reduce(scores)
            share = float(np.exp(unstated[number] - np.logaddexp(unstated[number], stated)))
            found[move] = Likely(own, share, scores - stated)
        return found


def likely(sentences: Sequence[Sentence]) -> tuple[dict[str, Likely], int]:
    """Return from which passage of an abstract each move of the built-in framework comes.

    Args:
        sentences: those of the abstract; at least one.

    Returns:
        What is found, by move, and the tokens of the abstract.

    Raises:
        ModelUnavailable: the model that reads the abstract cannot be downloaded or loaded.
    """
    candidates = candidates_of(nanda().names, sentences, limit_of(nanda()))
    encoded = encoder().encode([one.text for one in sentences])
    return load().likely(encoded, candidates), len(encoded.tokens)


def probabilities(sentences: Sequence[Sentence]) -> dict[str, list[float]]:
    """Return for each move the probabilities of "not stated" and of the sentences of an abstract.

    Raises:
        ModelUnavailable: see `likely`.
    """
    if not sentences:
        return {move: [1.0] for move in nanda().names}
    found, _ = likely(sentences)
    return {move: one.by_sentence() for move, one in found.items()}


def encoder() -> Encoder:
    """Return the model that reads abstracts, loaded once in a process.

    Raises:
        ModelUnavailable: it cannot be downloaded or loaded.
    """
    with _loading:  # not by several threads at once
        return _encoder()


def files(notify: Callable[[str], None] = lambda _: None) -> FileStore:
    """Return the files of the shipped registry: the selector was fitted with its `BASE`.

    Args:
        notify: as in `FileStore`.
    """
    found = settings.from_environment()
    return FileStore(registry.load(found.shipped_registry).files, found.cache_dir, notify)


@functools.cache
def _encoder() -> Encoder:
    from harness.models.encoder import Encoder

    loaded = Encoder(files().first_layers(BASE, LAYERS, FOLDER / ADAPTER))
    atexit.register(loaded.close)  # the engine must end before the interpreter does
    return loaded


@functools.cache
def load(folder: Path = FOLDER) -> Selector:
    """Read the weights of a selector."""
    import numpy as np

    digest = hashlib.sha256()
    for name in (WEIGHTS, ADAPTER):
        digest.update((folder / name).read_bytes())
    with np.load(folder / WEIGHTS, allow_pickle=False) as stored:
        arrays = {
            name: stored[name].astype(np.float32)
            for name in ("passage", "shape", "unstated", "bias")
        }
        return Selector(tuple(stored["moves"].tolist()), **arrays, digest=digest.hexdigest())


def is_for(framework: Framework) -> bool:
    """Return True if the selector was fitted on these moves: those of the built-in framework.

    Moves of another framework may have the same names and other definitions.
    """
    return framework.moves == nanda().moves
