"""Group papers whose claims are about the same subject, deterministically, without a model.

The vectors of tf-idf weights of the papers' terms are clustered with Ward's method, and each
cluster is named after the terms that distinguish it.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skills.nanda.terms import GENERIC, Term, spelling, terms_in
from skills.nanda.text import content_words

FEWEST = 4
"""The minimum number of papers that are grouped."""
PAPERS_A_GROUP = 3
"""The average size of a group."""
NAMES = 2
"""The maximum number of terms in a name."""
_PROMINENT = 3
"""How much more an occurrence in title or claim counts than one in the rest of the abstract."""


@dataclass(frozen=True, slots=True)
class Wording:
    """The texts of a paper that are searched for terms."""

    title: str
    claim: str
    abstract: str


@dataclass(frozen=True, slots=True)
class Group:
    """Papers by their index in the input, and the terms they share ("" for the other papers)."""

    name: str
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Terms:
    """The terms of a paper: their weighted counts, and the spellings in title and claim."""

    counts: Mapping[Term, float]
    prominent: Mapping[Term, list[str]]


def grouped(topic: str, papers: Sequence[Wording]) -> list[Group]:
    """Return the papers in groups, larger ones first, and those without a group last.

    Words of the topic and generic words are not used. A paper without any of the terms that its
    group is named after is in no group, and neither is one that is alone then.

    Returns: nothing for fewer than `FEWEST` papers, or if no group is found.
    """
    if len(papers) < FEWEST:
        return []
    ignored = GENERIC | set(content_words(topic))
    terms = [_terms(paper, ignored) for paper in papers]
    groups: list[Group] = []
    others: list[int] = []
    for cluster in _clusters(terms):
        name = _name(cluster, terms)
        members = tuple(i for i in cluster if not name.keys().isdisjoint(terms[i].counts))
        if len(members) > 1:
            groups.append(Group(", ".join(name.values()), members))
            others += set(cluster) - set(members)
        else:
            others += cluster
    if not groups:
        return []
    groups.sort(key=lambda group: (-len(group.members), group.members))
    return [*groups, *([Group("", tuple(sorted(others)))] if others else [])]


def _clusters(terms: Sequence[_Terms]) -> list[tuple[int, ...]]:
    """Return clusters of papers with similar terms."""
    import numpy as np
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist

    papers_with = Counter(term for paper in terms for term in paper.counts)
    columns = {term: i for i, term in enumerate(t for t, n in papers_with.items() if n > 1)}
    weights = np.zeros((len(terms), len(columns) + 1))
    for row, paper in zip(weights, terms, strict=True):
        for term in paper.counts.keys() & columns.keys():
            rarity = math.log(len(terms) / papers_with[term])
            row[columns[term]] = math.log1p(paper.counts[term]) * rarity
    weights /= np.linalg.norm(weights, axis=1, keepdims=True).clip(1e-9)
    count = max(2, round(len(terms) / PAPERS_A_GROUP))
    labels = fcluster(linkage(pdist(weights), "ward"), count, "maxclust")
    clusters: dict[int, list[int]] = defaultdict(list)
    for paper_index, label in enumerate(labels):
        clusters[int(label)].append(paper_index)
    return [tuple(members) for members in clusters.values()]


def _name(members: Sequence[int], terms: Sequence[_Terms]) -> dict[Term, str]:
    """Return the terms that distinguish these papers from the others, with their spellings.

    A term is in the text of half of the papers and of a smaller share of the others; a second one
    is also in the title or claim of two of them.
    """
    outside = [paper for i, paper in enumerate(terms) if i not in members]
    inside = [terms[i] for i in members]
    ranked = []
    for term in {term for paper in inside for term in paper.prominent}:
        spelled = [paper.prominent[term][0] for paper in inside if term in paper.prominent]
        share = sum(term in paper.counts for paper in inside) / len(inside)
        elsewhere = sum(term in paper.counts for paper in outside) / max(1, len(outside))
        if share >= 0.5 and share > elsewhere:
            score = share - elsewhere + len(spelled) / len(inside)
            ranked.append((-score, -len(term), term, spelled))
    names: dict[Term, str] = {}
    for *_, term, spelled in sorted(ranked):
        is_new = all(set(term).isdisjoint(known) for known in names)
        if is_new and len(names) < min(NAMES, len(spelled)):
            names[term] = spelling(spelled)
    return names


def _terms(paper: Wording, ignored: frozenset[str] | set[str]) -> _Terms:
    prominent, abstract = (
        _occurrences(f"{paper.title}. {paper.claim}"),
        _occurrences(paper.abstract),
    )
    counts = {
        term: _PROMINENT * len(prominent.get(term, ())) + len(abstract.get(term, ()))
        for term in {**prominent, **abstract}
        if not ignored.issuperset(term) and term[0] not in GENERIC
    }
    return _Terms(counts, {term: prominent[term] for term in counts if term in prominent})


def _occurrences(text: str) -> dict[Term, list[str]]:
    """Return words and pairs of adjacent words by their stems, with all their spellings.

    A word joined to another by a hyphen counts only within its pair: "multi" is not a term.
    """
    found: dict[Term, list[str]] = defaultdict(list)
    for term, written in terms_in(text):
        found[term].append(written)
    return found
