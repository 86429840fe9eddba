"""Cluster papers by the text of one move, with k-means over vectors of the texts.

A vector is the TF-IDF of the terms of a text, reduced by a truncated SVD (latent semantic
analysis). The result is deterministic, since the computation uses one thread and a fixed seed, and
the terms are in alphabetical order.

The label of a cluster consists of the terms with the highest class-based TF-IDF, as in BERTopic
(Grootendorst 2022, "BERTopic: Neural topic modeling with a class-based TF-IDF procedure"). The
weight of a term in a cluster is n * log(1 + A / f). The term occurs n times in the cluster and f
times in all clusters, and A is the mean number of term occurrences in a cluster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import regex

from skills.nanda.sentences import without_headings
from skills.nanda.text import STOP_WORDS, composed, set_of, stem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]

FEWEST_PAPERS = 10
"""Minimum number of papers that state a move; with fewer papers, the move cannot be mapped."""
MOST = 12
"""Maximum number of clusters if --clusters is not given: the map has no space for more."""
AVERAGE = 8
"""Minimum mean number of papers in a cluster if more than 2 clusters are chosen automatically."""
SMALLEST = 3
"""Minimum number of papers in a cluster; papers in smaller groups belong to no cluster."""
NEAR = 0.3
"""Minimum cosine similarity of a text to the centre of its cluster.

Papers with a lower similarity belong to no cluster.
"""
GOOD = 0.95
"""Minimum silhouette of the chosen number of clusters, as a share of the best silhouette.

The lowest number of clusters that reaches this share is chosen.
"""
SAMPLE = 2_000
"""Maximum number of papers that are used to choose the number of clusters."""
STARTS = 5
SEED = 0
DIMENSIONS = 20
"""Maximum number of dimensions of a reduced vector.

Clusters are as stable as with 10 dimensions, and more stable than with 50 or 100 (bench/map.py).
"""
FEWEST = 2
"""Minimum number of texts that contain a term; rarer terms are ignored."""
MOST_TERMS = 20_000
TERMS = 4
"""Maximum number of terms in a label."""
TYPICAL = 0.1
"""Minimum share of a cluster's texts that contain a term of its label; at least 2 texts."""
MOSTLY = 0.5
"""Minimum share of the occurrences of a word that are in the same pair of words.

If the share is reached, a label contains the pair of words instead of the single word.
"""
GENERIC = set_of(
    "based new novel paper papers present presented presents propose proposed proposes proposing"
)
"""Words that occur in abstracts on any subject; these words are not terms."""
# Unlike `re`, the package regex counts the vowel signs of Indic scripts as parts of words.
_WORD = regex.compile(r"[\p{L}\p{M}][\w]*")
_SCRIPT = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_UNSPACED = regex.compile(rf"[{_SCRIPT}][{_SCRIPT}\p{{M}}]*|[^{_SCRIPT}]+")
_IS_UNSPACED = regex.compile(rf"[{_SCRIPT}]")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster of papers with similar texts of a move.

    Attributes:
        terms: the terms that distinguish the texts from other clusters, by descending weight.
        papers: the indices of the papers, in ascending order.
    """

    terms: tuple[str, ...]
    papers: tuple[int, ...]

    @property
    def label(self) -> str:
        """The terms, separated by commas."""
        return ", ".join(self.terms)


@dataclass(frozen=True, slots=True)
class Grouping:
    """The clusters of papers by one move.

    Attributes:
        name: the name of the move.
        clusters: the clusters, the largest first.
        places: for each paper the index of its cluster, or `unclustered` or `unstated`.
    """

    name: str
    clusters: tuple[Cluster, ...]
    places: tuple[int, ...]

    @property
    def unclustered(self) -> int:
        """The value in `places` of papers that state the move but belong to no cluster."""
        return len(self.clusters)

    @property
    def unstated(self) -> int:
        """The value in `places` of papers that do not state the move."""
        return len(self.clusters) + 1

    def papers(self, place: int) -> list[int]:
        """Return the indices of the papers with this value in `places`."""
        return [paper for paper, one in enumerate(self.places) if one == place]


def grouped(
    name: str,
    texts: Sequence[str | None],
    number: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> Grouping | None:
    """Return the clusters of papers by one move, or None if no cluster can be formed.

    Args:
        name: the name of the move.
        texts: the text of each paper; None if the paper does not state the move.
        number: maximum number of clusters; None to choose the number by the silhouette.
        check: called between steps; may raise an error to stop.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    stated = [paper for paper, text in enumerate(texts) if text is not None]
    given = [text for text in texts if text is not None]
    with threadpool_limits(1):  # more threads would round sums differently
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
    """Return the index of the cluster of each vector, or -1 for a vector without a cluster.

    Args:
        number: maximum number of clusters; None to choose the number by the silhouette.
        check: called between steps; may raise an error to stop.
    """
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
    """Return the number of clusters, chosen by the silhouette of a sample of the vectors.

    Args:
        most: the maximum number of clusters.
    """
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
    return next((one for one, score in scores.items() if score >= min(best, best * GOOD)), most)


def _k_means(vectors: Floats, number: int) -> Any:
    from sklearn.cluster import KMeans  # type: ignore[import-untyped]

    return KMeans(number, n_init=STARTS, random_state=SEED).fit(vectors)


@dataclass(frozen=True, slots=True)
class Vectors:
    """The vectors of texts.

    Attributes:
        reduced: one vector of norm 1 for each text, or zeros for a text without any of `terms`;
            shape (texts, dimensions).
        counts: the sparse matrix of the occurrences of each term in each text; shape (texts,
            terms).
        terms: the term of each column of `counts`.
    """

    reduced: Floats
    counts: Any
    terms: Sequence[str]


def vectors_of(texts: Sequence[str]) -> Vectors | None:
    """Return the vectors of texts, or None if the texts have too few terms in common."""
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
    except ValueError:  # raised if all terms are too rare or too frequent
        return None
    dimensions = min(DIMENSIONS, min(counts.shape) - 1)
    if dimensions < 2:
        return None
    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    reduced = TruncatedSVD(dimensions, random_state=SEED).fit_transform(weighted)
    return Vectors(normalize(reduced), counts, counting.get_feature_names_out().tolist())


def terms_of_clusters(
    vectors: Vectors, texts: Sequence[str], clusters: Sequence[NDArray[np.int64]]
) -> list[tuple[str, ...]]:
    """Return the terms for the label of each cluster, in their most frequent spelling.

    Args:
        texts: the texts that the vectors represent.
        clusters: the indices of the texts of each cluster.
    """
    import numpy as np

    counts = [np.asarray(vectors.counts[papers].sum(axis=0)).ravel() for papers in clusters]
    total = np.sum(counts, axis=0)
    rarity = np.log1p(total.sum() / len(clusters) / np.maximum(total, 1))
    labels = []
    for papers, own in zip(clusters, counts, strict=True):
        having = np.asarray((vectors.counts[papers] > 0).sum(axis=0)).ravel()
        typical = having >= max(2, TYPICAL * len(papers))
        weight = np.where(typical, own * rarity, 0)
        order = np.argsort(-weight, kind="stable")
        ranked = {vectors.terms[i]: int(own[i]) for i in order if weight[i] > 0}
        labels.append(_spelled(_distinct(ranked), [texts[i] for i in papers]))
    return labels


def _distinct(ranked: Mapping[str, int]) -> list[str]:
    """Return up to `TERMS` terms that have no word in common, by descending weight.

    A pair replaces a word that occurs mostly in this pair: "fine tuning" replaces "tuning".

    Args:
        ranked: the counts of the terms, by descending weight.
    """
    pairs: dict[str, str] = {}
    for term, count in ranked.items():
        for word in term.split() if " " in term else ():
            if count >= MOSTLY * ranked.get(word, count + 1):
                pairs.setdefault(word, term)
    chosen: list[str] = []
    for term in ranked:
        if " " in term:
            continue
        term = pairs.get(term, term)
        words = set(term.split())
        chosen = [one for one in chosen if one not in words]
        if not any(words & set(one.split()) for one in chosen):
            chosen.append(term)
        if len(chosen) == TERMS:
            break
    return chosen


def _spelled(terms: Sequence[str], texts: Iterable[str]) -> tuple[str, ...]:
    """Return each term in its most frequent spelling; the alphabetical order decides ties."""
    spellings: dict[str, Counter[str]] = {term: Counter() for term in terms}
    for text in texts:
        for term, spelling in spelled_terms(text):
            if term in spellings:
                spellings[term][spelling] += 1
    return tuple(min(found, key=lambda one: (-found[one], one)) for found in spellings.values())


def terms_of(text: str) -> list[str]:
    """Return the terms of a text: the stems of content words, and the pairs of adjacent stems."""
    return [term for term, _ in spelled_terms(text)]


def spelled_terms(text: str) -> Iterator[tuple[str, str]]:
    """Yield each term of a text with its spelling in the text.

    The spelling has capitals only in words such as LLM and GitHub. In scripts without blanks
    between words, pairs of characters are the terms. Headings such as "CONCLUSIONS:" are omitted.
    """
    text = composed(without_headings(text))
    before: tuple[str, str, int] | None = None
    for found in _WORD.finditer(text):
        word, folded = found.group(), found.group().casefold()
        if _IS_UNSPACED.match(word):
            yield from ((pair, pair) for pair in _pairs(folded))
            before = None
        elif folded in STOP_WORDS or folded in GENERIC or len(word) < 2:
            before = None
        else:
            term, spelling = stem(folded), word if word[1:] != word[1:].casefold() else folded
            yield term, spelling
            if before:
                between = "-" if text[before[2] : found.start()] == "-" else " "
                yield f"{before[0]} {term}", f"{before[1]}{between}{spelling}"
            before = term, spelling, found.end()


def _pairs(word: str) -> Iterator[str]:
    for run in _UNSPACED.findall(word):
        if not _IS_UNSPACED.match(run):
            yield run
        else:
            yield from (run[at : at + 2] for at in range(max(1, len(run) - 1)))
