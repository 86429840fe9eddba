"""Read and write BibTeX and BibLaTeX entries, and add notes to the entries of a file.

Adding notes changes no other text of the file, except that an encoding that is declared in the
first line becomes UTF-8. A file is parsed in pieces of several blocks (entries, strings and
comments). A piece ends before a line that begins a block. At such a line, bibtexparser also ends an
unclosed block.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from harness.errors import InputError
from harness.support.text_input import check_row, place
from skills.corpus.references import csl_json as csl
from skills.corpus.tables.text_formats import decoded_lines
from skills.corpus.tex import escaped, plain_field
from skills.nanda.paper import iso_date
from skills.nanda.text import flatten

if TYPE_CHECKING:
    from bibtexparser.model import Block, Entry, ParsingFailedBlock

PIECE = 200
"""Maximum number of blocks in a piece."""
PIECE_CHARS = 500_000
"""Number of characters after which a piece ends before the next block."""
NOTE_FIELDS = ("annote", "annotation")
"""The possible names of the field for private notes, which bibliography styles do not print."""

_BLOCK = re.compile(r"\s*@\w*[ \t]*[{(]")
_ENCODING = re.compile(r"\A(%[ %]*Encoding: *)[\w-]+", re.IGNORECASE)
_PARTS = re.compile(r'(?<!\\)[{}"#]')
TYPES = {
    "article": "article-journal",
    "inproceedings": "paper-conference",
    "conference": "paper-conference",
    "incollection": "chapter",
    "inbook": "chapter",
    "book": "book",
    "proceedings": "book",
    "phdthesis": "thesis",
    "mastersthesis": "thesis",
    "thesis": "thesis",
    "techreport": "report",
    "report": "report",
    "unpublished": "manuscript",
    "online": "webpage",
    "dataset": "dataset",
    "software": "software",
}
"""The CSL type of each BibTeX entry type."""
_BIBLATEX = ("online", "dataset", "software")
"""BibLaTeX entry types that are written as "misc", since BibTeX lacks these types."""
_VARIABLES = {
    "title": ("title",),
    "abstract": ("abstract",),
    "container-title": ("journal", "journaltitle", "booktitle"),
    "volume": ("volume",),
    "page": ("pages",),
    "publisher": ("publisher", "institution", "school"),
    "publisher-place": ("address", "location"),
    "edition": ("edition",),
    "ISBN": ("isbn",),
    "ISSN": ("issn",),
    "language": ("langid", "language"),
}
_NOTES = ("note", *NOTE_FIELDS)
_KEYWORDS = ("primaryclass", "eprintclass", "keywords")
_VERBATIM = {"DOI": "doi", "URL": "url", "PMID": "pmid"}
_TYPES = {
    **{kind: name for name, kind in reversed(TYPES.items()) if name not in _BIBLATEX},
    "article-magazine": "article",
    "article-newspaper": "article",
}
"""The preferred entry type of BibTeX for each CSL type."""
_PUBLISHERS = {"phdthesis": "school", "techreport": "institution"}
_KEY = re.compile(r"[A-Za-z][\w:.+-]*")
_DIGEST = re.compile(r"[0-9a-f]{12}")
_CAPITALS = re.compile(r"[^\s{}\\]*[^\W\d_][A-Z][^\s{}\\]*")
"""Matches words with a capital after the first letter, which styles would change."""
_ARXIV_CATEGORY = re.compile(r"[a-z-]+(?:\.[A-Za-z-]+)?")


def read(path: Path) -> Iterator[csl.Record]:
    """Yield the entries of a file, and an error for each block that cannot be parsed."""
    from bibtexparser.model import Entry, String

    strings = {name: str(number) for number, name in enumerate(csl.MONTHS, start=1)}
    size = 0
    for first, piece in _pieces(path):
        for block in _blocks(piece):
            line = first + (block.start_line or 0)
            check = partial(check_row, path=path, unit="line", position=line)
            found = _record(block)
            if isinstance(found, Entry):
                try:
                    yield line, _item(found, strings, check)
                except InputError as exc:
                    yield line, exc
            elif found is not None:
                reason = getattr(found.error, "abort_reason", "") or str(found.error)
                reason = flatten(reason).rstrip(".")
                problem = f"the entry that begins here is not valid BibTeX ({reason})"
                hint = "Is a brace or a comma missing?"
                yield line, InputError(problem, where=place(path, "line", line), hint=hint)
            elif isinstance(block, String):
                value = strings[block.key.lower()] = _value(str(block.value), strings, check)
                size += len(value)
                check(size)


def noted(path: Path, take: Callable[[int], str]) -> Iterator[str]:
    """Yield the text of a file, in pieces, with a note in each annotated entry.

    Args:
        take: returns the note of a valid entry, or "". The argument is the position of the entry
            among the items that `read` yields (entries and errors), counted from 1.
    """
    from bibtexparser.model import Entry

    row = 0
    for first, piece in _pieces(path):
        done = 0
        if first == 1:
            piece = _ENCODING.sub(r"\1UTF-8", piece, count=1)
        for block in _blocks(piece):
            entry = _record(block)
            row += entry is not None
            if isinstance(entry, Entry) and entry.raw and (note := take(row)):
                begin = piece.index(entry.raw, done)
                yield piece[done:begin] + _annotated(entry, note)
                done = begin + len(entry.raw)
        yield piece[done:]


def _pieces(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number of the first line of each piece of a file, and the text of the piece."""
    lines: list[str] = []
    first, blocks, size = 1, 0, 0
    for number, line in enumerate(decoded_lines(path, _BLOCK.match), start=1):
        if _BLOCK.match(line):
            if blocks == PIECE or size > PIECE_CHARS:
                yield first, "".join(lines)
                lines, first, blocks, size = [], number, 0, 0
            blocks += 1
        lines.append(line)
        size += len(line)
    yield first, "".join(lines)


def _blocks(text: str) -> list[Block]:
    from bibtexparser.splitter import Splitter

    # bibtexparser must not log invalid blocks, since `read` yields them as errors.
    logging.getLogger("bibtexparser").setLevel(logging.CRITICAL)
    return list(Splitter(text).split().blocks)


def _record(block: Block) -> Entry | ParsingFailedBlock | None:
    """Return the entry or the invalid entry in a block, or None for a block of another kind.

    An entry is valid even if its key or one of its fields is repeated.
    """
    from bibtexparser.model import Entry, ParsingFailedBlock

    while isinstance(block, ParsingFailedBlock) and block.ignore_error_block is not None:
        block = block.ignore_error_block
    if isinstance(block, Entry):
        return block
    is_comment = (block.raw or "").lower().startswith("@comment")
    return block if isinstance(block, ParsingFailedBlock) and not is_comment else None


def _item(entry: Entry, strings: Mapping[str, str], check: Callable[[int], None]) -> csl.Item:
    """Return an entry as an item of CSL-JSON.

    Args:
        strings: the values of @string blocks, by name.
        check: called with the number of characters read so far; raises an InputError if the entry
            is too large.
    """
    fields: dict[str, str] = {}
    size = 0
    for one in entry.fields:
        value = _value(one.value, strings, check)
        fields.setdefault(one.key.lower(), value)
        size += len(value)
        check(size)
    texts = {
        name: plain_field(next(filter(None, map(fields.get, names)), ""))
        for name, names in _VARIABLES.items()
    }
    archive_name = fields.get("eprinttype") or fields.get("archiveprefix", "")
    is_arxiv = archive_name.strip().lower() == "arxiv"
    arxiv_id = _verbatim(fields.get("eprint", "")) if is_arxiv else ""
    number = plain_field(fields.get("number") or fields.get("issue", ""))
    item: csl.Item = {
        "id": entry.key,
        "type": TYPES.get(entry.entry_type, csl.PREPRINT if arxiv_id else "document"),
        **texts,
        "page": texts["page"].replace("\N{EN DASH}", "-"),
        "number" if number.lower().startswith("arxiv") else "issue": number,
        "author": _names(fields.get("author", "")),
        "editor": _names(fields.get("editor", "")),
        "issued": _issued(fields),
        "note": "\n\n".join(plain_field(fields[name]) for name in _NOTES if fields.get(name)),
        "keyword": csl.joined(plain_field(fields.get(name, "")) for name in _KEYWORDS),
        **{name: _verbatim(fields.get(key, "")) for name, key in _VERBATIM.items()},
    }
    item |= {name: value for name, value in csl.archive(arxiv_id).items() if not item.get(name)}
    return {name: value for name, value in item.items() if value}


def _value(
    written: str, strings: Mapping[str, str], check: Callable[[int], None] = lambda _: None
) -> str:
    """Return a field value without outer braces and quotes, with @strings inserted.

    Parts that are concatenated with # are joined.
    """
    text = ""
    for part in map(str.strip, _concatenated(written)):
        enclosed = len(part) > 1 and (part[0], part[-1]) in (("{", "}"), ('"', '"'))
        text += part[1:-1] if enclosed else strings.get(part.lower(), part)
        check(len(text))
    return text


def _concatenated(written: str) -> Iterator[str]:
    depth, begin, quoted = 0, 0, False
    for mark in _PARTS.finditer(written):
        if mark[0] == "{":
            depth += 1
        elif mark[0] == "}":
            depth -= 1
        elif depth == 0 and mark[0] == '"':
            quoted = not quoted
        elif depth == 0 and not quoted and mark[0] == "#":
            yield written[begin : mark.start()]
            begin = mark.end()
    yield written[begin:]


def _verbatim(value: str) -> str:
    """Return a verbatim value, such as a URL, without braces and TeX escapes."""
    return re.sub(r"\\([_%&#])|[{}]", lambda found: found[1] or "", value).strip()


def _names(field: str) -> list[csl.Item]:
    if not field:
        return []
    from bibtexparser.middlewares.names import (
        parse_single_name_into_parts,
        split_multiple_persons_names,
    )

    found = []
    for name in split_multiple_persons_names(field):
        if name.startswith("{") and name.endswith("}") and name.count("{") == 1:
            found.append({"literal": plain_field(name)})
            continue
        if name.lower() == "others":
            found.append({"literal": csl.ET_AL})
            continue
        parts = parse_single_name_into_parts(name, strict=False)
        made = {
            "family": " ".join(parts.last),
            "given": " ".join(parts.first),
            "non-dropping-particle": " ".join(parts.von),
            "suffix": " ".join(parts.jr),
        }
        found.append({role: plain_field(text) for role, text in made.items() if text})
    return found


def _issued(fields: Mapping[str, str]) -> csl.Item:
    """Return the date of an entry in the form of CSL-JSON; for a period, its first date."""
    if date := fields.get("date", "").partition("/")[0].strip():
        return csl.issued(date)
    year = plain_field(fields.get("year", "")).strip()
    month = fields.get("month", "").strip("# ")  # JabRef writes #mar#
    if not (csl.month_number(month) or month.isdecimal()):  # a text such as "1st quarter"
        month = ""
    date = csl.date_from(year, month, fields.get("day", ""))
    return csl.issued(date if year.isdecimal() else year)


def _annotated(entry: Entry, note: str) -> str:
    """Return the text of an entry with a note; an earlier note of an annotation is replaced."""
    raw = entry.raw or ""
    done = 0
    for field in entry.fields:
        begin = raw.index(field.value, raw.index("=", raw.index(field.key, done)) + 1)
        done = begin + len(field.value)
        if field.key.lower() in NOTE_FIELDS:
            noted = csl.with_note(_value(field.value, {}), escaped(note))
            return f"{raw[:begin]}{{{noted}}}{raw[done:]}"
    body, closing = raw[:-1].rstrip(), raw[-1]
    comma = "" if body.endswith(",") else ","
    indent = re.search(r"\n([ \t]+)\S", raw)
    added = f"{indent[1] if indent else '  '}{NOTE_FIELDS[0]} = {{{escaped(note)}}}"
    return f"{body}{comma}\n{added}{',' * (not comma)}\n{closing}"


def write(noted: Iterable[tuple[csl.Item, str]], file: IO[bytes]) -> None:
    """Write an entry for each item.

    Args:
        noted: each item, and its note or "".
    """
    used: set[str] = set()
    for number, (item, note) in enumerate(noted):
        kind = _TYPES.get(csl.text(item, "type"), "misc")
        fields = [f"  {name} = {value},\n" for name, value in _fields(item, kind, note) if value]
        key, count = _key(item), 2
        while key.casefold() in used:
            key, count = f"{key}-{count}", count + 1
        used.add(key.casefold())
        entry = f"@{kind}{{{key},\n{''.join(fields)}}}\n"
        file.write(("\n" * bool(number) + entry).encode())


def _fields(item: csl.Item, kind: str, note: str) -> Iterator[tuple[str, str]]:
    """Yield the names and values of BibTeX fields; the value is "" if `item` lacks the field.

    Values are written as in a file: in braces, or as the name of a month.
    """

    def verbatim(text: str) -> str:
        # `_verbatim` and other readers remove braces.
        return _braced(text.replace("{", "%7B").replace("}", "%7D"))

    def value(variable: str) -> str:
        return _braced(escaped(csl.text(item, variable)))

    date, arxiv_id = csl.date_of(item), csl.arxiv_id_of(item)
    year, month, day = (*iso_date(date).split("-"), "", "")[:3]
    category = csl.text(item, "keyword").partition(",")[0].strip()
    yield "title", _braced(_CAPITALS.sub(r"{\g<0>}", escaped(csl.text(item, "title"))))
    for role in ("author", "editor"):
        yield role, _braced(" and ".join(map(_name, csl.names_of(item, role))))
    yield "year", _braced(escaped(year or date))
    yield "month", csl.MONTHS[int(month) - 1] if month else ""
    yield "day", _braced(day.lstrip("0"))
    is_part = kind in ("inproceedings", "incollection")
    yield "booktitle" if is_part else "journal", value("container-title")
    yield "volume", value("volume")
    yield "number", value("issue")
    yield "edition", value("edition")
    yield "pages", re.sub(r"(?<=\w)-(?=\w)", "--", value("page"), count=1)
    yield _PUBLISHERS.get(kind, "publisher"), value("publisher")
    yield "address", value("publisher-place")
    yield "doi", verbatim(csl.doi_of(item))
    yield "url", verbatim(csl.text(item, "URL"))
    yield "pmid", verbatim(csl.pmid_of(item))
    if arxiv_id:
        yield "eprint", verbatim(arxiv_id)
        yield "archiveprefix", "{arXiv}"
        yield "primaryclass", _braced(category if _ARXIV_CATEGORY.fullmatch(category) else "")
    yield "isbn", value("ISBN")
    yield "issn", value("ISSN")
    yield "langid", value("language")
    yield "abstract", _braced(escaped(flatten(str(item.get("abstract") or ""))))
    yield "keywords", value("keyword")
    yield "note", _braced(escaped(csl.without_note(str(item.get("note") or ""))))
    yield NOTE_FIELDS[0], _braced(escaped(note))


def _name(name: csl.Item) -> str:
    if not name.get("family"):
        literal = csl.text(name, "literal")
        return "others" if literal == csl.ET_AL else f"{{{escaped(literal)}}}"
    return ", ".join(escaped(part) for part in csl.inverted_name(name) if part)


def _key(item: csl.Item) -> str:
    """Return the BibTeX key of an item: its id, or a key such as "muller2024".

    A digest of an abstract, or an id that is not a valid key (for example a DOI), is replaced by
    the name of the first author and the year. If the name has no Latin letters, only the invalid
    characters of the id are replaced.
    """
    key = csl.text(item, "id")
    if _KEY.fullmatch(key) and not _DIGEST.fullmatch(key):
        return key
    first = next(iter(csl.names_of(item, "author")), {})
    name = csl.text(first, "family") or csl.text(first, "literal").partition(" ")[0]
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    if made := re.sub(r"\W", "", plain):
        return f"{made}{iso_date(csl.date_of(item))[:4]}"
    return re.sub(r"[^\w:.+-]+", "-", key) or "paper"


def _braced(value: str) -> str:
    return f"{{{value}}}" if value else ""
