"""Describe the candidates of a move by the selector, the drafts and their shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rapidfuzz.distance import LCSseq

from skills.annotate.selector.candidates import SHAPE
from skills.annotate.selector.selector import Likely
from skills.nanda.text import stems

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEATURES = (
    "passage: log probability by the selector",
    "sentence: recall of the draft",
    "sentence: recall of the draft, less that of the best other sentence",
    "passage: F1 with the draft",
    "passage: recall of the draft",
    "passage: precision against the draft",
    *SHAPE,
)
"""Recall, precision and F1 are those of ROUGE-L over stemmed words (Lin 2004), each the mean over
the drafts; 0 without a draft."""


def features(likely: Likely, drafts: Sequence[str]) -> NDArray[Any]:
    """Return the features of each candidate of a move: (candidates, len(FEATURES)).

    Args:
        drafts: what the model wrote for the move, without "Not stated."
    """
    import numpy as np

    candidates, written = likely.candidates, [stems(draft) for draft in drafts]
    recall = np.array([_similarities(own, written)[1] for own in candidates.by_sentence])
    others = np.array([max(np.delete(recall, i), default=0.0) for i in range(len(recall))])
    of_sentence = np.stack([recall, recall - others], axis=1)[candidates.place]
    of_passage = np.array([_similarities(own, written) for own in candidates.stems])
    columns = [likely.passages[:, None], of_sentence, of_passage, candidates.shape]
    return np.concatenate(columns, axis=1)


def _similarities(own: Sequence[str], drafts: Sequence[Sequence[str]]) -> tuple[float, ...]:
    """Return the mean F1, recall and precision of ROUGE-L against the drafts."""
    if not drafts or not own:
        return 0.0, 0.0, 0.0
    common = [(LCSseq.similarity(own, draft), max(len(draft), 1)) for draft in drafts]
    return (
        sum(2 * shared / (len(own) + length) for shared, length in common) / len(drafts),
        sum(shared / length for shared, length in common) / len(drafts),
        sum(shared / len(own) for shared, _ in common) / len(drafts),
    )
