"""Define references as items of CSL-JSON, and what a paper takes from one.

CSL-JSON is the form in which citation processors and reference managers exchange references
(https://docs.citationstyles.org). Of its variables, "archive" and "archive_location" hold an arXiv
id, and "keyword" the categories.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.errors import InputError
from skills.nanda.paper import Paper, bare_arxiv_id, find_arxiv_id, iso_date
from skills.nanda.text import flatten

Item = dict[str, Any]

SOURCE_KEYS = ("citekey", "doi", "pmid", "arxiv_id", "venue", "year")
"""What a paper's source keeps of its reference, under these names."""
COLUMNS = ("id", "title", "abstract", "authors", "published", "categories", "venue", "doi", "pmid")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
ET_AL = "et al."
"""The last name of a list that leaves out others."""
PREPRINT = "article"
"""The type of a preprint in CSL; one in a journal is "article-journal"."""

_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:\s*)?(10\.\d{4,9}/\S+)", re.IGNORECASE)
_PMID = re.compile(r"\bPMID: ?(\d{1,8})\b")
_ARXIV_DOI = re.compile(r"10\.48550/arxiv\.(.+)", re.IGNORECASE)
_ARXIV_VENUE = re.compile(r"(?:arxiv|corr\b)", re.IGNORECASE)
_JATS = re.compile(
    r"<(?:jats:)?title>[^<]{0,40}</(?:jats:)?title>"
    r"|</?(?:jats:)?(?:p|sec|italic|bold|sub|sup|i|b|strong|em)>",
    re.IGNORECASE,
)
"""The mark-up that Crossref adds to abstracts."""


@dataclass(frozen=True, slots=True)
class Record:
    """A reference of a file.

    Attributes:
        position: its first line, or its number in CSL-JSON.
        item: empty if there is an error.
        error: why it cannot be read.
    """

    position: int
    item: Item = field(default_factory=dict)
    error: InputError | None = None


def row_of(item: Item) -> dict[str, str]:
    """Return the columns of a table, and what the source of a paper keeps.

    The id is the arXiv id of a preprint, else the key of the entry, the DOI or the PMID.
    """
    doi, arxiv_id = doi_of(item), arxiv_id_of(item)
    key, pmid, venue = text(item, "id"), pmid_of(item), text(item, "container-title")
    published = date_of(item)
    own_key = "" if key.startswith("http") else key  # Zotero's addresses of its own items
    return {
        "id": (bare_arxiv_id(arxiv_id) if is_preprint(item) else "") or own_key or doi or pmid,
        "title": text(item, "title"),
        "abstract": _JATS.sub(" ", str(item.get("abstract") or "")).strip(),
        "authors": joined_names(map(full_name, names_of(item, "author"))),
        "published": published,
        "categories": text(item, "keyword"),
        "venue": venue,
        "doi": doi,
        "pmid": pmid,
        "citekey": key,
        "arxiv_id": arxiv_id,
        "year": iso_date(published)[:4],
    }


def item_of(paper: Paper, known: Mapping[str, Any]) -> Item:
    """Return the reference of a paper.

    Args:
        known: what else is known, under `SOURCE_KEYS`: the input of its annotation.
    """
    source = {**known, **paper.source}
    stated = {name: source[name] for name in SOURCE_KEYS if isinstance(source.get(name), str)}
    arxiv_id = paper.id if paper.is_arxiv else stated.get("arxiv_id", "")
    item: Item = {
        "id": stated.get("citekey") or paper.id,
        "type": "article-journal" if stated.get("venue") else PREPRINT,
        "title": paper.title,
        "author": list(map(name_of, separate_names(paper.authors))),
        "issued": issued(paper.published),
        "abstract": flatten(paper.abstract),
        "keyword": paper.categories,
        "container-title": stated.get("venue"),
        "DOI": stated.get("doi"),
        "PMID": stated.get("pmid"),
        **archive(arxiv_id),
    }
    return {name: value for name, value in item.items() if value}


def text(item: Mapping[str, Any], name: str) -> str:
    """Return a value on one line, "" if it is not text or a number."""
    value = item.get(name)
    return flatten(str(value)) if isinstance(value, (str, int)) else ""


def doi_of(item: Item) -> str:
    """Return the DOI without an address."""
    found = _DOI.fullmatch(text(item, "DOI"))
    return found[1] if found else ""


def pmid_of(item: Item) -> str:
    """Return the id at PubMed, which Zotero writes into the note."""
    found = _PMID.search(text(item, "note"))
    return text(item, "PMID") or (found[1] if found else "")


def arxiv_id_of(item: Item) -> str:
    """Return the arXiv id as the reference states it, with its version if there is one."""
    if "arxiv" in text(item, "archive").lower() and text(item, "archive_location"):
        return text(item, "archive_location")
    if found := _ARXIV_DOI.fullmatch(doi_of(item)):
        return found[1]
    places = (text(item, name) for name in ("number", "container-title", "URL"))
    return next(filter(None, map(find_arxiv_id, places)), "")


def archive(arxiv_id: str) -> Item:
    """Return the variables that hold an arXiv id."""
    if not arxiv_id:
        return {}
    bare = bare_arxiv_id(arxiv_id) or arxiv_id
    return {
        "archive": "arXiv",
        "archive_location": arxiv_id,
        "URL": f"https://arxiv.org/abs/{bare}",
    }


def is_preprint(item: Item) -> bool:
    """Return True if arXiv is the only place of a paper with an arXiv id."""
    venue, doi = text(item, "container-title"), doi_of(item)
    elsewhere = (venue and not _ARXIV_VENUE.match(venue)) or (doi and not _ARXIV_DOI.match(doi))
    return bool(arxiv_id_of(item)) and not elsewhere


def names_of(item: Item, role: str) -> list[Item]:
    """Return the names of the people in a role; what is not a name is left out."""
    found = item.get(role)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def without_et_al(item: Item) -> Item:
    """Return an item without "et al." among its names, which only BibTeX provides for."""
    named: Item = {
        role: [name for name in names_of(item, role) if name != {"literal": ET_AL}]
        for role in ("author", "editor")
        if role in item
    }
    return {**item, **named}


def full_name(name: Item) -> str:
    """Return a name in the order in which it is spoken."""
    parts = ("given", "dropping-particle", "non-dropping-particle", "family", "suffix")
    spoken = " ".join(str(name[part]) for part in parts if name.get(part))
    return flatten(spoken or str(name.get("literal", "")))


def joined_names(names: Iterable[str]) -> str:
    """Return names as a table has them, with ";" in between if one has a comma: "ACME, Inc."."""
    known = list(filter(None, names))
    return ("; " if any("," in name for name in known) else ", ").join(known)


def separate_names(authors: str) -> list[str]:
    """Return the names in the authors of a table, which ";" separates, else ",".

    One word before or after a single comma is a part of one name: "Müller, Jörg".
    """
    names = list(filter(None, map(flatten, authors.split(";" if ";" in authors else ","))))
    lengths = sorted(len(name.split()) for name in names)
    is_one = lengths in ([1, 1], [1, 2]) and ";" not in authors and " and " not in authors
    return [", ".join(names)] if is_one and names[1] != ET_AL else names


def name_of(written: str) -> Item:
    """Return a name that is written as "Family, Given", "Family, Suffix, Given" or "Given Family".

    Words in lower case before the family name are its particle. A name of one word is that of a
    group or a person; it is not taken apart.
    """
    parts = [flatten(part) for part in written.split(",")]
    if len(parts) > 1:
        suffix = " ".join(parts[1:-1])
        return _without_empty({"family": parts[0], "given": parts[-1], "suffix": suffix})
    *before, family = parts[0].split(" ")
    given = list(itertools.takewhile(lambda word: not word.islower(), before))
    particle = " ".join(before[len(given) :])
    if not given:
        return {"literal": parts[0]}
    made = {"family": family, "given": " ".join(given), "non-dropping-particle": particle}
    return _without_empty(made)


def issued(date: str) -> Item:
    """Return a date as CSL-JSON has it; one that does not begin with a year is kept as text."""
    if known := iso_date(date):
        return {"date-parts": [[int(part) for part in known.split("-")]]}
    return {"literal": date} if date else {}


def date_of(item: Item) -> str:
    """Return the date of publication as "2024-05-17", "2024-05", "2024", or as it is written."""
    found = item.get("issued")
    if not isinstance(found, dict):
        return ""
    first = next(iter(_list(found.get("date-parts"))), None)
    parts = [str(part) for part in _list(first) if part]
    if parts:
        return iso_date("-".join([parts[0], *(part.zfill(2) for part in parts[1:3])]))
    written = flatten(str(found.get("raw") or found.get("literal") or ""))
    return iso_date(written) or written


def joined(values: Iterable[str], separator: str = ", ") -> str:
    """Return the values that are not empty, joined."""
    return separator.join(filter(None, map(flatten, values)))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _without_empty(item: Item) -> Item:
    return {name: value for name, value in item.items() if value}
