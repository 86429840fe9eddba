"""Group papers whose claims are about the same subject, deterministically, without a model.

The vectors of tf-idf weights of the papers' terms are clustered with Ward's method, and each
cluster is named after the terms that distinguish it.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from skills.nanda.text import STOP_WORDS, WORD, content_words, stem

FEWEST = 4
"""The minimum number of papers that are grouped."""
PAPERS_A_GROUP = 3
"""The average size of a group."""
NAMES = 2
"""The maximum number of terms in a name."""
_PROMINENT = 3
"""How much more an occurrence in title or claim counts than one in the rest of the abstract."""

_GENERIC_WORDS = """
    ability accuracy achieve advance agent agentic ai aim analysis application approach area
    artificial aspect automated automatic autonomous based benchmark benefit better build building
    capability case challenge change characteristic common comparison complex component
    comprehensive concept context cost create current data dataset decision deep design determine
    develop development different domain dynamic effect effective efficient empirical enable
    engineering enhance environment evaluate evaluation evidence example existing experience
    experiment extended factor feature field findings first framework full function future general
    generate generated goal high higher human impact implementation improve improvement include
    individual influence information input integrate intelligence interaction investigate issue key
    knowledge language large learn let level limitation limited literature llm local long low main
    make method methodology model modern multiple natural need new next novel objective open order
    output paper part performance perspective platform possible potential practical practice problem
    procedure process product project promising propose provide quality question range real recent
    related report representation require research resource result review role scale scenario
    science scope setting several short significant simple single small solution solve source space
    specific stage standard state step strategy structure study success support survey system
    systematic target task technique technology term test text theory time tool towards traditional
    type understand understanding unified universal user value various view vision way wide work
    world
"""
_GENERIC = frozenset(map(stem, _GENERIC_WORDS.split()))
"""Stems of words that occur in abstracts on any subject: those in more than a few percent of the
abstracts of both gold_train.csv and csabstruct_dev.jsonl."""

_INNER_CAPITAL = re.compile(r"[^\W\d_][A-Z]")

Term = tuple[str, ...]


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
    ignored = _GENERIC | set(content_words(topic))
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
            names[term] = _spelling(spelled)
    return names


def _terms(paper: Wording, ignored: frozenset[str] | set[str]) -> _Terms:
    prominent, abstract = (
        _occurrences(f"{paper.title}. {paper.claim}"),
        _occurrences(paper.abstract),
    )
    counts = {
        term: _PROMINENT * len(prominent.get(term, ())) + len(abstract.get(term, ()))
        for term in {**prominent, **abstract}
        if not ignored.issuperset(term) and term[0] not in _GENERIC
    }
    return _Terms(counts, {term: prominent[term] for term in counts if term in prominent})


def _occurrences(text: str) -> dict[Term, list[str]]:
    """Return words and pairs of adjacent words by their stems, with all their spellings.

    A word joined to another by a hyphen counts only within its pair: "multi" is not a term.
    """
    found: dict[Term, list[str]] = defaultdict(list)
    for term, written in _terms_in(text):
        found[term].append(written)
    return found


def _terms_in(text: str) -> Iterator[tuple[Term, str]]:
    previous: tuple[str, int, int] | None = None
    for match in WORD.finditer(text):
        word, (start, end) = match.group(), match.span()
        if word.casefold() in STOP_WORDS or len(word) < 3 or word[0].isdigit():
            previous = None
            continue
        stemmed = stem(word.casefold())
        if "-" not in (text[start - 1 : start], text[end : end + 1]):
            yield (stemmed,), word
        if previous and text[previous[2] : start] in (" ", "-"):
            yield (previous[0], stemmed), text[previous[1] : end]
        previous = stemmed, start, end


def _spelling(written: Sequence[str]) -> str:
    """Return the most frequent spelling of a term, or the first one: "LoRA", "multi-agent"."""
    kept = (word if _INNER_CAPITAL.search(word) else word.casefold() for word in written)
    return Counter(kept).most_common(1)[0][0]
