"""Parse the identifiers of papers, and collect the facts by which papers are compared.

An identifier is a DOI, an arXiv id, a PMID or an OpenAlex id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from skills.corpus.identity import titles
from skills.nanda.paper import Paper, bare_arxiv_id

BLOCK = 50
"""Maximum number of papers with the same blocking key that are compared with each other.

A more frequent key is ignored, since it usually comes from wording that many titles share.
"""
KINDS = ("doi", "arxiv", "pmid", "openalex")
"""The kinds of identifiers, in the order in which `matching.compare` compares them."""
ZOTERO = "zotero"
"""The kind under which the key of a paper's Zotero item is stored with the identifiers.

An example of a key is "users/475425/items/ABCD2345", a path of Zotero's API; the user is "local" if
Zotero does not synchronize. The key is not public, and papers are not compared by it.
"""

_DOI = re.compile(
    r"(?:(?:https?://)?(?:[\w-]+\.)*doi\.org/|doi\s*[:=]?\s*|urn:doi:|info:doi/)?"
    r"(?P<id>10\.\d{4,9}(?:\.\d+)*/\S+)",
    re.IGNORECASE | re.ASCII,
)
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


def doi(text: str) -> str:
    """Return the bare DOI in a DOI or DOI URL, in lower case; "" for other text.

    DOIs are case-insensitive (https://www.doi.org/doi-handbook). Punctuation after the DOI is
    removed, since it may belong to a sentence.
    """
    made = written_doi(unquote(text)).lower().split("#")[0]
    if "?" in made and "doi.org" in text.lower():  # query parameters of the URL
        made = made.split("?")[0]
    made = made.rstrip(".,;/")
    return made.rstrip(")") if made.count(")") > made.count("(") else made


def written_doi(text: str) -> str:
    """Return the bare DOI in a DOI or DOI URL, as written; "" for other text."""
    found = _DOI.fullmatch(text.strip())
    return found["id"] if found else ""


def arxiv(text: str) -> str:
    """Return the arXiv id in an id, URL or arXiv DOI, without the version; "" for other text."""
    own = _ARXIV_DOI.fullmatch(doi(text))
    bare = bare_arxiv_id(own[1] if own else text.strip()) or ""
    archive, slash, number = bare.lower().partition("/")
    # "math.GT/0309136" is the old spelling of "math/0309136".
    return f"{archive.split('.')[0]}/{number}" if slash else bare


def pmid(text: str) -> str:
    """Return the PubMed id in a PubMed URL or after "PMID"; "" for other text."""
    found = _PMID.fullmatch(text.strip())
    return found["id"].lstrip("0") if found else ""


def openalex(text: str) -> str:
    """Return the OpenAlex id, such as "W2741809807", in an id or URL; "" for other text."""
    found = _OPENALEX.fullmatch(text.strip())
    return found["id"].upper() if found else ""


_READERS = {"arxiv": arxiv, "doi": doi, "pmid": pmid, "openalex": openalex}


def identifiers(text: str) -> dict[str, str]:
    """Return the identifiers in an id or URL, by kind; {} for other text, such as "12"."""
    found = {kind: read(text) for kind, read in _READERS.items()}
    if found["arxiv"]:  # an arXiv DOI is not kept as a second identifier
        found["doi"] = ""
    return {kind: value for kind, value in found.items() if value}


def identifiers_of(paper: Paper, known: Mapping[str, Any]) -> dict[str, str]:
    """Return the identifiers of a paper by kind.

    Args:
        known: facts of the paper, under the names "doi", "arxiv_id", "pmid" and "openalex_id".
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
    # in a column other than arxiv_id, "2405.12345" may be an id of another source
    elif bare_arxiv_id(paper.id) == paper.id:
        own.pop("arxiv")
    return found | own


@dataclass(frozen=True, slots=True)
class Known:
    """The facts by which papers are compared.

    Attributes:
        identifiers: the identifiers by kind (see `KINDS`).
        authors: the authors' names in the spelling of the source.
    """

    identifiers: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    authors: str = ""
    year: int | None = None
    venue: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """The blocking keys: only papers with a common key are compared with each other."""
        own = (f"{kind}:{value}" for kind, value in self.identifiers.items())
        return (*own, *(f"title:{key}" for key in titles.title(self.title).keys))


def known(paper: Paper) -> Known:
    """Return the facts by which `paper` is compared."""
    # The source of an imported annotation may contain JSON values of every type.
    stated: Mapping[str, Any] = paper.source
    year, venue = stated.get("year"), stated.get("venue")
    return Known(
        identifiers_of(paper, stated),
        paper.title,
        paper.authors,
        paper.year or (int(year) if isinstance(year, str) and year.isdecimal() else None),
        venue if isinstance(venue, str) else "",
    )
