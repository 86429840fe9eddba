"""Create libraries of Zotero: a database with the tables of Zotero 10 that hold its items.

The names and columns are those of resource/schema/userdata.sql and system.sql in zotero/zotero.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

SCHEMA, COMPATIBILITY = 129, 9
USER, GROUP, FEED = 1, 2, 3
"""Libraries: the user's own, that of a group, and a feed."""

TABLES = {
    "version": "schema TEXT PRIMARY KEY, version INT NOT NULL",
    "settings": "setting TEXT, key TEXT, value, PRIMARY KEY (setting, key)",
    "libraries": "libraryID INTEGER PRIMARY KEY, type TEXT NOT NULL, editable INT, version INT",
    "groups": "groupID INTEGER PRIMARY KEY, libraryID INT NOT NULL UNIQUE, name TEXT NOT NULL,"
    " description TEXT NOT NULL, version INT NOT NULL",
    "itemTypesCombined": "itemTypeID INT NOT NULL PRIMARY KEY, typeName TEXT NOT NULL, custom INT",
    "fieldsCombined": "fieldID INT NOT NULL PRIMARY KEY, fieldName TEXT NOT NULL, custom INT",
    "baseFieldMappingsCombined": "itemTypeID INT, baseFieldID INT, fieldID INT,"
    " PRIMARY KEY (itemTypeID, baseFieldID, fieldID)",
    "creatorTypes": "creatorTypeID INTEGER PRIMARY KEY, creatorType TEXT",
    "itemTypeCreatorTypes": "itemTypeID INT, creatorTypeID INT, primaryField INT,"
    " PRIMARY KEY (itemTypeID, creatorTypeID)",
    "items": "itemID INTEGER PRIMARY KEY, itemTypeID INT NOT NULL, dateAdded TIMESTAMP,"
    " libraryID INT NOT NULL, key TEXT NOT NULL, version INT NOT NULL DEFAULT 0,"
    " UNIQUE (libraryID, key)",
    "itemDataValues": "valueID INTEGER PRIMARY KEY, value UNIQUE, valueNormalized TEXT",
    "itemData": "itemID INT, fieldID INT, valueID, PRIMARY KEY (itemID, fieldID)",
    "itemNotes": "itemID INTEGER PRIMARY KEY, parentItemID INT, note TEXT, title TEXT",
    "itemAttachments": "itemID INTEGER PRIMARY KEY, parentItemID INT, contentType TEXT, path TEXT",
    "creators": "creatorID INTEGER PRIMARY KEY, firstName TEXT, lastName TEXT, fieldMode INT,"
    " UNIQUE (lastName, firstName, fieldMode)",
    "itemCreators": "itemID INT NOT NULL, creatorID INT NOT NULL, creatorTypeID INT NOT NULL,"
    " orderIndex INT NOT NULL, PRIMARY KEY (itemID, creatorID, creatorTypeID, orderIndex)",
    "collections": "collectionID INTEGER PRIMARY KEY, collectionName TEXT NOT NULL,"
    " parentCollectionID INT DEFAULT NULL, libraryID INT NOT NULL, key TEXT NOT NULL",
    "collectionItems": "collectionID INT NOT NULL, itemID INT NOT NULL, orderIndex INT,"
    " PRIMARY KEY (collectionID, itemID)",
    "tags": "tagID INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, nameNormalized TEXT",
    "itemTags": "itemID INT NOT NULL, tagID INT NOT NULL, type INT NOT NULL,"
    " PRIMARY KEY (itemID, tagID)",
    "deletedItems": "itemID INTEGER PRIMARY KEY, dateDeleted",
    "deletedCollections": "collectionID INTEGER PRIMARY KEY, dateDeleted",
}
TYPES = (
    "journalArticle", "conferencePaper", "preprint", "thesis", "attachment", "note", "annotation",
    "presentation",
)  # fmt: skip
FIELDS = (
    "title", "abstractNote", "date", "publicationTitle", "proceedingsTitle", "conferenceName",
    "volume", "issue", "pages", "DOI", "url", "number", "archiveID", "repository", "publisher",
    "university", "extra", "archive", "archiveLocation", "citationKey", "language",
)  # fmt: skip
BASES = {
    ("conferencePaper", "proceedingsTitle"): "publicationTitle",
    ("preprint", "archiveID"): "number",
    ("preprint", "repository"): "publisher",
    ("thesis", "university"): "publisher",
}
CREATORS = ("author", "editor", "presenter", "contributor")
PRIMARY = {**dict.fromkeys(TYPES, "author"), "presentation": "presenter"}
ALPHABET = "23456789ABCDEFGHIJKLMNPQRSTUVWXYZ"

Creator = tuple[str, str] | tuple[str, str, str] | str
"""(given, family), with a role other than author, or a name in one field."""


class ZoteroLibrary:
    """A data directory of Zotero; `with` commits and closes it."""

    def __init__(self, folder: Path, *, user: int | None = 475425) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "zotero.sqlite"
        self.db = sqlite3.connect(self.path)
        for name, columns in TABLES.items():
            self.db.execute(f"CREATE TABLE {name} ({columns})")
        self.db.execute("CREATE INDEX itemTags_tagID ON itemTags(tagID)")
        self._fill(user)
        self._items = 0

    def __enter__(self) -> ZoteroLibrary:
        return self

    def __exit__(self, *_: object) -> None:
        self.db.commit()
        self.db.close()

    def add(
        self,
        title: str = "",
        abstract: str = "",
        *,
        kind: str = "journalArticle",
        creators: Sequence[Creator] = (),
        tags: Iterable[str] = (),
        collections: Iterable[int] = (),
        library: int = USER,
        trashed: bool = False,
        **fields: str,
    ) -> str:
        """Add an item and return its key."""
        self._items += 1
        item, key = self._items, key_of(self._items)
        row = (item, TYPES.index(kind), library, key)
        self.db.execute(
            "INSERT INTO items (itemID, itemTypeID, libraryID, key) VALUES (?, ?, ?, ?)", row
        )
        for field, value in {"title": title, "abstractNote": abstract, **fields}.items():
            if value:
                value_id = self._id("itemDataValues", "valueID", value=value)
                self._insert("itemData", item, FIELDS.index(field), value_id)
        for order, creator in enumerate(creators):
            self._add_creator(item, order, creator)
        for tag in tags:
            self._insert("itemTags", item, self._id("tags", "tagID", name=tag), 0)
        for collection in collections:
            self._insert("collectionItems", collection, item, 0)
        if trashed:
            self._insert("deletedItems", item, "2026-01-01")
        return key

    def collection(
        self, name: str, parent: int | None = None, *, library: int = USER, trashed: bool = False
    ) -> int:
        """Add a collection and return its id."""
        cursor = self.db.execute(
            "INSERT INTO collections (collectionName, parentCollectionID, libraryID, key)"
            " VALUES (?, ?, ?, 'AAAAAAAA')",
            (name, parent, library),
        )
        assert cursor.lastrowid
        if trashed:
            self._insert("deletedCollections", cursor.lastrowid, "2026-01-01")
        return cursor.lastrowid

    def group(self, name: str, number: int = 77) -> None:
        self._insert("libraries", GROUP, "group", 1, 0)
        self._insert("groups", number, GROUP, name, "", 0)

    def better_bibtex(self, keys: Mapping[int, str]) -> None:
        """Write citation keys of items, by their ids, into the database of Better BibTeX."""
        with closing(sqlite3.connect(self.folder / "better-bibtex.sqlite")) as db, db:
            db.execute(
                "CREATE TABLE citationkey (itemID NOT NULL PRIMARY KEY, itemKey NOT NULL,"
                " libraryID NOT NULL, citationKey NOT NULL, pinned)"
            )
            rows = [(item, key_of(item), USER, key) for item, key in keys.items()]
            db.executemany("INSERT INTO citationkey VALUES (?, ?, ?, ?, 0)", rows)

    def _add_creator(self, item: int, order: int, creator: Creator) -> None:
        role = "author"
        if isinstance(creator, str):
            names: Mapping[str, object] = {"firstName": "", "lastName": creator, "fieldMode": 1}
        else:
            given, family, *others = creator
            role = others[0] if others else role
            names = {"firstName": given, "lastName": family, "fieldMode": 0}
        person = self._id("creators", "creatorID", **names)
        self._insert("itemCreators", item, person, CREATORS.index(role), order)

    def _id(self, table: str, column: str, **values: object) -> int:
        """Return the id of the row with these values, which is added if there is none."""
        where = " AND ".join(f"{name} = ?" for name in values)
        sql = f"SELECT {column} FROM {table} WHERE {where}"
        if found := self.db.execute(sql, [*values.values()]).fetchone():
            return int(found[0])
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"
        return self.db.execute(sql, [*values.values()]).lastrowid or 0

    def _insert(self, table: str, *values: object) -> None:
        marks = ", ".join("?" * len(values))
        self.db.execute(f"INSERT INTO {table} VALUES ({marks})", values)

    def _fill(self, user: int | None) -> None:
        self._insert("version", "userdata", SCHEMA)
        self._insert("version", "compatibility", COMPATIBILITY)
        if user is not None:
            self._insert("settings", "account", "userID", user)
        self._insert("libraries", USER, "user", 1, 0)
        for number, name in enumerate(TYPES):
            self._insert("itemTypesCombined", number, name, 0)
            self._insert("itemTypeCreatorTypes", number, CREATORS.index(PRIMARY[name]), 1)
        for number, name in enumerate(FIELDS):
            self._insert("fieldsCombined", number, name, 0)
        for (kind, field), base in BASES.items():
            numbers = TYPES.index(kind), FIELDS.index(base), FIELDS.index(field)
            self._insert("baseFieldMappingsCombined", *numbers)
        for number, name in enumerate(CREATORS):
            self._insert("creatorTypes", number, name)


def key_of(number: int) -> str:
    """Return the key of an item, eight characters as Zotero has them."""
    digits = []
    for _ in range(8):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
