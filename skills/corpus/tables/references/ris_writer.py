"""Write references as RIS in UTF-8."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

from skills.corpus.tables.references.item import (
    Item,
    date_of,
    doi_of,
    names_of,
    pmid_of,
    text,
    without_et_al,
)
from skills.corpus.tables.references.notes import without_note
from skills.corpus.tables.references.ris import TEXTS, TYPES
from skills.nanda.paper import iso_date
from skills.nanda.text import flatten

_TYPES = {kind: tag for tag, kind in reversed(TYPES.items())}
"""The first tag of each type of CSL."""


def write(noted: Iterable[tuple[Item, str]], file: IO[bytes]) -> None:
    """Write a record for each item, with its note if it has one."""
    import rispy

    for number, (item, note) in enumerate(noted):
        made = rispy.dumps([_fields(item, note)])
        _, record = made.split("\n", 1)  # it numbers the records, which RIS does not provide for
        file.write(("\n" * bool(number) + record).encode())


def _fields(item: Item, note: str) -> dict[str, Any]:
    """Return the values by rispy's names of the tags."""
    item = without_et_al(item)
    first, _, last = text(item, "page").partition("-")
    own = without_note(str(item.get("note") or ""))
    date = date_of(item)
    fields: dict[str, Any] = {
        "type_of_reference": _TYPES.get(text(item, "type"), "GEN"),
        **{names[0]: text(item, variable) for variable, names in TEXTS.items()},
        "doi": doi_of(item),
        "abstract": flatten(str(item.get("abstract") or "")),
        "authors": list(filter(None, map(_name, names_of(item, "author")))),
        "secondary_authors": list(filter(None, map(_name, names_of(item, "editor")))),
        "year": iso_date(date)[:4],
        "date": iso_date(date).replace("-", "/") or date,
        "start_page": first,
        "end_page": last.strip("-"),
        "keywords": [part.strip() for part in text(item, "keyword").split(",") if part.strip()],
        "urls": list(filter(None, [text(item, "URL")])),
        "notes": list(filter(None, (_on_lines(own), note))),
    }
    if pmid := pmid_of(item):
        fields |= {"accession_number": pmid, "name_of_database": "PubMed"}
    return {name: value for name, value in fields.items() if value}


def _name(name: Item) -> str:
    particles = (text(name, f"{kind}dropping-particle") for kind in ("", "non-"))
    family = " ".join(filter(None, (*particles, text(name, "family") or text(name, "literal"))))
    return ", ".join(filter(None, (family, text(name, "given"), text(name, "suffix"))))


def _on_lines(note: str) -> str:
    """Return a note with its lines but without empty ones, where some programs end a record."""
    return "\n".join(filter(None, map(flatten, note.splitlines())))
