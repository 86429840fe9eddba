"""Decide whether two records are the same paper, or preprint and published version.

Identifiers take precedence over titles, authors and years. Names of authors may be written in
different orders, with initials or without accents.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from skills.corpus.identity import titles
from skills.corpus.identity.identifiers import BLOCK, KINDS, Known, is_preprint_doi
from skills.corpus.identity.titles import fold
from skills.corpus.tex import plain_field

Relation = Literal["same", "linked"]

YEARS = 1
"""Maximum difference of the years of two records of a paper, which may be online first and in
print.
"""
LINKED_YEARS = 2
"""Maximum difference of the years of a preprint and its published version."""
LONG_TITLE = 5
"""Minimum number of words of a title that is sufficient evidence if an author is unknown."""
AUTHORS = 0.5
"""Minimum share of common authors if the titles are only similar."""
ALIKE = 0.5
"""Minimum share of common words in titles of records with the same DOI; half of it with a common
author.
"""
Name = tuple[str, ...]
_AND = re.compile(r"\s*;\s*|\s+and\s+|\s+&\s+|\s*\|\s*")
_REST = re.compile(r"(?:,|;)?\s*(?:\bet\s+al\b\.?|\band others\b).*", re.IGNORECASE)
_TOKEN = re.compile(r"[^\W\d_]+(?:['\N{RIGHT SINGLE QUOTATION MARK}][^\W\d_]+)*")
_INITIALS = re.compile(r"[A-Z]{2,3}")
_DIGRAPHS = re.compile(r"(?<=[aou])e")
_NO_NAME = frozenset({"jr", "sr", "ii", "iii", "dr", "prof", "phd", "md"})


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision that two records describe the same paper.

    Attributes:
        relation: "same", or "linked" for a preprint and its published version.
        rule: a kind of identifier, or "title" with the other facts that agree.
        evidence: the common value.
    """

    relation: Relation
    rule: str
    evidence: str


def compare(one: Known, other: Known) -> Decision | None:
    """Return the decision that two records describe the same paper, or None."""
    for kind in KINDS:
        value = one.identifiers.get(kind)
        if value and value == other.identifiers.get(kind):
            if kind == "doi" and _is_of_a_volume(one, other):
                return None
            return Decision("same", kind, value)
    if contradict(one, other):
        return None
    return _by_title(one, other)


def pairs(papers: Iterable[Known]) -> Iterator[tuple[int, int, Decision]]:
    """Yield the indexes of all pairs of the same paper; the papers of a pair have a common key."""
    every = list(papers)
    blocks: dict[str, list[int]] = {}
    for place, paper in enumerate(every):
        for key in paper.keys:
            blocks.setdefault(key, []).append(place)
    tried: set[tuple[int, int]] = set()
    for block in blocks.values():
        if len(block) <= BLOCK:
            for pair in combinations(block, 2):
                if pair not in tried:
                    tried.add(pair)
                    decided = compare(every[pair[0]], every[pair[1]])
                    if decided:
                        yield (*pair, decided)


def _is_of_a_volume(one: Known, other: Known) -> bool:
    """Return True if a common DOI belongs to a volume with both papers, or to an erratum."""
    ours, theirs = titles.title(one.title), titles.title(other.title)
    if not ours.words or not theirs.words:
        return False
    if ours.notice != theirs.notice:
        return True
    alike = titles.overlap(ours, theirs)
    same_author = same_first(one.authors, other.authors)
    return alike < (ALIKE / 2 if same_author else ALIKE)


def contradict(one: Known, other: Known) -> bool:
    """Return True if both have identifiers of the same kind with different values."""
    shared_kinds = one.identifiers.keys() & other.identifiers.keys()
    different = {kind for kind in shared_kinds if one.identifiers[kind] != other.identifiers[kind]}
    if different == {"doi"}:  # the DOIs of a preprint server and of a publisher
        ours, theirs = (is_preprint_doi(paper.identifiers["doi"]) for paper in (one, other))
        return ours == theirs
    return bool(different)


def _by_title(one: Known, other: Known) -> Decision | None:
    ours, theirs = titles.title(one.title), titles.title(other.title)
    if ours.is_generic or theirs.is_generic:
        return None
    match = titles.compare(ours, theirs)
    if match is None:
        return None
    linked = (one.is_preprint and other.is_published) or (other.is_preprint and one.is_published)
    same_author = same_first(one.authors, other.authors)
    years = _years(one, other)
    if same_author is False or (years or 0) > (LINKED_YEARS if linked else YEARS):
        return None
    if same_author is None and (match != "same" or years is None or len(ours.words) < LONG_TITLE):
        return None
    if match != "same" and (years is None or shared(one.authors, other.authors) < AUTHORS):
        return None
    words = {"same": "title", "subtitle": "title without subtitle", "typo": "title with a typo"}
    agreed = [words[match], *["first author"] * bool(same_author), *["year"] * (years is not None)]
    shorter = min(one.title, other.title, key=len)
    return Decision("linked" if linked else "same", ", ".join(agreed), shorter)


def _years(one: Known, other: Known) -> int | None:
    return None if one.year is None or other.year is None else abs(one.year - other.year)


@functools.lru_cache(maxsize=4096)
def names(authors: str) -> tuple[Name, ...]:
    """Return the words of each author's name, folded, in the order in which they are written.

    "Family, Given; Family, Given", "Given Family, Given Family" and BibTeX's "and" are read. The
    parts of "Family, Given, Family, Given" are joined if each of them is one word or initials.
    """
    text = _REST.sub("", plain_field(authors)).strip()
    parts = [part for part in _AND.split(text) if part.strip(" ,")]
    if len(parts) == 1:
        parts = _separated(parts[0])
    folded = (_words(part, upper=text.isupper()) for part in parts)
    return tuple(name for name in folded if name)


def same_first(one: str, other: str) -> bool | None:
    """Return True if the first authors may be the same person; None if an author is unknown."""
    ours, theirs = names(one), names(other)
    return compatible(ours[0], theirs[0]) if ours and theirs else None


def shared(one: str, other: str) -> float:
    """Return the share of the shorter list of authors that is in the other list."""
    shorter, longer = sorted((names(one), names(other)), key=len)
    found = sum(any(compatible(name, known) for known in longer) for name in shorter)
    return found / len(shorter) if shorter else 0.0


def compatible(one: Name, other: Name) -> bool:
    """Return True if two names may belong to the same person.

    The names must share a word, and each other word of the shorter name must be a word or an
    initial of the longer name. The first initial must be the initial of the first word: "L. Moreau"
    is not "Maria-Luisa Moreau".
    """
    common = {word for word in one if len(word) > 1} & set(other)
    if not common:
        return "".join(sorted(one)) == "".join(sorted(other))
    rests = [[word for word in name if word not in common] for name in (one, other)]
    shorter, longer = sorted(rests, key=len)
    if not shorter:
        return True
    left = list(longer)
    for place, word in enumerate(shorter):
        among = longer[:1] if place == 0 else left
        match = next((given for given in among if _abbreviates(word, given)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _abbreviates(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return short == long or (len(short) == 1 and long.startswith(short))


def _separated(text: str) -> list[str]:
    """Return the names in a list with commas; join names such as "Family, Given, Family, Given"."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    initials = [all(len(word) == 1 for word in _TOKEN.findall(part)) for part in parts]
    lengths = [len(part.split()) for part in parts]
    single = [one or length == 1 for one, length in zip(initials, lengths, strict=True)]
    if parts and len(parts) % 2 == 0 and max(lengths[1::2]) <= 3:
        is_one_name = len(parts) == 2 and any(single)
        if is_one_name or all(single) or all(initials[1::2]):
            return [f"{family} {given}" for family, given in zip(*[iter(parts)] * 2, strict=True)]
    return parts


def _words(name: str, *, upper: bool) -> Name:
    found: list[str] = []
    for word in _TOKEN.findall(name):
        if not upper and _INITIALS.fullmatch(word):  # "Smith JP", as written by PubMed
            found += word.lower()
        else:
            # "Mueller" and "Müller" both become "muller".
            found.append(_DIGRAPHS.sub("", fold(word)))
    return tuple(word for word in found if word not in _NO_NAME)
