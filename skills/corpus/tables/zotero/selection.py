"""Select the items of a library: of one collection, with tags.

A collection has a path: the names of those that contain it and its own, with "/" in between. That
of a group begins with the group's name, which alone is the path of all items in the group.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.support.reading.text_input import shown
from harness.support.suggestions import did_you_mean

_LISTED = 12
_COLLECTIONS = """
    WITH RECURSIVE paths(id, library, path) AS (
        SELECT collectionID, libraryID, {group}collectionName FROM collections
            LEFT JOIN groups USING (libraryID)
            WHERE parentCollectionID IS NULL AND {kept}
        UNION ALL
        SELECT collectionID, library, path || '/' || collectionName
            FROM collections JOIN paths ON parentCollectionID = id WHERE {kept}
    )
    SELECT id, library, path FROM paths
"""
_WITHIN = """
    WITH RECURSIVE within(id) AS (
        VALUES (?) UNION SELECT collectionID FROM collections JOIN within ON parentCollectionID = id
        {where}
    )
    INSERT INTO chosen
        SELECT DISTINCT itemID FROM collectionItems JOIN within ON collectionID = id
"""
_NO_PAPERS = """
    DELETE FROM chosen WHERE itemID IN (SELECT itemID FROM deletedItems)
        OR itemID NOT IN (SELECT itemID FROM items JOIN itemTypesCombined USING (itemTypeID)
            WHERE typeName NOT IN ('attachment', 'note', 'annotation'))
"""


@dataclass(frozen=True, slots=True)
class _Collection:
    """A collection, or all of a group's library where `id` is None."""

    path: str
    library: int
    id: int | None


def select(db: sqlite3.Connection, path: Path, collection: str | None, tags: Sequence[str]) -> None:
    """Create the table `chosen` of the items that are read, without those in the trash.

    Args:
        collection: its name, or the end of its path; None for all items of the user's own library.
        tags: names of tags; an item must have all of them.

    Raises:
        InputError: a collection or tag does not exist, or nothing is selected.
    """
    db.execute("CREATE TEMP TABLE chosen (itemID INTEGER PRIMARY KEY)")
    if collection is None:
        db.execute(
            "INSERT INTO chosen SELECT itemID FROM items JOIN libraries USING (libraryID)"
            " WHERE type = 'user'"
        )
    else:
        _choose(db, _named(db, path, collection))
    db.execute(_NO_PAPERS)
    for tag in tags:
        db.execute(
            "DELETE FROM chosen WHERE itemID NOT IN"
            " (SELECT itemID FROM itemTags JOIN tags USING (tagID) WHERE name = ?)",
            [_tag(db, path, tag)],
        )
    if db.execute("SELECT 1 FROM chosen LIMIT 1").fetchone() is None:
        raise _nothing(db, path, collection, tags)


def _choose(db: sqlite3.Connection, chosen: _Collection) -> None:
    if chosen.id is None:
        db.execute(
            "INSERT INTO chosen SELECT itemID FROM items WHERE libraryID = ?", [chosen.library]
        )
        return
    db.execute(_WITHIN.format(where=f"WHERE {_kept(db)}"), [chosen.id])


def _named(db: sqlite3.Connection, path: Path, name: str) -> _Collection:
    """Return the collection with this path, else the only one whose path ends with it."""
    wanted = name.strip().strip("/")
    known = _collections(db)
    for of in (str, str.casefold):
        exact = [one for one in known if of(one.path) == of(wanted)]
        ends = [one for one in known if of(one.path).endswith(f"/{of(wanted)}")]
        found = exact or ends
        if len(found) > 1:
            raise InputError(
                f"{len(found)} collections are named {name!r}",
                where=shown(path),
                hint=f"Give the path of one: {_listed(one.path for one in found)}.",
            )
        if found:
            return found[0]
    raise _unknown("collection", name, [one.path for one in known], path)


def _collections(db: sqlite3.Connection) -> list[_Collection]:
    """Return all collections that are not in the trash, and the groups."""
    sql = _COLLECTIONS.format(group="coalesce(groups.name || '/', '') || ", kept=_kept(db))
    found = [_Collection(path, library, one) for one, library, path in db.execute(sql)]
    groups = db.execute("SELECT name, libraryID FROM groups").fetchall()
    found += [_Collection(name, library, None) for name, library in groups]
    return sorted(found, key=lambda one: one.path)


def _kept(db: sqlite3.Connection) -> str:
    """Return the condition that a collection is not in the trash, which Zotero 5 does not have."""
    known = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'deletedCollections'").fetchone()
    if not known:
        return "TRUE"
    return "collectionID NOT IN (SELECT collectionID FROM deletedCollections)"


def _tag(db: sqlite3.Connection, path: Path, name: str) -> str:
    """Return a tag as it is written, in the same case if there is one."""
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
    listed = f"There are {_listed(known)}." if known else f"It has no {what}s."
    return InputError(f"there is no {what} {name[:60]!r}", where=shown(path), hint=near or listed)


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
    known = list(names)
    more = f" and {len(known) - _LISTED:,} more" if len(known) > _LISTED else ""
    return ", ".join(map(repr, known[:_LISTED])) + more
