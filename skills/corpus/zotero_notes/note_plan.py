"""Plan the notes of annotations in Zotero: format, record and compare notes.

A note has this form:

    <h1>Annotation by nanda-harness</h1>
    <p><strong>Claim:</strong> ...</p>
    <p><strong>Method (uncertain, 0.35):</strong> ...</p>
    <p><strong>Suggestion for Novelty (0.21):</strong> ...</p>
    <p>nanda-annotator, nanda-harness:nanda:0123456789abcdef</p>

Zotero's editor rewrites the markup of a note, and removes comments and unknown elements. Therefore
the mark at the end of a note is text. The mark contains the name of the framework, and a digest of
the preceding text without blanks. If the digest matches, no person has changed the note.

`Record` and `Step` are also used for highlights (see `highlight_plan`).
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import sqlite3
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from markupsafe import escape

from harness.errors import InputError
from harness.runs import targets
from harness.support.journal_files import append_lines, complete_lines
from harness.support.text_input import place, reading
from skills.corpus.db.rows import members
from skills.corpus.db.rows import one as one_row
from skills.corpus.identity.identifiers import ZOTERO
from skills.corpus.records import Annotated
from skills.corpus.references.csl_json import HEADING, NONE_STATED, objects
from skills.corpus.zotero_notes.zotero_api import Data, Library
from skills.nanda.confidence import uncertain_moves
from skills.nanda.framework import Framework
from skills.nanda.remarks import labelled_suggestions, stated_in_paper, uncertainty
from skills.nanda.text import flatten

TAG = "nanda-harness"
"""The tag of all notes and highlights of the harness."""
Action = Literal[
    "create", "update", "delete", "unchanged", "edited", "removed", "missing", "too_long"
]
ACTIONS: dict[Action, str] = {
    "create": "to create",
    "update": "to update",
    "delete": "to delete, since the move has no passage any more",
    "unchanged": "unchanged",
    "edited": "left as it is, since a person changed it",
    "removed": "not written again, since a person deleted it",
    "missing": "left out, since the library has no such item",
    "too_long": "left out, since Zotero allows no position with so many lines",
}
"""The description of each action on a note or highlight, for reports."""

KEY_LETTERS = "23456789ABCDEFGHIJKLMNPQRSTUVWXYZ"
_MARK = re.compile(rf"{TAG}:(?P<framework>[a-z0-9-]+):(?P<digest>[0-9a-f]{{16}})")
State = Literal["sent", "written", "gone"]
Kind = Literal["note", "highlight"]


@dataclass(frozen=True, slots=True)
class Note:
    """The note of an annotation, for one item.

    Attributes:
        library: the name of the library, such as "users/475425".
        item: the key of the item to which the note belongs.
        title: the title of the paper.
        html: the content of the note.
        tags: `TAG`, "FRAMEWORK:MOVE" for each move that the abstract or a section states, and
            "FRAMEWORK:uncertain" if a stated move is uncertain.
    """

    kind: ClassVar[Kind] = "note"
    library: str
    item: str
    title: str
    html: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Highlight:
    """The highlight of a move, as an annotation of Zotero's PDF reader.

    Attributes:
        library: the name of the library.
        item: the key of the item.
        attachment: the key of the PDF attachment.
        title: the title of the paper.
        key: the key of the highlight.
        data: the fields of the highlight; empty if the highlight is only to be deleted.
        tags: `TAG` and "FRAMEWORK:MOVE".
    """

    kind: ClassVar[Kind] = "highlight"
    library: str
    item: str
    attachment: str
    title: str
    move: str
    key: str
    data: Data
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """The record of a note or highlight that was written to Zotero.

    Attributes:
        server: the identity of the server.
        library: the name of the library, such as "users/475425" or "groups/77".
        item: the key of the item.
        note: the key of the note or highlight.
        state: "sent" until the server confirms the write, then "written"; "gone" if the note or
            highlight was deleted or never created.
        framework: the name of the annotation's framework.
        digests: for a highlight, the digests of all contents that were sent (see `highlight_plan`).
    """

    server: str
    library: str
    item: str
    note: str
    state: State
    framework: str = "nanda"
    digests: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        return "highlight" if self.digests else "note"


class Record:
    """The records of the notes and highlights that were written from a corpus.

    The records are stored in a file next to the corpus. A line is appended before a note or
    highlight is sent, and another line when the result is known. Therefore nothing is lost if the
    program ends in between.
    """

    def __init__(self, corpus: Path) -> None:
        self.path = corpus.with_name(f"{corpus.name}.zotero.jsonl")

    def entries(self) -> list[Entry]:
        """Return the last record of each note and highlight, unless its state is "gone".

        A returned record of a highlight has the digests of all records of the highlight. An
        incomplete last line of the file is ignored.

        Raises:
            InputError: a line is damaged.
        """
        with reading(self.path):
            lines = complete_lines(self.path)
        found: dict[tuple[str, str, str], Entry] = {}
        for number, line in enumerate(lines, start=1):
            try:
                entry = Entry(**json.loads(line))
                before = found.get((entry.server, entry.library, entry.note))
                digests = (*(before.digests if before else ()), *entry.digests)
                entry = replace(entry, digests=tuple(dict.fromkeys(digests)))
            except (ValueError, TypeError) as exc:
                raise InputError(
                    "is not a record of a note in Zotero",
                    where=place(self.path, "line", number),
                    hint="Remove the line. The note that it names stays in Zotero.",
                ) from exc
            found[entry.server, entry.library, entry.note] = entry
        return [entry for entry in found.values() if entry.state != "gone"]

    def append(self, entries: Iterable[Entry]) -> None:
        """Append records, and sync the file to the disk.

        Raises:
            OutputError: the file cannot be written.
        """
        text = "".join(json.dumps(asdict(entry)) + "\n" for entry in entries).encode()
        with targets.reported(self.path):
            append_lines(self.path, text)


@dataclass(frozen=True, slots=True)
class Step:
    """An action on a note or a highlight.

    Attributes:
        note: the note or the highlight.
        key: the key of `note` at the server, chosen before a new note is sent; "" if the library
            does not contain the item of the note.
        data: the object to write at the server; empty for a deletion, or if nothing is sent.
    """

    action: Action
    note: Note | Highlight
    key: str
    data: Data

    def as_json(self) -> dict[str, Any]:
        note = self.note
        found = {
            "action": self.action,
            "library": note.library,
            "item": note.item,
            "note": self.key,
            "title": note.title,
            "tags": list(note.tags),
        }
        if isinstance(note, Highlight):
            found |= {"attachment": note.attachment, "move": note.move}
            found["page"] = note.data.get("annotationPageLabel", "")
            found["text"] = note.data.get("annotationText", "")
        return found


def notes_of(
    db: sqlite3.Connection, found: Iterable[tuple[int, Annotated]], framework: Framework
) -> Iterator[tuple[Note, Annotated] | None]:
    """Yield the notes of annotations, each with its annotation.

    A paper with several items in Zotero has several notes. For a paper without a known item, None
    is yielded.

    Args:
        found: pairs of the id of an annotation and the annotation.
    """
    for annotation, item in found:
        row = one_row(db, "SELECT paper_id FROM annotations WHERE id = ?", [annotation]) or {}
        places = zotero_items_of(db, members(db, row["paper_id"]))
        if not places:
            yield None
            continue
        html, tags = _content(item, framework)
        for library, _, key in (item_place.rpartition("/items/") for item_place in places):
            yield Note(library, key, item.paper.title, html, tags), item


def plan(
    library: Library, notes: Sequence[Note], recorded: Sequence[Entry], framework: Framework
) -> list[Step]:
    """Compare `notes` with the notes in a library, and return the step for each of `notes`.

    Args:
        notes: the notes that the library should have.
        recorded: the records of notes that were written to this library.
    """
    by_this = {entry.note: entry for entry in recorded if entry.framework == framework.name}
    others = {entry.note for entry in recorded} - by_this.keys()
    listed: dict[str, Data] = {}
    for one in library.own_notes(TAG):
        mark = _last_mark(_text(str(one["data"].get("note", ""))))
        if one["key"] not in others and (mark is None or mark["framework"] == framework.name):
            listed[str(one["key"])] = one["data"]
    items = {note.item for note in notes}
    known = {key: entry for key, entry in by_this.items() if entry.item in items}
    without_tag = library.items(known.keys() - listed.keys(), trashed=True)
    listed |= {key: one["data"] for key, one in without_tag.items()}
    by_item = {str(data.get("parentItem")): key for key, data in listed.items()}
    # A recorded note takes precedence over another note of the item, unless the recorded note may
    # not have reached the server.
    by_item |= {entry.item: key for key, entry in known.items() if entry.state != "sent"}
    present = library.items(note.item for note in notes if note.item not in by_item)
    return [
        _existing(note, by_item[note.item], listed.get(by_item[note.item]), framework)
        if note.item in by_item
        else _new(note, exists=note.item in present)
        for note in notes
    ]


def _content(item: Annotated, framework: Framework) -> tuple[str, tuple[str, ...]]:
    """Return the HTML and the tags of the note of an annotation."""
    stated, labels = stated_in_paper(item.record, framework), framework.labels
    moves = [(labels[move] + uncertainty(item.record, move), text) for move, text in stated.items()]
    paragraphs = [
        f"<p><strong>{escape(label)}:</strong> {escape(flatten(text))}</p>"
        for label, text in (*moves, *labelled_suggestions(item.record, labels))
    ]
    if not moves:
        paragraphs.insert(0, f"<p>{escape(NONE_STATED)}</p>")
    model = str(item.record["provenance"].get("resolved", ""))
    heading = f"<h1>{escape(HEADING.rstrip(':'))}</h1>"
    above = "\n".join([heading, *paragraphs, f"<p>{escape(model)}, "])
    names = (*stated, *["uncertain"] * bool(uncertain_moves(item.record)))
    tags = (TAG, *(f"{framework.name}:{name}" for name in names))
    return f"{above}{TAG}:{framework.name}:{_digest(_text(above))}</p>", tags


def _existing(note: Note, key: str, data: Data | None, framework: Framework) -> Step:
    if data is None or data.get("deleted"):
        return Step("removed", note, key, {})
    digest = digest_in(str(data.get("note", "")))
    if not digest:
        return Step("edited", note, key, {})
    names, tags = {one["tag"] for one in tags_of(data)}, merged_tags(data, note.tags, framework)
    if digest == digest_in(note.html) and names == {one["tag"] for one in tags}:
        return Step("unchanged", note, key, {})
    sent = {"key": key, "version": data.get("version", 0), "note": note.html, "tags": tags}
    return Step("update", note, key, sent)


def tags_of(data: Data) -> list[dict[str, Any]]:
    """Return the valid tags of an item; each is a dictionary with the key "tag"."""
    return [one for one in objects(data.get("tags")) if isinstance(one.get("tag"), str)]


def merged_tags(data: Data, own: Sequence[str], framework: Framework) -> list[dict[str, Any]]:
    """Return the tags of an item, with `own` in place of the harness's tags for the framework."""
    ours = (TAG, f"{framework.name}:")
    others = [one for one in tags_of(data) if not one["tag"].startswith(ours)]
    return [*others, *({"tag": tag} for tag in own)]


def _new(note: Note, *, exists: bool) -> Step:
    if not exists:
        return Step("missing", note, "", {})
    key = "".join(secrets.choice(KEY_LETTERS) for _ in range(8))
    sent = {
        "key": key,
        "version": 0,
        "itemType": "note",
        "parentItem": note.item,
        "note": note.html,
        "tags": [{"tag": tag} for tag in note.tags],
    }
    return Step("create", note, key, sent)


def digest_in(html: str) -> str:
    """Return the digest in the mark at the end of a note, or "" if a person changed the note.

    A note was changed if it does not end with a mark, or if the digest does not match the text.
    """
    text = _text(html)
    mark = _last_mark(text)
    if mark is None or mark.end() != len(text):
        return ""
    return mark["digest"] if _digest(text[: mark.start()]) == mark["digest"] else ""


def _text(html: str) -> str:
    """Return the text of HTML without blanks, or "" if the HTML cannot be parsed."""
    from lxml import etree  # type: ignore[import-untyped]
    from lxml import html as parser

    try:
        found = parser.fromstring(f"<div>{html}</div>").text_content()
    # The note is empty, or contains characters that XML does not allow.
    except (etree.ParserError, ValueError):
        return ""
    return "".join(unicodedata.normalize("NFC", str(found)).split())


def _last_mark(text: str) -> re.Match[str] | None:
    return next(reversed([*_MARK.finditer(text)]), None)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


def zotero_items_of(db: sqlite3.Connection, paper_ids: Iterable[int]) -> list[str]:
    """Return the sorted keys of the Zotero items from which the rows `paper_ids` were read."""
    rows = db.execute(
        "SELECT DISTINCT value FROM identifiers WHERE kind = ?"
        " AND paper_id IN (SELECT value FROM json_each(?)) ORDER BY value",
        [ZOTERO, json.dumps(list(paper_ids))],
    )
    return [row["value"] for row in rows]
