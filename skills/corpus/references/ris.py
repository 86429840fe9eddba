"""Read and write RIS records, and add notes to the records of a file.

Adding notes does not change any other text of the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from harness.errors import InputError
from harness.support.text_input import place
from skills.corpus.references import csl_json as csl
from skills.corpus.tables.text_formats import decoded_lines
from skills.nanda.paper import iso_date
from skills.nanda.text import flatten

TYPES = {
    "JOUR": "article-journal",
    "EJOUR": "article-journal",
    "JFULL": "article-journal",
    "MGZN": "article-magazine",
    "NEWS": "article-newspaper",
    "CONF": "paper-conference",
    "CPAPER": "paper-conference",
    "CHAP": "chapter",
    "ECHAP": "chapter",
    "BOOK": "book",
    "EBOOK": "book",
    "EDBOOK": "book",
    "THES": "thesis",
    "RPRT": "report",
    "UNPB": csl.PREPRINT,
    "ELEC": "webpage",
    "DATA": "dataset",
    "COMP": "software",
}
"""The CSL type of each value of the RIS tag TY."""
TEXTS = {
    "id": ("id",),
    "title": ("title", "primary_title"),
    "abstract": ("abstract", "notes_abstract"),
    "container-title": (
        "secondary_title",
        "alternate_title3",
        "journal_name",
        "alternate_title2",
        "alternate_title1",
    ),
    "volume": ("volume",),
    "issue": ("number",),
    "publisher": ("publisher",),
    "publisher-place": ("place_published",),
    "edition": ("edition",),
    "DOI": ("doi",),
    "ISSN": ("issn",),
    "language": ("language",),
}
"""For each CSL variable, the rispy names of the tags that may contain its value.

Records are written with the first name.
"""

_DATES = ("date", "year", "publication_year")
"""The rispy names of the tags with dates; in files of EndNote, "date" is only a month."""
_LINE = "\v"
_TAG = re.compile(r"\s{0,3}([A-Z][A-Z0-9]) {1,2}-(?: (.*)|)$")
_SUFFIX_LAST = re.compile(r"\A([^,]*),([^,]*\w[^,]*),([^,]*)\Z")
"""Matches "Family, Given, Suffix", as RIS writes a name; `csl.name_of` reads the suffix second."""
_PMID = re.compile(r"(?:PMID: ?)?(\d{1,8})")
_PUBMED = re.compile("pubmed|medline|nlm", re.IGNORECASE)
_TYPES = {kind: tag for tag, kind in reversed(TYPES.items())}
"""The preferred value of TY for each CSL type."""


def read(path: Path) -> Iterator[csl.Record]:
    """Yield the records of a file, and an error for each record that cannot be parsed.

    A record without an end tag ends before the next record.
    """
    for line, lines in _records(path):
        if not line:
            continue
        try:
            yield line, _item(_parsed(lines))
        except (KeyError, TypeError, AttributeError) as exc:
            problem = f"the record that begins here cannot be read ({type(exc).__name__}: {exc})"
            hint = "Each line has a tag, two blanks, a hyphen and a value: AU  - Doe, Jo."
            yield line, InputError(problem, where=place(path, "line", line), hint=hint)


def noted(path: Path, take: Callable[[int], str]) -> Iterator[str]:
    """Yield the text of a file, in pieces, with a note in each annotated record.

    Args:
        take: called with the number of each record, counted from 1 in the order of `read`; returns
            the note of the record, or "".
    """
    row = 0
    for line, lines in _records(path):
        row += bool(line)
        note = take(row) if line else ""
        yield "".join(_annotated(lines, note) if note else lines)


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the first line of each record, from 1, and the lines of the record.

    Lines outside of records are yielded with the number 0.
    """
    lines: list[str] = []
    first = 0
    lines_of_file = decoded_lines(path, lambda line: _tag(line) == "TY")
    for number, line in enumerate(lines_of_file, start=1):
        tag = _tag(line)
        if tag == "TY":
            if lines:
                yield first, lines
            lines, first = [], number
        lines.append(line)
        if tag == "ER" and first:
            yield first, lines
            lines, first = [], 0
    if lines:
        yield first, lines


def _tag(line: str) -> str:
    found = _TAG.match(line.rstrip("\n"))
    return found[1] if found else ""


def _parsed(lines: list[str]) -> Mapping[str, Any]:
    import rispy

    tagged = []
    for line in lines:
        found = _TAG.match(line.rstrip("\n"))
        if found:
            tagged.append(f"{found[1]}  - {found[2] or ''}")
        elif tagged[-1].startswith("N1"):  # rispy would read each line as a separate note
            tagged[-1] += _LINE + line.rstrip("\n")
        else:
            tagged.append(line.rstrip("\n"))
    if _tag(lines[-1]) != "ER":
        tagged.append("ER  - ")
    parsed: Mapping[str, Any] = rispy.loads("\n".join(tagged))[0]
    return parsed


def _item(fields: Mapping[str, Any]) -> csl.Item:
    first, last = (str(fields.get(name, "")).strip() for name in ("start_page", "end_page"))
    # "2024/05/17/Spring" is a date with a season; each part may be empty.
    written = (str(fields[name]).split("/")[:3] for name in _DATES if fields.get(name))
    dates = ["-".join(part.strip() for part in date if part.strip()) for date in written]
    people = fields.get("authors") or fields.get("first_authors") or ()
    urls = [url for url in fields.get("urls", ()) if url]
    # An accession number is a PMID only if the record names PubMed as its database.
    database = f"{fields.get('name_of_database', '')} {fields.get('database_provider', '')}"
    pmid = _PMID.fullmatch(str(fields.get("accession_number", "")).strip())
    item: csl.Item = {
        "type": TYPES.get(fields["type_of_reference"], "document"),
        **{
            variable: next((str(fields[name]) for name in names if fields.get(name)), "")
            for variable, names in TEXTS.items()
        },
        "author": [csl.name_of(_SUFFIX_LAST.sub(r"\1,\3,\2", one)) for one in people],
        "issued": csl.issued(next((date for date in dates if iso_date(date)), "".join(dates[:1]))),
        "note": "\n\n".join(fields.get("notes", ())).replace(_LINE, "\n"),
        "page": f"{first}-{last}" if first and last and "-" not in first else first,
        "keyword": csl.joined(fields.get("keywords", ())),
        "URL": urls[0] if urls else "",
        "PMID": pmid[1] if pmid and _PUBMED.search(database) else "",
    }
    return {name: value for name, value in item.items() if value}


def _annotated(lines: list[str], note: str) -> list[str]:
    """Return the lines of a record with a note before the end tag, and without an older note."""
    kept: list[str] = []
    ours = False
    for line in lines:
        tag = _tag(line)
        ours = csl.HEADING in line if tag == "N1" else ours and not tag and bool(line.strip())
        if not ours:
            kept.append(line)
    behind = max(place for place, line in enumerate(kept, start=1) if line.strip())
    end = next((place for place, line in enumerate(kept) if _tag(line) == "ER"), behind)
    before = kept[:end]
    if before and not before[-1].endswith("\n"):
        before[-1] += "\n"
    return [*before, f"N1  - {note}\n", *(kept[end:] or ["ER  - \n"])]


def write(noted: Iterable[tuple[csl.Item, str]], file: IO[bytes]) -> None:
    """Write a RIS record for each item.

    Args:
        noted: each item, and its note or "".
    """
    import rispy

    for number, (item, note) in enumerate(noted):
        made = rispy.dumps([_fields(item, note)])
        # rispy writes a number before each record, which RIS does not allow.
        _, record = made.split("\n", 1)
        file.write(("\n" * bool(number) + record).encode())


def _fields(item: csl.Item, note: str) -> dict[str, Any]:
    """Return the fields of a record under the names that rispy uses."""
    item = csl.without_et_al(item)
    first, _, last = csl.text(item, "page").partition("-")
    date = csl.date_of(item)
    # Empty lines are removed, since some programs end a record at an empty line.
    own = csl.without_note(str(item.get("note") or "")).splitlines()
    note_lines = "\n".join(filter(None, map(flatten, own)))

    def names(role: str) -> list[str]:
        inverted = map(csl.inverted_name, csl.names_of(item, role))
        orders = ((family, given, suffix) for family, suffix, given in inverted)
        return [", ".join(filter(None, parts)) for parts in orders if any(parts)]

    fields: dict[str, Any] = {
        "type_of_reference": _TYPES.get(csl.text(item, "type"), "GEN"),
        **{names[0]: csl.text(item, variable) for variable, names in TEXTS.items()},
        "doi": csl.doi_of(item),
        "abstract": flatten(str(item.get("abstract") or "")),
        "authors": names("author"),
        "secondary_authors": names("editor"),
        "year": iso_date(date)[:4],
        "date": iso_date(date).replace("-", "/") or date,
        "start_page": first,
        "end_page": last.strip("-"),
        "keywords": [part.strip() for part in csl.text(item, "keyword").split(",") if part.strip()],
        "urls": list(filter(None, [csl.text(item, "URL")])),
        "notes": list(filter(None, (note_lines, note))),
    }
    if pmid := csl.pmid_of(item):
        fields |= {"accession_number": pmid, "name_of_database": "PubMed"}
    return {name: value for name, value in fields.items() if value}
