"""Read a Zotero library, a collection or the items with given tags as a table of papers.

The path of a collection consists of the names of its parent collections and its own name, separated
by "/". In a group, the path begins with the name of the group. The name of a group alone selects
all items of the group.
"""

from __future__ import annotations

import functools
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import InputError, did_you_mean
from harness.support.text_input import at_home, shown
from skills.corpus.db.connection import open_temporary
from skills.corpus.identity.identifiers import ZOTERO
from skills.corpus.references import csl_json as csl
from skills.corpus.references import zotero_database
from skills.corpus.tables.columns import Reader
from skills.nanda.paper import find_arxiv_id
from skills.nanda.text import listed

SUFFIX = ".sqlite"

_ITEMS = """
    SELECT items.key, type, groupID, citationKey, (
        SELECT json_group_object(coalesce(base.fieldName, own.fieldName), value)
        FROM itemData JOIN itemDataValues USING (valueID)
            JOIN fieldsCombined AS own ON own.fieldID = itemData.fieldID
            LEFT JOIN baseFieldMappingsCombined AS mapping
                ON mapping.itemTypeID = items.itemTypeID AND mapping.fieldID = itemData.fieldID
            LEFT JOIN fieldsCombined AS base ON base.fieldID = mapping.baseFieldID
        WHERE itemData.itemID = items.itemID
    ), (
        SELECT json_group_array(json_array(role, firstName, lastName, fieldMode)) FROM (
            SELECT iif(primaryField, 'author', creatorType) AS role, firstName, lastName, fieldMode
            FROM itemCreators JOIN creators USING (creatorID)
                JOIN creatorTypes USING (creatorTypeID)
                LEFT JOIN itemTypeCreatorTypes AS of_type
                    ON of_type.itemTypeID = items.itemTypeID
                    AND of_type.creatorTypeID = itemCreators.creatorTypeID
            WHERE itemID = items.itemID ORDER BY orderIndex
        )
    ), (
        SELECT json_group_array(name) FROM (
            SELECT name FROM itemTags JOIN tags USING (tagID)
            WHERE itemID = items.itemID ORDER BY itemTags.rowid
        )
    )
    FROM chosen JOIN items USING (itemID) JOIN libraries USING (libraryID)
        LEFT JOIN groups USING (libraryID) LEFT JOIN citationKeys USING (itemID)
    ORDER BY itemID
"""
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
"""The CSL-JSON variable of each Zotero base field; item types share base fields."""
CITATION_KEY = "citation-key"
"""The CSL-JSON variable with the key by which a text cites a reference."""
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?: |$)")
_EXTRA = re.compile(r"^(DOI|PMID|Citation Key) ?: ?(\S.*)$", re.IGNORECASE | re.MULTILINE)
_IN_EXTRA = {"doi": "DOI", "pmid": "PMID", "citation key": CITATION_KEY}
Creator = Sequence[Any]
"""A creator: role, given name, family name, and 1 if the name is a single field."""
_LISTED = 12
_KEPT = """
    CREATE TEMP VIEW kept AS
        SELECT * FROM collections
        WHERE collectionID NOT IN (SELECT collectionID FROM deletedCollections)
"""
_COLLECTIONS = """
    WITH RECURSIVE paths(path, library, id) AS (
        SELECT coalesce(groups.name || '/', '') || collectionName, libraryID, collectionID
            FROM kept LEFT JOIN groups USING (libraryID) WHERE parentCollectionID IS NULL
        UNION ALL
        SELECT path || '/' || collectionName, library, collectionID
            FROM kept JOIN paths ON parentCollectionID = id
    )
    SELECT path, library, id FROM paths UNION ALL SELECT name, libraryID, NULL FROM groups
    ORDER BY path
"""
_WITHIN = """
    WITH RECURSIVE within(id) AS (
        VALUES (?) UNION SELECT collectionID FROM kept JOIN within ON parentCollectionID = id
    )
    INSERT INTO chosen
        SELECT DISTINCT itemID FROM collectionItems JOIN within ON collectionID = id
"""
_NO_PAPERS = """
    DELETE FROM chosen WHERE itemID IN (SELECT itemID FROM deletedItems)
        OR itemID NOT IN (SELECT itemID FROM items JOIN itemTypesCombined USING (itemTypeID)
            WHERE typeName NOT IN ('attachment', 'note', 'annotation'))
"""


def database_in(path: Path) -> Path | None:
    """Return the path of the database of Zotero that `path` names, or None.

    The database is the file zotero.sqlite in the folder `path`, or `path` itself if `path` is not a
    folder and has the suffix .sqlite.
    """
    place = at_home(path)
    try:
        if (place / zotero_database.FILE).is_file():
            return place / zotero_database.FILE
        return place if path.suffix.lower() == SUFFIX and not place.is_dir() else None
    except (OSError, ValueError):  # the path is too long, or contains a NUL
        return None


class ZoteroReader(Reader):
    """Reads the selected items of a library as rows.

    The library is read only once, and kept in a temporary database: Zotero could change the library
    between two passes.
    """

    unit = "item"
    source_keys = (*csl.SOURCE_KEYS, ZOTERO)
    has_ids_of_several_sources = True

    def __init__(
        self, path: Path, database: Path, collection: str | None, tags: Sequence[str]
    ) -> None:
        super().__init__(path)
        self._database = database
        self._selected = collection, tags

    def header(self) -> tuple[str, ...]:
        _ = self._rows  # reads the library, so that a faulty library raises an error here
        return csl.COLUMNS

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
        for number, row in self._rows.execute("SELECT number, row FROM rows ORDER BY number"):
            yield number, json.loads(row)

    @functools.cached_property
    def _rows(self) -> sqlite3.Connection:
        """A temporary database with the rows as JSON."""
        rows = open_temporary("CREATE TABLE rows (number INTEGER PRIMARY KEY, row TEXT)")
        with zotero_database.opened(self._database) as db:
            select(db, self.path, *self._selected)
            zotero_database.load_citation_keys(db, self._database)
            for row in _rows(db):
                rows.execute("INSERT INTO rows (row) VALUES (?)", [json.dumps(row)])
        return rows


def _rows(db: sqlite3.Connection) -> Iterator[dict[str, str]]:
    """Yield a row for each item in the table `chosen`: the columns of `row_of`, and `ZOTERO`."""
    account = "SELECT value FROM settings WHERE setting = 'account' AND key = 'userID'"
    known = db.execute(account).fetchone()
    user = known[0] if known and known[0] else "local"
    for key, kind, group, citation_key, fields, creators, tags in db.execute(_ITEMS):
        item = reference(json.loads(fields), json.loads(creators), json.loads(tags))
        row = csl.row_of({"id": key, **item})
        library = f"groups/{group}" if kind == "group" else f"users/{user}"
        row["citekey"] = csl.text(item, CITATION_KEY) or citation_key or ""
        row[ZOTERO] = f"{library}/items/{key}"
        yield row


def reference(
    fields: Mapping[str, Any], creators: Iterable[Creator], tags: Iterable[str]
) -> csl.Item:
    """Return an item of Zotero as an item of CSL-JSON.

    Args:
        fields: the values of the item's base fields, by name.
        creators: the creators, in order.
        tags: the tags, in order.
    """
    extra = str(fields.get("extra") or "")
    found = {name: str(fields[field]) for field, name in VARIABLES.items() if fields.get(field)}
    for name, value in _EXTRA.findall(extra):
        found.setdefault(_IN_EXTRA[name.lower()], value.strip())
    if native := fields.get("citationKey"):
        found[CITATION_KEY] = str(native)
    people = list(creators)
    made: csl.Item = {
        **found,
        "container-title": found.get("container-title") or found.get("event-title", ""),
        "author": [_name(one) for one in people if one[0] == "author"],
        "editor": [_name(one) for one in people if one[0] == "editor"],
        "issued": _issued(str(fields.get("date") or "")),
        "keyword": csl.joined(tags),
    }
    # The arXiv id is in the number of a preprint, or in the field Extra: "arXiv:1706.03762 [cs]".
    arxiv_id = find_arxiv_id(found.get("number", "")) or find_arxiv_id(extra)
    made |= {
        name: value for name, value in csl.archive(arxiv_id or "").items() if not made.get(name)
    }
    return {name: value for name, value in made.items() if value}


def _name(creator: Creator) -> csl.Item:
    _, given, family, in_one_field = creator
    if in_one_field:
        return {"literal": family or given or ""}
    return {name: text for name, text in (("family", family), ("given", given)) if text}


def _issued(written: str) -> csl.Item:
    """Return a date of Zotero, such as "2024-05-00 May 2024", in CSL-JSON; 00 means unknown.

    A date such as "0000-00-00 in press" becomes the text "in press".
    """
    parts = _DATE.match(written)
    if parts is None:
        return csl.issued(written)
    known = [part for part in parts.groups() if part.strip("0")]
    return csl.issued("-".join(known) if parts[1] != "0000" else written[len(parts[0]) :].strip())


def select(db: sqlite3.Connection, path: Path, collection: str | None, tags: Sequence[str]) -> None:
    """Create the temporary table `chosen` with the ids of the selected items.

    Attachments, notes, PDF annotations and items in the trash are not selected.

    Args:
        collection: the path of a collection or group, or the end of the path; None for all items of
            the user's own library.
        tags: names of tags; an item must have all these tags.

    Raises:
        InputError: the collection or a tag does not exist, several collections match, or no item is
            selected.
    """
    db.execute("CREATE TEMP TABLE chosen (itemID INTEGER PRIMARY KEY)")
    if collection is None:
        db.execute(
            "INSERT INTO chosen SELECT itemID FROM items JOIN libraries USING (libraryID)"
            " WHERE type = 'user'"
        )
    else:
        library, chosen = _named(db, path, collection)
        if chosen is None:
            every = "INSERT INTO chosen SELECT itemID FROM items WHERE libraryID = ?"
            db.execute(every, [library])
        else:
            db.execute(_WITHIN, [chosen])
    db.execute(_NO_PAPERS)
    for tag in tags:
        db.execute(
            "DELETE FROM chosen WHERE itemID NOT IN"
            " (SELECT itemID FROM itemTags JOIN tags USING (tagID) WHERE name = ?)",
            [_tag(db, path, tag)],
        )
    if db.execute("SELECT 1 FROM chosen LIMIT 1").fetchone() is None:
        raise _nothing(db, path, collection, tags)


def _named(db: sqlite3.Connection, path: Path, name: str) -> tuple[int, int | None]:
    """Find the collection or group whose path is `name`, or else whose path ends with `name`.

    Case is ignored only if no path matches in the case of `name`.

    Returns:
        The id of the library and the id of the collection. The second id is None for a group, which
        has all items of its library.

    Raises:
        InputError: no collection or group matches, or several match.
    """
    wanted = name.strip().strip("/")
    # Zotero 5 has no trash for collections, and therefore lacks this table.
    db.execute("CREATE TABLE IF NOT EXISTS deletedCollections (collectionID INTEGER PRIMARY KEY)")
    db.execute(_KEPT)
    known = db.execute(_COLLECTIONS).fetchall()
    for of in (str, str.casefold):
        exact = [one for one in known if of(one[0]) == of(wanted)]
        ends = [one for one in known if of(one[0]).endswith(f"/{of(wanted)}")]
        found = exact or ends
        if len(found) > 1:
            raise InputError(
                f"{len(found)} collections are named {name!r}",
                where=shown(path),
                hint=f"Give the path of a collection: {_listed(path for path, *_ in found)}.",
            )
        if found:
            _, library, chosen = found[0]
            return library, chosen
    raise _unknown("collection", name, [one for one, *_ in known], path)


def _tag(db: sqlite3.Connection, path: Path, name: str) -> str:
    """Return the tag that equals `name` when case is ignored, in the library's spelling.

    A tag with the same case as `name` takes precedence.

    Raises:
        InputError: the library has no such tag.
    """
    used = "SELECT DISTINCT name FROM tags JOIN itemTags USING (tagID) ORDER BY name"
    known = [tag for (tag,) in db.execute(used)]
    alike = [tag for tag in known if tag.casefold() == name.strip().casefold()]
    if not alike:
        raise _unknown("tag", name, known, path)
    return name.strip() if name.strip() in alike else alike[0]


def _unknown(what: str, name: str, known: Sequence[str], path: Path) -> InputError:
    names = {one.rpartition("/")[2].casefold(): one for one in known}
    names |= {one.casefold(): one for one in known}
    near = did_you_mean(name.casefold(), names, lambda found: repr(names[found]))
    named = f"{what.capitalize()}s: {_listed(known)}." if known else f"The library has no {what}s."
    return InputError(f"there is no {what} {name[:60]!r}", where=shown(path), hint=near or named)


def _nothing(
    db: sqlite3.Connection, path: Path, collection: str | None, tags: Sequence[str]
) -> InputError:
    if tags or collection is not None:
        place = f" in the collection {collection!r}" if collection is not None else ""
        tagged = f" with {' and '.join(map(repr, tags))}" if tags else ""
        return InputError(f"there is no item{place}{tagged}", where=shown(path))
    groups = [name for (name,) in db.execute("SELECT name FROM groups ORDER BY name")]
    hint = f"`--collection NAME` reads a group: {_listed(groups)}." if groups else None
    return InputError("the library has no items", where=shown(path), hint=hint)


def _listed(names: Iterable[str]) -> str:
    return listed(map(repr, names), _LISTED)
