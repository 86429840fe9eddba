"""Decide whether two records describe the same paper, or a preprint and its published version.

Identifiers take precedence over title, authors and year. Authors' names match despite initials,
missing accents or a different order of the words.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from skills.corpus.identity.identifiers import BLOCK, KINDS, Known
from skills.corpus.identity.titles import Title, fold, title
from skills.corpus.tex import plain_field

_PREPRINT_DOI = re.compile(
    r"10\.(?:1101|21203|31234|26434|20944|36227|2139|31219|22541|33774|5281|48550)/", re.ASCII
)
"""Matches DOIs of preprint servers and archives.

These are bioRxiv, Research Square, PsyArXiv, ChemRxiv, Preprints.org, TechRxiv, SSRN, OSF,
Authorea, APSA, Zenodo and arXiv.
"""
Relation = Literal["same", "linked"]
Match = Literal["same", "subtitle", "typo"]

YEARS = 1
"""Maximum difference of the years of two records of a paper.

A paper may appear online in one year and in print in the next year.
"""
LINKED_YEARS = 2
"""Maximum difference of the years of a preprint and its published version."""
LONG_TITLE = 5
"""Minimum length in words of a common title, if the authors of one of the records are unknown."""
AUTHORS = 0.5
"""Minimum share of common authors if the titles are similar but not equal."""
ALIKE = 0.5
"""Minimum share of common title words of two records with the same DOI.

Half of this share suffices if the first author is the same.
"""
_TYPO_LETTERS = 6
"""Minimum length of a word in which a dropped, doubled or swapped letter is a typo."""
CUT_WORDS = 6
"""Minimum number of words of a title that may be the cut-off beginning of a longer title."""
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
        rule: the kind of the common identifier, or the facts that agree, such as "title, year".
        evidence: the common identifier, or the shorter title.
    """

    relation: Relation
    rule: str
    evidence: str


def compare(one: Known, other: Known) -> Decision | None:
    """Return the decision that two records describe the same paper, or None if they do not."""
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
    """Yield the indexes of each pair of records of the same paper, and the decision.

    Only records with a common blocking key are compared (see `Known.keys` and `BLOCK`).
    """
    every = list(papers)
    blocks: dict[str, list[int]] = {}
    for place, paper in enumerate(every):
        for key in paper.keys:
            blocks.setdefault(key, []).append(place)
    compared = dict.fromkeys(
        pair for block in blocks.values() if len(block) <= BLOCK for pair in combinations(block, 2)
    )
    for place, other in compared:
        if decided := compare(every[place], every[other]):
            yield place, other, decided


def _is_of_a_volume(one: Known, other: Known) -> bool:
    """Return True if two records with a common DOI describe different papers.

    The DOI may belong to a volume with several papers, or one record may describe an erratum.
    """
    ours, theirs = title(one.title), title(other.title)
    if not ours.words or not theirs.words:
        return False
    if ours.notice != theirs.notice:
        return True
    our_words, their_words = set(ours.words), set(theirs.words)
    alike = len(our_words & their_words) / min(len(our_words), len(their_words))
    same_author = same_first(one.authors, other.authors)
    return alike < (ALIKE / 2 if same_author else ALIKE)


def contradict(one: Known, other: Known) -> bool:
    """Return True if two records have different identifiers of the same kind.

    Different DOIs of a preprint and a publication are not a contradiction.
    """
    shared_kinds = one.identifiers.keys() & other.identifiers.keys()
    different = {kind for kind in shared_kinds if one.identifiers[kind] != other.identifiers[kind]}
    if different == {"doi"}:
        ours, theirs = (is_preprint_doi(paper.identifiers["doi"]) for paper in (one, other))
        return ours == theirs
    return bool(different)


def _by_title(one: Known, other: Known) -> Decision | None:
    """Return the decision by title, first author and year, or None if the records differ."""
    ours, theirs = title(one.title), title(other.title)
    if ours.is_generic or theirs.is_generic:
        return None
    match = compare_titles(ours, theirs)
    if match is None:
        return None
    linked = any(is_preprint(a) and is_published(b) for a, b in ((one, other), (other, one)))
    same_author = same_first(one.authors, other.authors)
    years = None if one.year is None or other.year is None else abs(one.year - other.year)
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


@functools.lru_cache(maxsize=4096)
def names(authors: str) -> tuple[Name, ...]:
    """Return the folded words of each author's name, in the written order.

    The authors may be separated by semicolons ("Family, Given; Family, Given"), by commas ("Given
    Family, Given Family") or by "and", as in BibTeX. In a list such as "Family, Given, Family,
    Given", each pair is joined into a name if all items are single words or initials, or if all
    given names are initials. A list of two items is one name if one of the items is a single
    word or initials.
    """
    text = _REST.sub("", plain_field(authors)).strip()
    parts = [part for part in _AND.split(text) if part.strip(" ,")]
    if len(parts) == 1:
        parts = _separated(parts[0])
    folded = (_words(part, upper=text.isupper()) for part in parts)
    return tuple(name for name in folded if name)


def same_first(one: str, other: str) -> bool | None:
    """Return True if the first authors may be the same person, and False if they cannot be.

    If the authors of a paper are unknown, None is returned.
    """
    ours, theirs = names(one), names(other)
    return compatible(ours[0], theirs[0]) if ours and theirs else None


def shared(one: str, other: str) -> float:
    """Return the share of the authors in the shorter list who also occur in the longer list.

    The share is 0 if a list is empty.
    """
    shorter, longer = sorted((names(one), names(other)), key=len)
    found = sum(any(compatible(name, known) for known in longer) for name in shorter)
    return found / len(shorter) if shorter else 0.0


def compatible(one: Name, other: Name) -> bool:
    """Return True if two names may belong to the same person.

    If the names have a common word, the remaining words are compared. Two words match if they are
    equal, or if one word is the initial of the other word. Each remaining word of the shorter name
    must match a remaining word of the longer name, and the first remaining words of both names must
    match: "L. Moreau" does not match "Maria-Luisa Moreau".

    Names without a common word match if their words, sorted and joined, are equal.
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
    """Return the names in a text with commas; "Family, Given" is joined to "Family Given"."""
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
        if not upper and _INITIALS.fullmatch(word):  # "Smith JP" in PubMed
            found += word.lower()
        else:
            # "Mueller" and "Müller" both become "muller".
            found.append(_DIGRAPHS.sub("", fold(word)))
    return tuple(word for word in found if word not in _NO_NAME)


def compare_titles(one: Title, other: Title) -> Match | None:
    """Return how two titles match, or None if they do not.

    "same" means equal words, apart from blanks. "subtitle" means that one title lacks the subtitle
    or is cut off. "typo" means that one letter of a long word is dropped, doubled or swapped.
    """
    if one.notice != other.notice:
        return None
    if one.squeezed == other.squeezed:
        return "same"
    if one.numbers != other.numbers:
        return None
    shorter, longer = sorted((one, other), key=lambda one: len(one.words))
    count = len(shorter.words)
    is_cut = count >= CUT_WORDS and shorter.words == longer.words[:count]
    if shorter.words == longer.main or is_cut:
        return "subtitle"
    return "typo" if _is_typo(one.words, other.words) else None


def _is_typo(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Return True if one word of two titles differs by a dropped, doubled or swapped letter.

    The first and last letters of the word must be equal: "agent" and "agents" may occur in titles
    of two papers.
    """
    from rapidfuzz.distance import OSA

    if len(one) != len(other) or len(one) < 3:
        return False
    different = [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]]
    if len(different) != 1:
        return False
    [(a, b)] = different
    # Words with one replaced letter also have an OSA distance of 1, but this letter may distinguish
    # two papers.
    is_replaced = len(a) == len(b) and sorted(a) != sorted(b)
    ends = a[0] == b[0] and a[-1] == b[-1]
    is_near = ends and not is_replaced and OSA.distance(a, b, score_cutoff=1) == 1
    return is_near and min(len(a), len(b)) >= _TYPO_LETTERS


def is_preprint_doi(value: str) -> bool:
    """Return True if a DOI belongs to a preprint server or an archive."""
    return bool(_PREPRINT_DOI.match(value))


def is_preprint(paper: Known) -> bool:
    """Return True if a paper has an id of a preprint server and is not published elsewhere."""
    doi = paper.identifiers.get("doi", "")
    return ("arxiv" in paper.identifiers or is_preprint_doi(doi)) and not is_published(paper)


def is_published(paper: Known) -> bool:
    """Return True if a paper has a PMID, or a DOI or venue other than a preprint server's."""
    doi, venue = paper.identifiers.get("doi", ""), paper.venue.lower()
    elsewhere = bool(venue) and not venue.startswith(("arxiv", "corr", "biorxiv", "medrxiv"))
    return bool(doi and not is_preprint_doi(doi)) or "pmid" in paper.identifiers or elsewhere
