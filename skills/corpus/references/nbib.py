"""Read .nbib files, in which PubMed saves references."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.support.text_input import place
from skills.corpus.references import csl_json as csl
from skills.corpus.tables.text_formats import decoded_lines
from skills.nanda.text import flatten

_VARIABLES = {
    "title": "title",
    "abstract": "abstract",
    "container-title": "journal",
    "volume": "journal_volume",
    "issue": "journal_issue",
    "page": "pages",
    "publisher-place": "place_of_publication",
    "language": "language",
    "DOI": "doi",
    "PMID": "pubmed_id",
}
_FAULTS = (ValueError, IndexError, OverflowError)
"""Errors of the package nbib for an invalid number or date, or for a line without a tag."""
_DATE = re.compile(
    r"(?P<year>\d{4})(?: (?P<month>[A-Za-z]{3})(?:-[A-Za-z]{3})?(?: (?P<day>\d{1,2}))?)?"
)


def read(path: Path) -> Iterator[csl.Record]:
    """Yield the records of a file, and an error for each record that is not valid."""
    import nbib

    for line, text in _records(path):
        try:
            yield line, _item(nbib.read(text)[0])
        except (*_FAULTS, nbib.exceptions.MalformedLine, nbib.exceptions.UnknownTagFormat) as exc:
            problem = f"the record that begins here cannot be read ({flatten(str(exc))[:80]})"
            hint = "Each line has a tag of four characters, a hyphen, a blank and a value."
            yield line, InputError(problem, where=place(path, "line", line), hint=hint)


def _records(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number of the first line and the text of each record between blank lines."""
    numbered = enumerate(decoded_lines(path, str.isspace), start=1)
    for is_blank, lines in itertools.groupby(numbered, key=lambda one: not one[1].strip()):
        if not is_blank:
            numbers, texts = zip(*lines, strict=True)
            yield numbers[0], "".join(texts) + "\n\n"


def _item(fields: Mapping[str, Any]) -> csl.Item:
    people = (
        one.get("author") or one.get("author_abbreviated") for one in _list(fields, "authors")
    )
    group = fields.get("corporate_author")
    item: csl.Item = {
        "type": "article-journal",
        **{name: str(fields.get(key) or "") for name, key in _VARIABLES.items()},
        "author": [
            *map(csl.name_of, filter(None, people)),
            *([{"literal": group}] if group else ()),
        ],
        "issued": csl.issued(_date(str(fields.get("publication_date", "")))),
        "keyword": csl.joined(_list(fields, "keywords")),
    }
    return {name: value for name, value in item.items() if value}


def _list(fields: Mapping[str, Any], name: str) -> list[Any]:
    found = fields.get(name)
    return found if isinstance(found, list) else []


def _date(written: str) -> str:
    """Return a date such as "2020-03-05" for "2020 Mar 5", or "2020-Fal" for "2020 Fall".

    `csl.issued` ignores such a season. A text that does not begin with a year is returned
    unchanged.
    """
    found = _DATE.match(written)
    return csl.date_from(*found.groups(default="")) if found else written
