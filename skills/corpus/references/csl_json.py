"""References as items of CSL-JSON: their fields and files, and notes of annotations.

CSL-JSON is the form in which citation processors and reference managers exchange references
(https://docs.citationstyles.org). Of its variables, "archive" and "archive_location" hold an arXiv
id, and "keyword" the categories.

The note of an annotation contains a line for each stated move and each suggestion:

Annotation by nanda-harness:
Claim: ...
Method (uncertain, 0.35): ...
Suggestion for Novelty (0.21): ...
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from harness.errors import InputError
from harness.support.text_input import MAX_ROW, check_row, place, reading, shown
from skills.corpus.identity.identifiers import written_doi
from skills.corpus.records import Annotated
from skills.corpus.tables.text_tables import encoding_of
from skills.nanda.confidence import from_sections, labelled_suggestions, uncertainty
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper, bare_arxiv_id, find_arxiv_id, iso_date
from skills.nanda.text import flatten

Item = dict[str, Any]

SOURCE_KEYS = ("citekey", "doi", "pmid", "arxiv_id", "venue", "year")
"""The fields of a reference that are kept in the source of a paper."""
COLUMNS = ("id", "title", "abstract", "authors", "published", "categories", "venue", "doi", "pmid")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
"""Abbreviated English names of months, as used in BibTeX and PubMed."""
ET_AL = "et al."
"""The last name of a shortened list of authors."""
PREPRINT = "article"
"""The type of a preprint in CSL; the type in a journal is "article-journal"."""

_PMID = re.compile(r"\bPMID: ?(\d{1,8})\b")
_ARXIV_DOI = re.compile(r"10\.48550/arxiv\.(.+)", re.IGNORECASE)
_ARXIV_VENUE = re.compile(r"(?:arxiv|corr\b)", re.IGNORECASE)
_JATS = re.compile(
    r"<(?:jats:)?title>[^<]{0,40}</(?:jats:)?title>"
    r"|</?(?:jats:)?(?:p|sec|italic|bold|sub|sup|i|b|strong|em)>",
    re.IGNORECASE,
)
"""Matches the markup that Crossref adds to abstracts."""
_BEGIN = re.compile(r'\s*(?:\{[^\[{]*"items"\s*:\s*)?\[\s*\]?')
"""Matches the beginning of a list of items, or of an object with a list, as in Zotero's API."""
_NEXT = re.compile(r"\s*(?:,\s*(?=\S)|\])")
_BLOCK = 64_000
_HINT = 'CSL-JSON is a list of objects with "type" and "title".'
HEADING = "Annotation by nanda-harness:"
NONE_STATED = "The abstract states none of the moves."
_OURS = re.compile(rf"\s*{HEADING}.*?(?=\n[ \t]*\n|\Z)", re.DOTALL)
"""Matches a note up to the next empty line, or to the end if a program has joined its lines."""


@dataclass(frozen=True, slots=True)
class Record:
    """A reference in a file.

    Attributes:
        position: the first line of the reference, or its number in CSL-JSON.
        item: the reference as an item of CSL-JSON; empty if there is an error.
        error: the reason why it cannot be read, or None.
    """

    position: int
    item: Item = field(default_factory=dict)
    error: InputError | None = None


def row_of(item: Item) -> dict[str, str]:
    """Return an item as a row of a table, with the fields that the source of a paper keeps.

    The id is the arXiv id of a preprint, or else the key of the entry, the DOI or the PMID.
    """
    doi, arxiv_id = doi_of(item), arxiv_id_of(item)
    key, pmid, venue = text(item, "id"), pmid_of(item), text(item, "container-title")
    published = date_of(item)
    own_key = "" if key.startswith("http") else key  # addresses of items in Zotero are not keys
    return {
        "id": (bare_arxiv_id(arxiv_id) if is_preprint(item) else "") or own_key or doi or pmid,
        "title": text(item, "title"),
        "abstract": without_jats(str(item.get("abstract") or "")).strip(),
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
        known: further facts under `SOURCE_KEYS`, from the input of its annotation.
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
    """Return a value on one line, or "" if it is neither text nor a number."""
    value = item.get(name)
    return flatten(str(value)) if isinstance(value, (str, int)) else ""


def without_jats(abstract: str) -> str:
    """Return an abstract without the markup of JATS and without the heading "Abstract"."""
    return _JATS.sub(" ", abstract)


def doi_of(item: Item) -> str:
    """Return the DOI of an item without an address, or ""."""
    return written_doi(text(item, "DOI"))


def pmid_of(item: Item) -> str:
    """Return the PubMed id of an item, which Zotero writes into the note, or ""."""
    found = _PMID.search(text(item, "note"))
    return text(item, "PMID") or (found[1] if found else "")


def arxiv_id_of(item: Item) -> str:
    """Return the arXiv id as written in the item, with or without version, or ""."""
    if "arxiv" in text(item, "archive").lower() and text(item, "archive_location"):
        return text(item, "archive_location")
    if found := _ARXIV_DOI.fullmatch(doi_of(item)):
        return found[1]
    places = (text(item, name) for name in ("number", "container-title", "URL"))
    return next(filter(None, map(find_arxiv_id, places)), "")


def archive(arxiv_id: str) -> Item:
    """Return the variables for an arXiv id."""
    if not arxiv_id:
        return {}
    bare = bare_arxiv_id(arxiv_id) or arxiv_id
    return {
        "archive": "arXiv",
        "archive_location": arxiv_id,
        "URL": f"https://arxiv.org/abs/{bare}",
    }


def is_preprint(item: Item) -> bool:
    """Return True if an item has an arXiv id and no other place of publication."""
    venue, doi = text(item, "container-title"), doi_of(item)
    elsewhere = (venue and not _ARXIV_VENUE.match(venue)) or (doi and not _ARXIV_DOI.match(doi))
    return bool(arxiv_id_of(item)) and not elsewhere


def names_of(item: Item, role: str) -> list[Item]:
    """Return the names of people in a role; ignore values that are not names."""
    found = item.get(role)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def without_et_al(item: Item) -> Item:
    """Return an item without the name "et al.", which only BibTeX supports."""
    named: Item = {
        role: [name for name in names_of(item, role) if name != {"literal": ET_AL}]
        for role in ("author", "editor")
        if role in item
    }
    return {**item, **named}


def full_name(name: Item) -> str:
    """Return a full name in spoken order."""
    parts = ("given", "dropping-particle", "non-dropping-particle", "family", "suffix")
    spoken = " ".join(str(name[part]) for part in parts if name.get(part))
    return flatten(spoken or str(name.get("literal", "")))


def inverted_name(name: Item) -> tuple[str, str, str]:
    """Return family name with particles (or the whole name), suffix, and given name."""
    particles = (text(name, f"{kind}dropping-particle") for kind in ("", "non-"))
    family = " ".join(filter(None, (*particles, text(name, "family") or text(name, "literal"))))
    return family, text(name, "suffix"), text(name, "given")


def joined_names(names: Iterable[str]) -> str:
    """Return names as one text for a table, separated by ";" if a name contains a comma."""
    known = list(filter(None, names))
    return ("; " if any("," in name for name in known) else ", ").join(known)


def separate_names(authors: str) -> list[str]:
    """Return the names in the authors of a table, which are separated by ";" or else by ",".

    A single word before or after the only comma is part of one name: "Müller, Jörg".
    """
    names = list(filter(None, map(flatten, authors.split(";" if ";" in authors else ","))))
    lengths = sorted(len(name.split()) for name in names)
    is_one = lengths in ([1, 1], [1, 2]) and ";" not in authors and " and " not in authors
    return [", ".join(names)] if is_one and names[1] != ET_AL else names


def name_of(written: str) -> Item:
    """Return a name written as "Family, Given", "Family, Suffix, Given" or "Given Family".

    Words in lower case before the family name are its particle. A name of a single word may be a
    group or a person, and is not divided.
    """
    parts = [flatten(part) for part in written.split(",")]
    if len(parts) > 1:
        made = {"family": parts[0], "given": parts[-1], "suffix": " ".join(parts[1:-1])}
    else:
        *before, family = parts[0].split(" ")
        given = list(itertools.takewhile(lambda word: not word.islower(), before))
        if not given:
            return {"literal": parts[0]}
        particle = " ".join(before[len(given) :])
        made = {"family": family, "given": " ".join(given), "non-dropping-particle": particle}
    return {role: part for role, part in made.items() if part}


def issued(date: str) -> Item:
    """Return a date in the form of CSL-JSON.

    A date that does not begin with a year remains text.
    """
    if known := iso_date(date):
        return {"date-parts": [[int(part) for part in known.split("-")]]}
    return {"literal": date} if date else {}


def month_number(name: str) -> int:
    """Return 1 to 12 for the English name of a month or its beginning, or 0 for other text."""
    return MONTHS.index(name[:3].lower()) + 1 if name[:3].lower() in MONTHS else 0


def date_of(item: Item) -> str:
    """Return the date of publication as "2024-05-17", "2024-05" or "2024", or as written."""
    found = item.get("issued")
    if not isinstance(found, dict):
        return ""
    dates = found.get("date-parts")
    first = dates[0] if isinstance(dates, list) and dates else None
    parts = [str(part) for part in first if part] if isinstance(first, list) else []
    if parts:
        return iso_date("-".join([parts[0], *(part.zfill(2) for part in parts[1:3])]))
    written = flatten(str(found.get("raw") or found.get("literal") or ""))
    return iso_date(written) or written


def joined(values: Iterable[str], separator: str = ", ") -> str:
    """Return the values that are not empty, joined."""
    return separator.join(filter(None, map(flatten, values)))


def read(path: Path) -> Iterator[Record]:
    """Yield the items of a file, and an error for each value that is not an item.

    Raises:
        InputError: the file is not JSON, or not a list of items.
    """
    if not sum(map(_is_item, _items(path))):
        raise InputError("is not CSL-JSON", where=shown(path), hint=_HINT)
    for number, found in enumerate(_items(path), start=1):
        if _is_item(found):
            yield Record(number, found)
        else:
            error = InputError(
                "is not an item of CSL-JSON", where=place(path, "item", number), hint=_HINT
            )
            yield Record(number, error=error)


def noted(path: Path, take: Callable[[int], str]) -> Iterator[str]:
    """Yield the items of a file as JSON in pieces, with their notes.

    Args:
        take: returns the note of the item with this number.
    """

    def items() -> Iterator[Any]:
        for number, item in enumerate(_items(path), start=1):
            if isinstance(item, dict) and (note := take(number)):
                before = item.get("note")
                item["note"] = with_note(before if isinstance(before, str) else "", note)
            yield item

    return as_json(items())


def write(noted: Iterable[tuple[Item, str]], file: IO[bytes]) -> None:
    """Write an array of items with their notes."""

    def items() -> Iterator[Item]:
        for item, note in noted:
            before = item.get("note")
            made = with_note(before if isinstance(before, str) else "", note)
            yield without_et_al({**item, "note": made} if note else item)

    for piece in as_json(items()):
        file.write(piece.encode())


def as_json(items: Iterable[Any]) -> Iterator[str]:
    """Yield a list of items as JSON, in pieces."""
    before = "[\n"
    for item in items:
        yield before + json.dumps(item, ensure_ascii=False, indent=2)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _items(path: Path) -> Iterator[Any]:
    """Yield the values of the list in a file, with only a block of the file in memory.

    Raises:
        InputError: the file is not JSON, or a value is too large.
    """
    decode, number, lines, at = json.JSONDecoder().raw_decode, 0, 0, 0
    with reading(path), path.open(encoding=encoding_of(path)) as file:
        text = file.read(_BLOCK)
        after = _BEGIN.match(text)
        while after is not None and not after[0].endswith("]"):
            at, number = after.end(), number + 1
            while True:  # read more of the file until the value and the comma after it are complete
                found, after, problem = None, None, None
                try:
                    found, end = decode(text, at)
                    after = _NEXT.match(text, end)
                except json.JSONDecodeError as exc:
                    problem = exc
                except (ValueError, RecursionError) as exc:
                    where = place(path, "item", number)
                    raise InputError(
                        f"cannot be read as JSON ({exc})", where=where, hint=_HINT
                    ) from exc
                size = len(text) - at
                if after is not None:
                    break
                check_row(size, path, "item", number)
                if not (more := file.read(min(max(_BLOCK, size), MAX_ROW - size + 1))):
                    break
                lines += text.count("\n", 0, at)
                text, at = text[at:] + more, 0
            if after is None:
                problem = problem or json.JSONDecodeError("Expecting ',' delimiter", text, end)
                raise InputError(
                    f"is not JSON ({problem.msg})",
                    where=f"{place(path, 'line', lines + problem.lineno)}, column {problem.colno}",
                    hint=_HINT,
                )
            yield found


def _is_item(found: Any) -> bool:
    return isinstance(found, dict) and isinstance(found.get("type"), str)


def note_of(item: Annotated, framework: Framework) -> str:
    """Return the note of an annotation, without empty lines.

    The note has a line for each stated move, and a line for each suggestion.
    """
    stated = framework.stated(item.record)
    found, labels = {**from_sections(item.record), **stated}, framework.labels
    lines = [
        f"{labels[name]}{uncertainty(item.record, name)}: {flatten(found[name])}"
        for name in framework.names
        if name in found
    ] or [NONE_STATED]
    lines += [f"{label}: {text}" for label, text in labelled_suggestions(item.record, labels)]
    return "\n".join((HEADING, *lines))


def with_note(text: str, note: str) -> str:
    """Return `text` with the note in place of an earlier note, or else at the end."""
    kept = without_note(text)
    return f"{kept}\n\n{note}" if kept else note


def without_note(text: str) -> str:
    return _OURS.sub("", text).strip()


class NotesByRow:
    """The notes of the rows of a file, taken in the order of the file.

    Args:
        items: annotations of rows of the file, in the order of the file.
    """

    def __init__(self, items: Iterable[Annotated], framework: Framework) -> None:
        self._notes = (
            (int(item.paper.source.get("row", 0)), note_of(item, framework)) for item in items
        )
        self._next = next(self._notes, None)

    def take(self, row: int) -> str:
        """Return the note of a row, or ""; the row must follow the rows taken before."""
        while self._next is not None and self._next[0] < row:
            self._next = next(self._notes, None)
        return self._next[1] if self._next is not None and self._next[0] == row else ""
