"""Read, write and convert references in CSL-JSON, and format the notes of annotations.

Citation processors and reference managers exchange references in CSL-JSON
(https://docs.citationstyles.org). This module reads and writes the arXiv id in the variables
"archive" and "archive_location", and the categories in "keyword".

The note of an annotation has one line for each stated move and each suggestion:

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
from pathlib import Path
from typing import IO, Any

from harness.errors import InputError
from harness.support.text_input import MAX_ROW, check_row, place, reading, shown
from skills.corpus.identity.identifiers import arxiv, written_doi
from skills.corpus.records import Annotated
from skills.corpus.tables.saved_tables import json_list, write_json_list
from skills.corpus.tables.text_formats import encoding_of
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper, bare_arxiv_id, find_arxiv_id, iso_date
from skills.nanda.remarks import labelled_suggestions, stated_in_paper, uncertainty
from skills.nanda.text import flatten

Item = dict[str, Any]
Record = tuple[int, Item | InputError]
"""A reference in a file: the number of its first line, and the item of CSL-JSON or an error.

In a CSL-JSON file, the number is the position in the list, from 1.
"""

SOURCE_KEYS = ("citekey", "doi", "pmid", "arxiv_id", "venue", "year")
"""The fields of a reference that are kept in `Paper.source`."""
COLUMNS = ("id", "title", "abstract", "authors", "published", "categories", "venue", "doi", "pmid")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
"""The abbreviated English names of the months in BibTeX and PubMed."""
ET_AL = "et al."
"""The text at the end of a shortened list of authors, in place of the omitted names."""
PREPRINT = "article"
"""The CSL type of a preprint; an article in a journal has the type "article-journal"."""

_PMID = re.compile(r"\bPMID: ?(\d{1,8})\b")
_ARXIV_VENUE = re.compile(r"(?:arxiv|corr\b)", re.IGNORECASE)
_JATS = re.compile(
    r"<(?:jats:)?title>[^<]{0,40}</(?:jats:)?title>"
    r"|</?(?:jats:)?(?:p|sec|italic|bold|sub|sup|i|b|strong|em)>",
    re.IGNORECASE,
)
"""Matches the JATS markup in Crossref's abstracts."""
_BEGIN = re.compile(r'\s*(?:\{[^\[{]*"items"\s*:\s*)?\[\s*\]?')
"""Matches the beginning of a list of items, or of an object with the list "items"."""
_NEXT = re.compile(r"\s*(?:,\s*(?=\S)|\])")
_BLOCK = 64_000
_HINT = 'CSL-JSON is a list of objects with "type" and "title".'
HEADING = "Annotation by nanda-harness:"
NONE_STATED = "The abstract states none of the moves."
_OURS = re.compile(rf"\s*{HEADING}.*?(?=\n[ \t]*\n|\Z)", re.DOTALL)
"""Matches the note of an annotation, up to an empty line or the end of the text."""


def row_of(item: Item) -> dict[str, str]:
    """Return an item as a row of a table, with the columns `COLUMNS` and `SOURCE_KEYS`.

    The id is the arXiv id if the item is a preprint, or else the key, the DOI or the PMID. A key
    that is a URL, as of a Zotero item, is not used as id.
    """
    doi, arxiv_id = doi_of(item), arxiv_id_of(item)
    key, pmid, published = text(item, "id"), pmid_of(item), date_of(item)
    own_key = "" if key.startswith("http") else key
    return {
        "id": (bare_arxiv_id(arxiv_id) if is_preprint(item) else "") or own_key or doi or pmid,
        "title": text(item, "title"),
        "abstract": without_jats(str(item.get("abstract") or "")).strip(),
        "authors": joined_names(map(full_name, names_of(item, "author"))),
        "published": published,
        "categories": text(item, "keyword"),
        "venue": text(item, "container-title"),
        "doi": doi,
        "pmid": pmid,
        "citekey": key,
        "arxiv_id": arxiv_id,
        "year": iso_date(published)[:4],
    }


def item_of(paper: Paper, known: Mapping[str, Any]) -> Item:
    """Return a paper as an item of CSL-JSON.

    Args:
        known: other facts under the names `SOURCE_KEYS`; the facts of the paper take precedence.
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


def text(found: Any, *names: str) -> str:
    """Return the string or integer at a path of nested keys as text on one line, or ""."""
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    known = isinstance(found, (str, int)) and not isinstance(found, bool)
    return flatten(str(found)) if known else ""


def objects(found: Any) -> list[Item]:
    """Return the JSON objects in a list; [] if `found` is not a list."""
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def without_jats(abstract: str) -> str:
    """Return an abstract without JATS markup and without headings in <title> elements."""
    return _JATS.sub(" ", abstract)


def doi_of(item: Item) -> str:
    """Return the DOI of an item without a URL prefix, or ""."""
    return written_doi(text(item, "DOI"))


def pmid_of(item: Item) -> str:
    """Return the PubMed id of an item, or ""; Zotero stores the id in the note."""
    found = _PMID.search(text(item, "note"))
    return text(item, "PMID") or (found[1] if found else "")


def arxiv_id_of(item: Item) -> str:
    """Return the arXiv id of an item, or ""; only `archive_location` may state a version."""
    if "arxiv" in text(item, "archive").lower() and text(item, "archive_location"):
        return text(item, "archive_location")
    places = (text(item, name) for name in ("number", "container-title", "URL"))
    return arxiv(doi_of(item)) or next(filter(None, map(find_arxiv_id, places)), "")


def archive(arxiv_id: str) -> Item:
    """Return the CSL-JSON variables that contain an arXiv id, or {} for ""."""
    if not arxiv_id:
        return {}
    bare = bare_arxiv_id(arxiv_id) or arxiv_id
    return {
        "archive": "arXiv",
        "archive_location": arxiv_id,
        "URL": f"https://arxiv.org/abs/{bare}",
    }


def is_preprint(item: Item) -> bool:
    """Return True if an item has an arXiv id, and no venue or DOI other than arXiv's."""
    venue, doi = text(item, "container-title"), doi_of(item)
    elsewhere = (venue and not _ARXIV_VENUE.match(venue)) or (doi and not arxiv(doi))
    return bool(arxiv_id_of(item)) and not elsewhere


def names_of(item: Item, role: str) -> list[Item]:
    """Return the names in a role, such as "author"; values that are not objects are omitted."""
    return objects(item.get(role))


def without_et_al(item: Item) -> Item:
    """Return an item without the name "et al."; only BibTeX has a name for omitted authors."""
    named: Item = {
        role: [name for name in names_of(item, role) if name != {"literal": ET_AL}]
        for role in ("author", "editor")
        if role in item
    }
    return {**item, **named}


def full_name(name: Item) -> str:
    """Return a name in spoken order: given name, particles, family name, suffix."""
    parts = ("given", "dropping-particle", "non-dropping-particle", "family", "suffix")
    spoken = " ".join(str(name[part]) for part in parts if name.get(part))
    return flatten(spoken or str(name.get("literal", "")))


def inverted_name(name: Item) -> tuple[str, str, str]:
    """Return the family name (with its particles), the suffix, and the given name.

    For a name that is not divided, the family name is the whole name.
    """
    particles = (text(name, f"{kind}dropping-particle") for kind in ("", "non-"))
    family = " ".join(filter(None, (*particles, text(name, "family") or text(name, "literal"))))
    return family, text(name, "suffix"), text(name, "given")


def joined_names(names: Iterable[str]) -> str:
    """Return names joined with "; " if a name contains a comma, or else with ", "."""
    known = list(filter(None, names))
    return ("; " if any("," in name for name in known) else ", ").join(known)


def separate_names(authors: str) -> list[str]:
    """Split a text of authors at each ";", or else at each ",", and return the names.

    A single comma is part of a name if there is one word on one side of the comma, and at most two
    words on the other: "Müller, Jörg" is one name.
    """
    names = list(filter(None, map(flatten, authors.split(";" if ";" in authors else ","))))
    lengths = sorted(len(name.split()) for name in names)
    is_one = lengths in ([1, 1], [1, 2]) and ";" not in authors and " and " not in authors
    return [", ".join(names)] if is_one and names[1] != ET_AL else names


def name_of(written: str) -> Item:
    """Return a name in CSL-JSON from "Family, Given", "Family, Suffix, Given" or "Given Family".

    In the last form, words in lower case before the family name are its particle. A text without a
    given name becomes a "literal", since it may be the name of a group.
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
    """Return a date in the form of CSL-JSON, or {} for "".

    A date that does not begin with a year is returned as text under the key "literal".
    """
    if known := iso_date(date):
        return {"date-parts": [[int(part) for part in known.split("-")]]}
    return {"literal": date} if date else {}


def month_number(name: str) -> int:
    """Return the number of a month from the beginning of its English name; 0 for other texts."""
    return MONTHS.index(name[:3].lower()) + 1 if name[:3].lower() in MONTHS else 0


def date_from(year: str, month: str, day: str) -> str:
    """Return a date such as "2024-05-17" from its parts, of which month and day may be "".

    The month is a number or an English name.
    """
    number = str(month_number(month) or month)
    parts = [year, number.zfill(2), day.zfill(2)]
    return "-".join(parts[: 1 + bool(number) + bool(number and day)])


def date_of(item: Item) -> str:
    """Return the date of publication as "2024-05-17", "2024-05" or "2024", or "".

    A date in another form is returned as written.
    """
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


def joined(values: Iterable[str]) -> str:
    """Join the non-empty values by ", "; line breaks within a value become blanks."""
    return ", ".join(filter(None, map(flatten, values)))


def read(path: Path) -> Iterator[Record]:
    """Yield the items of a file, and an error for each value in the list that is not an item.

    Raises:
        InputError: the file is not JSON, or contains no item.
    """
    if not sum(map(_is_item, _items(path))):
        raise InputError("is not CSL-JSON", where=shown(path), hint=_HINT)
    for number, found in enumerate(_items(path), start=1):
        if _is_item(found):
            yield number, found
        else:
            where = place(path, "item", number)
            yield number, InputError("is not an item of CSL-JSON", where=where, hint=_HINT)


def noted(path: Path, take: Callable[[int], str]) -> Iterator[str]:
    """Yield the items of a file as JSON, in pieces, with a note in each annotated item.

    Args:
        take: called with the number of each item, counted from 1; returns the note of the item, or
            "".
    """
    return json_list(
        (
            _with_note(item, take(number)) if isinstance(item, dict) else item
            for number, item in enumerate(_items(path), start=1)
        ),
        indent=2,
    )


def write(noted: Iterable[tuple[Item, str]], file: IO[bytes]) -> None:
    """Write a JSON array of items.

    Args:
        noted: each item, and its note or "".
    """
    items = (without_et_al(_with_note(item, note)) for item, note in noted)
    write_json_list(file, items, indent=2)


def _with_note(item: Item, note: str) -> Item:
    """Return an item with `note` added to its note; if `note` is "", return the item unchanged."""
    before = item.get("note")
    text = with_note(before if isinstance(before, str) else "", note)
    return {**item, "note": text} if note else item


def _items(path: Path) -> Iterator[Any]:
    """Yield the values of the list in a JSON file; only a part of the file is in memory.

    Raises:
        InputError: the file is not JSON, or a value is too large.
    """
    decode, number, lines, at = json.JSONDecoder().raw_decode, 0, 0, 0
    with reading(path), path.open(encoding=encoding_of(path)) as file:
        text = file.read(_BLOCK)
        after = _BEGIN.match(text)
        while after is not None and not after[0].endswith("]"):
            at, number = after.end(), number + 1
            while True:  # read on until the value and the next comma are complete
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
    """Return the note of an annotation; the note contains no empty line.

    The note has a heading, one line for each move that the abstract or a section states, and one
    line for each suggestion.
    """
    labels = framework.labels
    lines = [
        f"{labels[move]}{uncertainty(item.record, move)}: {flatten(text)}"
        for move, text in stated_in_paper(item.record, framework).items()
    ] or [NONE_STATED]
    lines += [f"{label}: {text}" for label, text in labelled_suggestions(item.record, labels)]
    return "\n".join((HEADING, *lines))


def with_note(text: str, note: str) -> str:
    """Return `text` without an earlier note of an annotation, and with `note` at the end."""
    kept = without_note(text)
    return f"{kept}\n\n{note}" if kept else note


def without_note(text: str) -> str:
    """Return a text without the note of an annotation."""
    return _OURS.sub("", text).strip()
