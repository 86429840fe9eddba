"""Write references as BibTeX in UTF-8."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import IO

from skills.corpus.tables.references.bibtex import NOTE_FIELDS
from skills.corpus.tables.references.item import (
    ET_AL,
    MONTHS,
    Item,
    arxiv_id_of,
    date_of,
    doi_of,
    names_of,
    pmid_of,
    text,
)
from skills.corpus.tables.references.notes import without_note
from skills.corpus.tables.references.tex import escaped
from skills.nanda.paper import iso_date
from skills.nanda.text import flatten

_TYPES = {
    "article-journal": "article",
    "article-magazine": "article",
    "article-newspaper": "article",
    "paper-conference": "inproceedings",
    "chapter": "incollection",
    "book": "book",
    "thesis": "phdthesis",
    "report": "techreport",
    "manuscript": "unpublished",
}
_PUBLISHERS = {"phdthesis": "school", "techreport": "institution"}
_KEY = re.compile(r"[A-Za-z][\w:.+-]*")
_DIGEST = re.compile(r"[0-9a-f]{12}")
_CAPITALS = re.compile(r"[^\s{}\\]*[^\W\d_][A-Z][^\s{}\\]*")
"""Words with a capital behind their first letter, which styles would write in lower case."""
_ARXIV_CATEGORY = re.compile(r"[a-z-]+(?:\.[A-Za-z-]+)?")


def write(noted: Iterable[tuple[Item, str]], file: IO[bytes]) -> None:
    """Write an entry for each item, with its note if it has one."""
    from bibtexparser.library import Library
    from bibtexparser.model import Entry, Field
    from bibtexparser.writer import BibtexFormat
    from bibtexparser.writer import write as written

    style = BibtexFormat()  # type: ignore[no-untyped-call]
    style.indent, style.trailing_comma = "  ", True
    used: set[str] = set()
    for number, (item, note) in enumerate(noted):
        kind = _TYPES.get(text(item, "type"), "misc")
        fields = [Field(name, value) for name, value in _fields(item, kind, note) if value]
        entry = Entry(kind, _unused(_key(item), used), fields)
        made = written(Library([entry]), style)
        file.write(("\n" * bool(number) + made).encode())


def _fields(item: Item, kind: str, note: str) -> Iterator[tuple[str, str]]:
    """Yield the fields of an entry with their values in braces, "" for one without a value."""
    date, arxiv_id = date_of(item), arxiv_id_of(item)
    year, month, day = (*iso_date(date).split("-"), "", "")[:3]
    category = text(item, "keyword").partition(",")[0].strip()
    venue = "booktitle" if kind in ("inproceedings", "incollection") else "journal"
    yield "title", _braced(_CAPITALS.sub(r"{\g<0>}", escaped(text(item, "title"))))
    for role in ("author", "editor"):
        yield role, _balanced(" and ".join(map(_name, names_of(item, role))))
    yield "year", _braced(escaped(year or date))
    yield "month", MONTHS[int(month) - 1] if month else ""
    yield "day", _braced(day.lstrip("0"))
    yield venue, _braced(escaped(text(item, "container-title")))
    for name, variable in (("volume", "volume"), ("number", "issue"), ("edition", "edition")):
        yield name, _braced(escaped(text(item, variable)))
    yield "pages", _braced(re.sub(r"(?<=\w)-(?=\w)", "--", escaped(text(item, "page")), count=1))
    yield _PUBLISHERS.get(kind, "publisher"), _braced(escaped(text(item, "publisher")))
    yield "address", _braced(escaped(text(item, "publisher-place")))
    for name, value in (("doi", doi_of(item)), ("url", text(item, "URL")), ("pmid", pmid_of(item))):
        yield name, _balanced(value)
    if arxiv_id:
        yield "eprint", _balanced(arxiv_id)
        yield "archiveprefix", "{arXiv}"
        yield "primaryclass", _braced(category if _ARXIV_CATEGORY.fullmatch(category) else "")
    for name in ("ISBN", "ISSN"):
        yield name.lower(), _braced(escaped(text(item, name)))
    yield "langid", _braced(escaped(text(item, "language")))
    yield "abstract", _braced(escaped(flatten(str(item.get("abstract") or ""))))
    yield "keywords", _braced(escaped(text(item, "keyword")))
    yield "note", _braced(escaped(without_note(str(item.get("note") or ""))))
    yield NOTE_FIELDS[0], _braced(escaped(note))


def _name(name: Item) -> str:
    if not name.get("family"):
        literal = text(name, "literal")
        return "others" if literal == ET_AL else f"{{{escaped(literal)}}}"
    particles = (text(name, f"{kind}dropping-particle") for kind in ("", "non-"))
    family = " ".join(filter(None, (*particles, text(name, "family"))))
    parts = (family, text(name, "suffix"), text(name, "given"))
    return ", ".join(escaped(part) for part in parts if part)


def _key(item: Item) -> str:
    """Return the key of an item, else one like "mueller2024" instead of a DOI or an arXiv id."""
    key = text(item, "id")
    if _KEY.fullmatch(key) and not _DIGEST.fullmatch(key):
        return key
    first = next(iter(names_of(item, "author")), {})
    name = text(first, "family") or text(first, "literal").partition(" ")[0]
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    made = re.sub(r"\W", "", plain)
    return (
        f"{made}{iso_date(date_of(item))[:4]}"
        if made
        else re.sub(r"[^\w:.+-]+", "-", key) or "paper"
    )


def _unused(key: str, used: set[str]) -> str:
    """Return the key, with a number if another entry has it."""
    made, number = key, 2
    while made.casefold() in used:
        made, number = f"{key}-{number}", number + 1
    used.add(made.casefold())
    return made


def _braced(value: str) -> str:
    return f"{{{value}}}" if value else ""


def _balanced(value: str) -> str:
    """Return a value with balanced braces as it is, others without them."""
    depth = 0
    for char in value:
        depth += (char == "{") - (char == "}")
        if depth < 0:
            break
    return _braced(value if depth == 0 else re.sub("[{}]", "", value))
