"""Read a library of Zotero as a table of papers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.support.reading.text_input import at_home
from skills.corpus.db.temporary import open_temporary
from skills.corpus.identity.identifiers import ZOTERO
from skills.corpus.tables.columns import Reader
from skills.corpus.tables.references.item import COLUMNS, SOURCE_KEYS, row_of, text
from skills.corpus.tables.zotero import citation_keys, selection, snapshot
from skills.corpus.tables.zotero.mapping import CITATION_KEY, reference

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


def database_in(path: Path) -> Path | None:
    """Return the database that a path names: itself, or the one in Zotero's data directory."""
    place = at_home(path)
    try:
        if (place / snapshot.FILE).is_file():
            return place / snapshot.FILE
        return place if path.suffix.lower() == SUFFIX and not place.is_dir() else None
    except (OSError, ValueError):  # a name that is too long; a NUL in it
        return None


class ZoteroReader(Reader):
    """Reader of a library, which is read once: Zotero may change it between two passes.

    The rows are kept in a temporary database.
    """

    unit = "item"
    source_keys = (*SOURCE_KEYS, ZOTERO)
    has_ids_of_several_sources = True

    def __init__(
        self, path: Path, database: Path, collection: str | None, tags: Sequence[str]
    ) -> None:
        super().__init__(path)
        self._database = database
        self._selected = collection, tags
        self._rows: sqlite3.Connection | None = None

    def header(self) -> tuple[str, ...]:
        self._read()
        return COLUMNS

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
        for number, row in self._read().execute("SELECT number, row FROM rows ORDER BY number"):
            yield number, json.loads(row)

    def _read(self) -> sqlite3.Connection:
        if self._rows is None:
            rows = open_temporary("CREATE TABLE rows (number INTEGER PRIMARY KEY, row TEXT)")
            with snapshot.opened(self._database) as db:
                selection.select(db, self.path, *self._selected)
                citation_keys.load_citation_keys(db, self._database)
                for row in _rows(db):
                    rows.execute("INSERT INTO rows (row) VALUES (?)", [json.dumps(row)])
            self._rows = rows
        return self._rows


def _rows(db: sqlite3.Connection) -> Iterator[dict[str, str]]:
    """Yield the rows of the items that are chosen."""
    user = _user(db)
    for key, kind, group, citation_key, fields, creators, tags in db.execute(_ITEMS):
        item = reference(json.loads(fields), json.loads(creators), json.loads(tags))
        row = row_of({"id": key, **item})
        library = f"groups/{group}" if kind == "group" else f"users/{user}"
        row["citekey"] = text(item, CITATION_KEY) or citation_key or ""
        row[ZOTERO] = f"{library}/items/{key}"
        yield row


def _user(db: sqlite3.Connection) -> Any:
    """Return the id of the user's account, "local" without one."""
    sql = "SELECT value FROM settings WHERE setting = 'account' AND key = 'userID'"
    found = db.execute(sql).fetchone()
    return found[0] if found and found[0] else "local"
