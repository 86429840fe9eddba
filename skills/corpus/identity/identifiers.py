"""The facts that identify a paper, and its public identifiers: DOI, arXiv id, PMID, OpenAlex id."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from skills.corpus.identity import titles
from skills.nanda.paper import Paper, bare_arxiv_id

BLOCK = 50
"""Number of papers with the same key of a title above which the key is common wording, and
ignored.
"""
KINDS = ("doi", "arxiv", "pmid", "openalex")
"""The kinds of identifiers, in the order in which they are compared."""
ZOTERO = "zotero"
"""The kind of the key of a paper's item in a Zotero library, such as "users/475425/items/ABCD2345"
in Zotero's API. It is stored like an identifier, but is not public and not compared.

The user is "local" if Zotero does not synchronize.
"""

_DOI = re.compile(
    r"(?:(?:https?://)?(?:[\w-]+\.)*doi\.org/|doi\s*[:=]?\s*|urn:doi:|info:doi/)?"
    r"(?P<id>10\.\d{4,9}(?:\.\d+)*/\S+)",
    re.IGNORECASE | re.ASCII,
)
_DOI_WITHIN = re.compile(r"\b10\.\d{4,9}/[^\s\"<>,;]+", re.ASCII)
_PMID = re.compile(
    r"(?:pmid\s*[:=]?\s*|(?:https?://)?(?:www\.)?(?:pubmed\.ncbi\.nlm\.nih\.gov/"
    r"|ncbi\.nlm\.nih\.gov/pubmed/))(?P<id>\d{1,8})/?",
    re.IGNORECASE | re.ASCII,
)
_OPENALEX = re.compile(
    r"(?:openalex\s*[:=]\s*|(?:https?://)?(?:api\.)?openalex\.org/(?:works/)?)?(?P<id>w\d{5,12})",
    re.IGNORECASE | re.ASCII,
)
_ARXIV_DOI = re.compile(r"10\.48550/arxiv\.(.+)", re.IGNORECASE)
_PREPRINT_DOI = re.compile(
    r"10\.(?:1101|21203|31234|26434|20944|36227|2139|31219|22541|33774|5281|48550)/",
    re.ASCII,
)
"""Matches the DOIs of bioRxiv, Research Square, PsyArXiv, ChemRxiv, Preprints.org, TechRxiv, SSRN,
OSF, Authorea, APSA, Zenodo, arXiv.
"""


def doi(text: str) -> str:
    """Return a DOI in lower case without an address, or "" if `text` is not a DOI.

    A DOI does not depend on case (https://www.doi.org/doi-handbook). Punctuation at its end belongs
    to a sentence.
    """
    made = written_doi(unquote(text)).lower().split("#")[0]
    if "?" in made and "doi.org" in text.lower():  # parameters of the address
        made = made.split("?")[0]
    made = made.rstrip(".,;/")
    return made.rstrip(")") if made.count(")") > made.count("(") else made


def written_doi(text: str) -> str:
    """Return a DOI as written, but without an address, or "" if `text` is not a DOI."""
    found = _DOI.fullmatch(text.strip())
    return found["id"] if found else ""


def dois_within(text: str) -> set[str]:
    """Return the DOIs in running text."""
    return set(filter(None, map(doi, _DOI_WITHIN.findall(text))))


def arxiv(text: str) -> str:
    """Return the arXiv id without version from an id, an address or a DOI of arXiv, or ""."""
    own = _ARXIV_DOI.fullmatch(doi(text))
    bare = bare_arxiv_id(own[1] if own else text.strip()) or ""
    archive, slash, number = bare.lower().partition("/")
    # "math.GT/0309136" is the old spelling of "math/0309136".
    return f"{archive.split('.')[0]}/{number}" if slash else bare


def pmid(text: str) -> str:
    """Return the PubMed id that `text` marks as such, or ""."""
    found = _PMID.fullmatch(text.strip())
    return found["id"].lstrip("0") if found else ""


def openalex(text: str) -> str:
    """Return the id of a work at OpenAlex, such as "W2741809807", or ""."""
    found = _OPENALEX.fullmatch(text.strip())
    return found["id"].upper() if found else ""


_READERS: Mapping[str, Callable[[str], str]] = {
    "arxiv": arxiv,
    "doi": doi,
    "pmid": pmid,
    "openalex": openalex,
}


def identifiers(text: str) -> dict[str, str]:
    """Return the identifiers in `text` by kind, or {} for an id of another source, such as "12"."""
    found = {kind: read(text) for kind, read in _READERS.items()}
    if found["arxiv"]:  # a DOI of arXiv is the same identifier
        found["doi"] = ""
    return {kind: value for kind, value in found.items() if value}


def identifiers_of(paper: Paper, known: Mapping[str, Any]) -> dict[str, str]:
    """Return the identifiers of a paper by kind.

    Args:
        known: facts from its source, under "doi", "arxiv_id", "pmid" and "openalex_id".
    """
    stated = {name: value for name, value in known.items() if isinstance(value, str) and value}
    found = identifiers(stated.get("doi", "")) | identifiers(stated.get("openalex_id", ""))
    number = stated.get("pmid", "")
    if found_pmid := pmid(number) or pmid(f"PMID:{number}"):
        found["pmid"] = found_pmid
    if found_arxiv := arxiv(stated.get("arxiv_id", "")):
        found["arxiv"] = found_arxiv
    own = identifiers(paper.id)
    if paper.id_field == "arxiv_id":
        own.setdefault("arxiv", paper.id.lower())
    # otherwise "2405.12345" may be a number of another source
    elif bare_arxiv_id(paper.id) == paper.id:
        own.pop("arxiv")
    return found | own


def is_preprint_doi(value: str) -> bool:
    """Return True for a DOI of a preprint server or an archive."""
    return bool(_PREPRINT_DOI.match(value))


@dataclass(frozen=True, slots=True)
class Known:
    """The facts that identify a paper.

    Attributes:
        identifiers: the identifiers by kind (`KINDS`).
        authors: the names of the authors as written in the source.
    """

    identifiers: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    authors: str = ""
    year: int | None = None
    venue: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """Blocking keys: two papers that `matching.compare` accepts have a common key."""
        own = (f"{kind}:{value}" for kind, value in self.identifiers.items())
        return (*own, *(f"title:{key}" for key in titles.title(self.title).keys))

    @property
    def is_preprint(self) -> bool:
        """True if the paper is only on a preprint server."""
        doi = self.identifiers.get("doi", "")
        return ("arxiv" in self.identifiers or is_preprint_doi(doi)) and not self.is_published

    @property
    def is_published(self) -> bool:
        """True if the paper has a place of publication other than a preprint server."""
        doi, venue = self.identifiers.get("doi", ""), self.venue.lower()
        elsewhere = bool(venue) and not venue.startswith(("arxiv", "corr", "biorxiv", "medrxiv"))
        return bool(doi and not is_preprint_doi(doi)) or "pmid" in self.identifiers or elsewhere


def known(paper: Paper, source: Mapping[str, Any] | None = None) -> Known:
    """Return the facts that identify `paper`.

    Args:
        source: further facts from its source.
    """
    stated = {**(source or {}), **paper.source}
    year, venue = stated.get("year"), stated.get("venue")
    return Known(
        identifiers_of(paper, stated),
        paper.title,
        paper.authors,
        paper.year or (int(year) if isinstance(year, str) and year.isdecimal() else None),
        venue if isinstance(venue, str) else "",
    )
