"""Label clusters by their own terms: class-based TF-IDF, as BERTopic weighs terms.

Grootendorst (2022), "BERTopic: Neural topic modeling with a class-based TF-IDF procedure": the
weight of a term in a cluster is its share of the cluster's terms, times log(1 + A / f), where f is
how often all clusters have it, and A the mean number of terms of a cluster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from skills.corpus.map.terms import spelled_terms
from skills.corpus.map.vectors import Vectors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TERMS = 4
"""Terms of a label, at most."""
TYPICAL = 0.1
"""Least share of a cluster's texts that has a term of its label."""
MOSTLY = 0.5
"""Least share of a word's occurrences that are in a pair for the pair to replace it."""


def terms_of_clusters(
    vectors: Vectors, texts: Sequence[str], clusters: Sequence[NDArray[np.int64]]
) -> list[tuple[str, ...]]:
    """Return the terms of each cluster, as most of its texts spell them.

    Args:
        clusters: the indices of the texts of each.
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
    """Return the first terms, each word in one of them.

    A pair replaces a word that mostly occurs in it: "fine tuning" for "tuning".

    Args:
        ranked: terms with their counts, those with the highest weight first.
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
    """Return the terms as most of the texts spell them, the first in order among equals."""
    spellings: dict[str, Counter[str]] = {term: Counter() for term in terms}
    for text in texts:
        for term, spelling in spelled_terms(text):
            if term in spellings:
                spellings[term][spelling] += 1
    return tuple(min(found, key=lambda one: (-found[one], one)) for found in spellings.values())
