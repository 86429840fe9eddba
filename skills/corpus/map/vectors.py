"""Vectors of texts: TF-IDF of their terms, reduced by a truncated SVD (latent semantic analysis).

Deterministic: one thread, a fixed seed, and terms in alphabetical order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skills.corpus.map.terms import terms_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SEED = 0
DIMENSIONS = 20
"""As stable as 10, and more than 50 and 100 (bench/map.py)."""
FEWEST = 2
"""Texts that a term must be in."""
MOST_TERMS = 20_000


@dataclass(frozen=True, slots=True)
class Vectors:
    """The vectors of texts.

    Attributes:
        reduced: a row of length 1 for each text, or 0 if it has no term that another one has.
        counts: how often each text has each term, a sparse matrix.
        terms: the columns of `counts`.
    """

    reduced: Floats
    counts: Any
    terms: Sequence[str]


def vectors_of(texts: Sequence[str]) -> Vectors | None:
    """Return the vectors of texts; None if they have hardly any terms in common."""
    from sklearn.decomposition import TruncatedSVD  # type: ignore[import-untyped]
    from sklearn.feature_extraction.text import (  # type: ignore[import-untyped]
        CountVectorizer,
        TfidfTransformer,
    )
    from sklearn.preprocessing import normalize  # type: ignore[import-untyped]

    counting = CountVectorizer(
        analyzer=terms_of, min_df=FEWEST, max_df=0.5, max_features=MOST_TERMS
    )
    try:
        counts = counting.fit_transform(texts)
    except ValueError:  # no term is left
        return None
    dimensions = min(DIMENSIONS, min(counts.shape) - 1)
    if dimensions < 2:
        return None
    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    reduced = TruncatedSVD(dimensions, random_state=SEED).fit_transform(weighted)
    return Vectors(normalize(reduced), counts, counting.get_feature_names_out().tolist())
