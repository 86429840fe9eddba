"""Compare the notes that annotations have in a library with those that they should have."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from skills.corpus.db.rows import one
from skills.corpus.db.works import groups, recording
from skills.corpus.records import Annotated
from skills.corpus.zotero import note as notes
from skills.corpus.zotero.client import Data, Library
from skills.corpus.zotero.note import Note
from skills.nanda.framework import Framework

Action = Literal["create", "update", "unchanged", "edited", "removed", "missing"]
ACTIONS: dict[Action, str] = {
    "create": "to create",
    "update": "to update",
    "unchanged": "unchanged",
    "edited": "left as it is, since a person changed it",
    "removed": "not written again, since a person deleted it",
    "missing": "left out, since the library has no such item",
}
"""What is done with the note of an item, in words for the user."""

_KEY_LETTERS = "23456789ABCDEFGHIJKLMNPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Wanted:
    """An annotation and the item that its note belongs to."""

    library: str
    item: str
    title: str
    note: Note


@dataclass(frozen=True, slots=True)
class Step:
    """What is done with the note of one item.

    Attributes:
        key: that of the note, also of one that is to be created; "" if there is none.
        data: what is sent to the server; empty if nothing is.
    """

    action: Action
    wanted: Wanted
    key: str
    data: Data

    def as_json(self) -> dict[str, Any]:
        wanted = self.wanted
        return {
            "action": self.action,
            "library": wanted.library,
            "item": wanted.item,
            "note": self.key,
            "title": wanted.title,
            "tags": list(wanted.note.tags),
        }


def wanted(
    db: sqlite3.Connection, found: Iterable[tuple[int, Annotated]], framework: Framework
) -> Iterator[Wanted | None]:
    """Yield the notes of annotations, None for a paper that is in no library of Zotero.

    Args:
        found: annotations with their ids.
    """
    for annotation, item in found:
        places = _places(db, annotation)
        if not places:
            yield None
        note = notes.note_of(item, framework) if places else None
        for library, key in places:
            assert note is not None
            yield Wanted(library, key, item.paper.title, note)


def steps(
    library: Library,
    found: Sequence[Wanted],
    recorded: dict[str, str],
    framework: Framework,
    *,
    unsure: Collection[str] = (),
    others: Collection[str] = (),
) -> list[Step]:
    """Return what is to be done in a library.

    Args:
        recorded: notes by this framework that were written before, with their items.
        unsure: those among them that may never have reached the server.
        others: notes by other frameworks.
    """
    listed = {
        str(one["key"]): one["data"]
        for one in library.own_notes(notes.TAG)
        if one["key"] not in others and _may_be_by(framework, one["data"])
    }
    known = {key for key, item in recorded.items() if item in {one.item for one in found}}
    without_tag = library.items(known - listed.keys(), trashed=True)
    listed |= {key: one["data"] for key, one in without_tag.items()}
    by_item = {str(data.get("parentItem")): key for key, data in listed.items()}
    # A recorded note takes precedence over another one below the same item.
    by_item |= {item: key for key, item in recorded.items() if key in known - {*unsure}}
    new = [one.item for one in found if one.item not in by_item]
    present = library.items(new)
    return [
        _existing(one, by_item[one.item], listed.get(by_item[one.item]), framework)
        if one.item in by_item
        else _new(one, exists=one.item in present)
        for one in found
    ]


def _may_be_by(framework: Framework, data: Data) -> bool:
    """Return False if a note states another framework; a person may have removed the mark."""
    return notes.framework_in(str(data.get("note", ""))) in ("", framework.name)


def _existing(wanted: Wanted, key: str, data: Data | None, framework: Framework) -> Step:
    if data is None or data.get("deleted"):
        return Step("removed", wanted, key, {})
    html = str(data.get("note", ""))
    digest = notes.digest_in(html)
    if not digest:
        return Step("edited", wanted, key, {})
    listed = data.get("tags")
    present = [tag for tag in listed if isinstance(tag, dict)] if isinstance(listed, list) else []
    tags = notes.merged_tags(present, wanted.note, framework)
    names = {str(tag.get("tag")) for tag in present}
    if digest == wanted.note.digest and names == {tag["tag"] for tag in tags}:
        return Step("unchanged", wanted, key, {})
    sent = {"key": key, "version": data.get("version", 0), "note": wanted.note.html, "tags": tags}
    return Step("update", wanted, key, sent)


def _new(wanted: Wanted, *, exists: bool) -> Step:
    if not exists:
        return Step("missing", wanted, "", {})
    key = "".join(secrets.choice(_KEY_LETTERS) for _ in range(8))
    sent = {
        "key": key,
        "version": 0,
        "itemType": "note",
        "parentItem": wanted.item,
        "note": wanted.note.html,
        "tags": [{"tag": tag} for tag in wanted.note.tags],
    }
    return Step("create", wanted, key, sent)


def _places(db: sqlite3.Connection, annotation: int) -> list[tuple[str, str]]:
    """Return the libraries and keys of the items of an annotation's paper."""
    row = one(db, "SELECT paper_id FROM annotations WHERE id = ?", [annotation]) or {}
    found = recording.items_of(db, groups.members(db, row["paper_id"]))
    return [(library, key) for library, _, key in (one.rpartition("/items/") for one in found)]
