"""Group papers by the terms they share, without a model and deterministically."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from skills.nanda.text import STOP_WORDS, WORD, content_words, stem

FEWEST = 6
"""The minimum number of papers that are grouped."""
_MANY_TIMES = {1: 3, 2: 2}
"""How often a term of one or two words must occur in the abstract to be a subject of the paper, if
it occurs in the claim but not in the title."""

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
    knowledge language large learn level limitation limited literature llm local long low main
    method methodology model modern multiple natural need new next novel objective open order output
    paper part performance perspective platform possible potential practical practice problem
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
    """Papers by their index in the input, and the term they share ("" for the other papers)."""

    term: str
    members: tuple[int, ...]


def grouped(topic: str, papers: Sequence[Wording]) -> list[Group]:
    """Return the papers in groups, larger ones first, and those without a group last.

    Greedy: the term that most of the remaining papers share becomes a group, until no two papers
    share one. Words of the topic, generic words, and terms of more than half of the papers are not
    used.

    Returns: nothing if fewer than half of the papers have a group, or all have the same one.
    """
    subjects = [_terms(paper) for paper in papers] if len(papers) >= FEWEST else []
    known = _GENERIC | set(content_words(topic))
    common = Counter(term for terms in subjects for term in terms)
    usable = {
        term
        for term, count in common.items()
        if 2 <= count <= len(papers) // 2 and term[0] not in _GENERIC and not known.issuperset(term)
    }
    groups: list[Group] = []
    left = set(range(len(subjects)))
    while best := _largest(subjects, left, usable):
        members = tuple(i for i in sorted(left) if best in subjects[i])
        groups.append(Group(_spelling([subjects[i][best] for i in members]), members))
        left -= set(members)
    if len(groups) < 2 or 2 * len(left) > len(papers):
        return []
    groups.sort(key=lambda group: -len(group.members))
    return [*groups, *([Group("", tuple(sorted(left)))] if left else [])]


def _largest(
    subjects: Sequence[Mapping[Term, str]], left: set[int], usable: set[Term]
) -> Term | None:
    """Return the term that most of the remaining papers share, of equal ones the longer one."""
    sharing: dict[Term, int] = defaultdict(int)
    for i in left:
        for term in subjects[i].keys() & usable:
            sharing[term] += 1
    candidates = [(-count, -len(term), term) for term, count in sharing.items() if count >= 2]
    return min(candidates)[2] if candidates else None


def _terms(paper: Wording) -> dict[Term, str]:
    """Return the subjects of a paper: each term with its spelling."""
    title, claim, abstract = map(_occurrences, (paper.title, paper.claim, paper.abstract))
    found = {}
    for term in {**title, **claim}:
        count = len(title.get(term, ())) + len(abstract.get(term, ()))
        if count >= (2 if term in title else _MANY_TIMES[len(term)]):
            found[term] = (title.get(term) or claim[term])[0]
    return found


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
