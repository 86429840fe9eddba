"""Convert an item of Zotero to a reference, an item of CSL-JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from skills.corpus.tables.references.item import Item, archive, issued, joined
from skills.nanda.paper import find_arxiv_id

VARIABLES = {
    "title": "title",
    "abstractNote": "abstract",
    "publicationTitle": "container-title",
    "conferenceName": "event-title",
    "volume": "volume",
    "issue": "issue",
    "number": "number",
    "pages": "page",
    "publisher": "publisher",
    "place": "publisher-place",
    "edition": "edition",
    "DOI": "DOI",
    "url": "URL",
    "ISBN": "ISBN",
    "ISSN": "ISSN",
    "language": "language",
    "archive": "archive",
    "archiveLocation": "archive_location",
    "extra": "note",
}
"""Variables of CSL-JSON by the base field of Zotero: that of all item types for the same."""
CITATION_KEY = "citation-key"
"""The variable of CSL-JSON that programs know a reference by."""

_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?: |$)")
_EXTRA = re.compile(r"^(DOI|PMID|Citation Key) ?: ?(\S.*)$", re.IGNORECASE | re.MULTILINE)
_IN_EXTRA = {"doi": "DOI", "pmid": "PMID", "citation key": CITATION_KEY}

Creator = Sequence[Any]
"""A creator as (role, given name, family name, 1 for a name in one field)."""


def reference(fields: Mapping[str, Any], creators: Iterable[Creator], tags: Iterable[str]) -> Item:
    """Return the reference of an item.

    Args:
        fields: the values of its base fields.
        creators: in their order.
        tags: in their order.
    """
    extra = str(fields.get("extra") or "")
    found = {name: str(fields[field]) for field, name in VARIABLES.items() if fields.get(field)}
    for name, value in _EXTRA.findall(extra):
        found.setdefault(_IN_EXTRA[name.lower()], value.strip())
    if native := fields.get("citationKey"):
        found[CITATION_KEY] = str(native)
    people = list(creators)
    made: Item = {
        **found,
        "container-title": found.get("container-title") or found.get("event-title", ""),
        "author": [_name(one) for one in people if one[0] == "author"],
        "editor": [_name(one) for one in people if one[0] == "editor"],
        "issued": _issued(str(fields.get("date") or "")),
        "keyword": joined(tags),
    }
    # The arXiv id is in Extra ("arXiv:1706.03762 [cs]") or, of a preprint, in its number.
    arxiv_id = find_arxiv_id(found.get("number", "")) or find_arxiv_id(extra)
    made |= {name: value for name, value in archive(arxiv_id or "").items() if not made.get(name)}
    return {name: value for name, value in made.items() if value}


def _name(creator: Creator) -> Item:
    _, given, family, in_one_field = creator
    if in_one_field:
        return {"literal": family or given or ""}
    return {name: text for name, text in (("family", family), ("given", given)) if text}


def _issued(written: str) -> Item:
    """Return a date, which Zotero stores as "2024-05-00 May 2024", with zeros for what is unknown.

    "0000-00-00 in press" has only text.
    """
    parts = _DATE.match(written)
    if parts is None:
        return issued(written)
    known = [part for part in parts.groups() if part.strip("0")]
    return issued("-".join(known) if parts[1] != "0000" else written[len(parts[0]) :].strip())
