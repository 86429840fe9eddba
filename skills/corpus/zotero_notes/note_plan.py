"""Make the note of an annotation, and recognize one that nobody has changed.

<h1>Annotation by nanda-harness</h1>
<p><strong>Claim:</strong> ...</p>
<p><strong>Method (uncertain, 0.35):</strong> ...</p>
<p><strong>Suggestion for Novelty (0.21):</strong> ...</p>
<p>nanda-annotator, nanda-harness:nanda:0123456789abcdef</p>

Zotero's editor rewrites the markup of a note and removes what it does not know, such as comments.
So the mark is text: the framework, and a digest of the text above, without blanks and markup.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import sqlite3
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import escape

from skills.corpus.db import merging
from skills.corpus.db.rows import one
from skills.corpus.records import Annotated
from skills.corpus.references.csl_json import HEADING, NONE_STATED
from skills.corpus.zotero_notes.zotero_api import Data, Library
from skills.nanda.confidence import labelled_suggestions, uncertain_moves, uncertainty
from skills.nanda.framework import Framework
from skills.nanda.text import flatten

TAG = "nanda-harness"
"""A tag of each note, by which Zotero finds them all."""

_MARK = re.compile(rf"{TAG}:(?P<framework>[a-z0-9-]+):(?P<digest>[0-9a-f]{{16}})")


@dataclass(frozen=True, slots=True)
class Note:
    """The note of an annotation.

    Attributes:
        tags: `TAG`, one for each move that the abstract states, "nanda:limitation", and
            "nanda:uncertain" if one of them is uncertain.
        framework: the name of that of the annotation.
    """

    html: str
    tags: tuple[str, ...]
    framework: str

    @property
    def digest(self) -> str:
        """The digest of its text."""
        return digest_in(self.html)


def note_of(item: Annotated, framework: Framework) -> Note:
    """Return the note of an annotation."""
    stated, labels = framework.stated(item.record), framework.labels
    moves = [(labels[m] + uncertainty(item.record, m), text) for m, text in stated.items()]
    paragraphs = [
        f"<p><strong>{escape(label)}:</strong> {escape(flatten(text))}</p>"
        for label, text in (*moves, *labelled_suggestions(item.record, labels))
    ]
    if not moves:
        paragraphs.insert(0, f"<p>{escape(NONE_STATED)}</p>")
    model = str(item.record["provenance"].get("resolved", ""))
    above = f"<h1>{escape(HEADING.rstrip(':'))}</h1>\n"
    above += "\n".join(paragraphs)
    above += f"\n<p>{escape(model)}, "
    names = (*stated, *["uncertain"] * bool(uncertain_moves(item.record)))
    tags = (TAG, *(f"{framework.name}:{name}" for name in names))
    return Note(f"{above}{TAG}:{framework.name}:{_digest(_text(above))}</p>", tags, framework.name)


def digest_in(html: str) -> str:
    """Return the digest that a note states if its text is still the one above it, else ""."""
    text = _text(html)
    mark = _last_mark(text)
    if mark is None or mark.end() != len(text):
        return ""
    return mark["digest"] if _digest(text[: mark.start()]) == mark["digest"] else ""


def framework_in(html: str) -> str:
    """Return the name of the framework that a note states, "" if it has no mark."""
    mark = _last_mark(_text(html))
    return mark["framework"] if mark else ""


def merged_tags(present: list[dict[str, Any]], note: Note, framework: Framework) -> list[Any]:
    """Return the tags of a note that is replaced: those of others stay."""
    own = (TAG, f"{framework.name}:")
    others = [tag for tag in present if not str(tag.get("tag", "")).startswith(own)]
    return [*others, *({"tag": tag} for tag in note.tags)]


def _text(html: str) -> str:
    """Return the text of a note without blanks."""
    from lxml import etree  # type: ignore[import-untyped]
    from lxml import html as parser

    try:
        found = parser.fromstring(f"<div>{html}</div>").text_content()
    except (etree.ParserError, ValueError):  # empty, or with characters that XML does not have
        return ""
    return "".join(unicodedata.normalize("NFC", str(found)).split())


def _last_mark(text: str) -> re.Match[str] | None:
    return next(reversed([*_MARK.finditer(text)]), None)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


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
        note = note_of(item, framework) if places else None
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
        for one in library.own_notes(TAG)
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
    return framework_in(str(data.get("note", ""))) in ("", framework.name)


def _existing(wanted: Wanted, key: str, data: Data | None, framework: Framework) -> Step:
    if data is None or data.get("deleted"):
        return Step("removed", wanted, key, {})
    html = str(data.get("note", ""))
    digest = digest_in(html)
    if not digest:
        return Step("edited", wanted, key, {})
    listed = data.get("tags")
    present = [tag for tag in listed if isinstance(tag, dict)] if isinstance(listed, list) else []
    tags = merged_tags(present, wanted.note, framework)
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
    found = merging.items_of(db, merging.members(db, row["paper_id"]))
    return [(library, key) for library, _, key in (one.rpartition("/items/") for one in found)]
