"""Cluster the papers by one move: k-means over vectors of its texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skills.corpus.map.labels import terms_of_clusters
from skills.corpus.map.vectors import SEED, vectors_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from skills.corpus.map.vectors import Floats

    Integers = NDArray[np.int64]

FEWEST_PAPERS = 10
"""Papers that must state a move for it to be clustered."""
MOST = 12
"""Clusters that are found without --clusters: more fill no page."""
AVERAGE = 8
"""Papers of a cluster on average, at least, without --clusters."""
SMALLEST = 3
"""Papers of a cluster; those of a smaller one are in none."""
NEAR = 0.3
"""Least cosine similarity of a text to the centre of its cluster; others are in none."""
GOOD = 0.95
"""The fewest clusters are taken whose silhouette is at least this share of the best."""
SAMPLE = 2_000
"""Papers by which the number of clusters is chosen."""
STARTS = 5


@dataclass(frozen=True, slots=True)
class Cluster:
    """Papers whose move is alike.

    Attributes:
        terms: what its texts have and others do not, the most typical first.
        papers: their indices, in order.
    """

    terms: tuple[str, ...]
    papers: tuple[int, ...]

    @property
    def label(self) -> str:
        """The terms in one line."""
        return ", ".join(self.terms)


@dataclass(frozen=True, slots=True)
class Grouping:
    """The papers by one move.

    Attributes:
        name: of the move.
        clusters: the largest first.
        places: for each paper the index of its cluster; `unclustered` if it states the move and is
            in none, `unstated` if it does not state it.
    """

    name: str
    clusters: tuple[Cluster, ...]
    places: tuple[int, ...]

    @property
    def unclustered(self) -> int:
        """The place of papers that state the move and are in no cluster."""
        return len(self.clusters)

    @property
    def unstated(self) -> int:
        """The place of papers that do not state the move."""
        return len(self.clusters) + 1

    def papers(self, place: int) -> list[int]:
        """Return the indices of the papers of a place."""
        return [paper for paper, one in enumerate(self.places) if one == place]


def grouped(
    name: str,
    texts: Sequence[str | None],
    number: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> Grouping | None:
    """Cluster papers by the texts of a move; None if they have too little in common.

    Args:
        texts: of each paper; None for one that does not state the move.
        number: of clusters; chosen by their silhouette if it is None.
        check: raises to stop.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    stated = [paper for paper, text in enumerate(texts) if text is not None]
    given = [text for text in texts if text is not None]
    with threadpool_limits(1):  # sums of several threads depend on how many there are
        vectors = vectors_of(given) if given else None
        if vectors is None:
            return None
        check()
        found = assigned(vectors.reduced, number, check)
    members = [np.flatnonzero(found == one) for one in range(found.max() + 1)]
    kept = sorted((one for one in members if len(one) >= SMALLEST), key=lambda one: -len(one))
    if not kept:
        return None
    terms = terms_of_clusters(vectors, given, kept)
    clusters = tuple(
        Cluster(label, tuple(stated[i] for i in papers))
        for label, papers in zip(terms, kept, strict=True)
    )
    places = [len(clusters) + (text is None) for text in texts]
    for place, cluster in enumerate(clusters):
        for paper in cluster.papers:
            places[paper] = place
    return Grouping(name, clusters, tuple(places))


def assigned(
    vectors: Floats, number: int | None, check: Callable[[], None] = lambda: None
) -> Integers:
    """Return the cluster of each vector, -1 for none."""
    import numpy as np

    known = np.flatnonzero(vectors.any(axis=1))
    places = np.full(len(vectors), -1, np.int64)
    most = min(len(known) // SMALLEST, len(np.unique(vectors[known].round(6), axis=0)))
    if most < 1:
        return places
    if number is None:
        most = _chosen(vectors[known], min(most, MOST, max(2, len(known) // AVERAGE)), check)
    else:
        most = min(most, number)
    fitted = _k_means(vectors[known], most)
    centres = fitted.cluster_centers_
    near = vectors[known] @ (centres / np.linalg.norm(centres, axis=1, keepdims=True)).T
    labels = fitted.labels_.astype(np.int64)
    own = near[np.arange(len(known)), labels]
    places[known] = np.where(own >= NEAR, labels, -1)
    return places


def _chosen(vectors: Floats, most: int, check: Callable[[], None]) -> int:
    """Return the number of clusters with a good silhouette, on an even sample."""
    import numpy as np
    from sklearn.metrics import silhouette_score  # type: ignore[import-untyped]

    chosen = np.linspace(0, len(vectors) - 1, min(SAMPLE, len(vectors))).astype(int)
    sample = vectors[chosen]
    scores = {}
    for number in range(2, most + 1):
        check()
        labels = _k_means(sample, number).labels_
        if len(set(labels.tolist())) < len(sample):
            scores[number] = silhouette_score(sample, labels)
    best = max(scores.values(), default=0)
    return next((one for one, score in scores.items() if score >= best * GOOD), most)


def _k_means(vectors: Floats, number: int) -> Any:
    from sklearn.cluster import KMeans  # type: ignore[import-untyped]

    return KMeans(number, n_init=STARTS, random_state=SEED).fit(vectors)
