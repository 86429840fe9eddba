"""Make the highlights of moves in Zotero's reader, and compare them with those in a library.

A highlight is an annotation item below the PDF attachment of an item. Its key depends only on the
framework, the attachment, the move and its number, so that a second push, also from another
computer, finds it again. A content that was never sent was written by a person and is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.support.text_input import shown
from skills.corpus.exports.highlights import certainty, marks_of, passages_of, pdf_of, placing
from skills.corpus.identity.identifiers import ZOTERO
from skills.corpus.pdf.pdf_files import check_pdf
from skills.corpus.records import Annotated
from skills.corpus.references.zotero_library import database_in
from skills.corpus.tables.reader_process import Unreadable
from skills.corpus.zotero_notes.note_plan import (
    KEY_LETTERS,
    TAG,
    Entry,
    Highlight,
    Note,
    Step,
    merged_tags,
    tags_of,
)
from skills.corpus.zotero_notes.zotero_api import Data, Library
from skills.nanda.confidence import from_sections
from skills.nanda.framework import Framework
from skills.nanda.text import flatten

MOST_POSITION, MOST_TEXT, MOST_LABEL = 65_000, 7_500, 50
"""Maximum number of characters of a position, a text and a page label at Zotero."""
HOME = Path("~/Zotero")
"""Zotero's data directory, unless the user has moved it."""
PDF = "application/pdf"
_KEY = re.compile(rf"[{KEY_LETTERS}]{{8}}")


@dataclass(frozen=True, slots=True)
class Passages:
    """The passages of the moves of a paper from Zotero.

    Attributes:
        pdf: the PDF file that the paper was annotated from, or None.
        folder: Zotero's data directory.
        passages: the passages, as `passage_places.places_of` requires them.
        marks: the colour and the comment of the highlights by move.
    """

    note: Note
    pdf: Path | None
    folder: Path
    passages: Mapping[str, Any]
    marks: Mapping[str, Mapping[str, str]]


def passages_in(note: Note, item: Annotated, framework: Framework) -> Passages:
    """Return the passages of an annotation whose note is `note`."""
    source = {**item.record["provenance"]["input"], **item.paper.source}
    database = database_in(Path(source.get("path") or "")) if ZOTERO in source else None
    found = passages_of(item, framework)
    quoted = {
        move: " ".join(found["abstract"][start:end] for start, end in spans)
        for move, spans in found["spans"].items()
    }
    texts = {**from_sections(item.record), **framework.stated(item.record)}
    marks = {}
    for move, mark in marks_of(item.record, framework).items():
        is_quote = flatten(texts[move]) == flatten(
            quoted.get(move) or found["quotes"].get(move, "")
        )
        comment = mark["label"] + certainty(item.record, move) if is_quote else mark["contents"]
        marks[move] = {"colour": f"#{mark['colour']}", "comment": comment}
    folder = database.parent if database else HOME.expanduser()
    return Passages(note, pdf_of(item), folder, found, marks)


def highlights_in(
    library: Library,
    papers: Sequence[Passages],
    framework: Framework,
    *,
    check: Callable[[], None],
    notice: Callable[[str], None],
) -> Iterator[Highlight]:
    """Yield the highlights of papers whose PDF files are on this computer.

    Args:
        check: called before each file; an exception ends the work.
        notice: called with a sentence about each file that cannot be read.
    """
    attachments = library.children((one.note.item for one in papers), "attachment")
    with placing() as process:
        for paper in papers:
            check()
            known = (one for one in attachments if one["data"]["parentItem"] == paper.note.item)
            files = ((one, file) for one in known if (file := _file_of(one["data"], paper)))
            attachment, path = next(files, (None, None))
            if attachment is None or path is None:
                continue
            try:
                [places] = process.read(check_pdf(path), passages=paper.passages)
            except InputError as exc:
                notice(f"without highlights: {exc}")
                continue
            except Unreadable as exc:
                notice(f"without highlights: {shown(path)}: {exc}")
                continue
            for move, found in places.items():
                for number, place in enumerate(found):
                    yield _highlight(paper, str(attachment["key"]), move, number, place, framework)


def _file_of(attachment: Data, paper: Passages) -> Path | None:
    """Return the file of an attachment on this computer, or None.

    The file is in Zotero's storage, or linked, or it is the file that was annotated: at the linked
    path, in the folder of the attachment, or with the digest of the stored file.
    """
    key, name = str(attachment.get("key")), Path(str(attachment.get("filename") or "")).name
    if attachment.get("contentType") != PDF or not _KEY.fullmatch(key):
        return None
    linked = str(attachment.get("path") or "")
    if (pdf := paper.pdf) is not None and pdf.is_file():
        # A path below Zotero's base directory begins with "attachments:".
        relative = linked.removeprefix("attachments:")
        is_linked = bool(linked) and f"/{pdf.as_posix()}".endswith(f"/{relative}")
        digest = attachment.get("md5")
        if is_linked or pdf.parent.name == key or (digest and digest == _md5(pdf)):
            return pdf
    path = Path(linked) if linked else paper.folder / "storage" / key / name
    return path if path.is_absolute() and path.is_file() else None


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _highlight(
    paper: Passages,
    attachment: str,
    move: str,
    number: int,
    place: Mapping[str, Any],
    framework: Framework,
) -> Highlight:
    note, mark = paper.note, paper.marks[move]
    rects = [[round(one, 3) for one in box] for box in place["boxes"]]
    sort = f"{place['page']:05}|{place['start']:06}|{int(place['below']):05}"
    data = {
        "annotationType": "highlight",
        "annotationAuthorName": TAG,
        "annotationText": flatten(place["text"])[:MOST_TEXT],
        "annotationComment": mark["comment"],
        "annotationColor": mark["colour"],
        "annotationPageLabel": place["label"][:MOST_LABEL],
        "annotationSortIndex": sort,
        "annotationPosition": json.dumps(
            {"pageIndex": place["page"], "rects": rects}, separators=(",", ":")
        ),
    }
    key = key_of(framework, note.library, attachment, move, number)
    tags = (TAG, f"{framework.name}:{move}")
    return Highlight(note.library, note.item, attachment, note.title, move, key, data, tags)


def key_of(framework: Framework, library: str, attachment: str, move: str, number: int) -> str:
    """Return the key of a highlight.

    Args:
        number: the number of the highlight among those of the move, which are on different pages.
    """
    named = f"{framework.name}\n{library}\n{attachment}\n{move}\n{number}"
    rest, letters = int(hashlib.sha256(named.encode()).hexdigest(), 16), ""
    while len(letters) < 8:
        rest, digit = divmod(rest, len(KEY_LETTERS))
        letters += KEY_LETTERS[digit]
    return letters


def plan_highlights(
    library: Library,
    highlights: Sequence[Highlight],
    recorded: Sequence[Entry],
    framework: Framework,
) -> list[Step]:
    """Return a step for each highlight, and for each earlier highlight whose passage is gone.

    Args:
        recorded: highlights that were written to this library before.
    """
    known = {entry.note: entry for entry in recorded if entry.framework == framework.name}
    wanted = {one.key: one for one in highlights}
    papers = {one.item: one for one in highlights}
    gone = [one for one in known.values() if one.item in papers and one.note not in wanted]
    found = library.items([*wanted, *(one.note for one in gone)], trashed=True)
    listed = {key: one["data"] for key, one in found.items()}
    steps = [
        _step(one, known.get(one.key), listed.get(one.key), framework) for one in wanted.values()
    ]
    for entry in gone:
        if is_ours(entry, listed.get(entry.note, {"deleted": 1})):
            title = papers[entry.item].title
            old = Highlight(library.name, entry.item, "", title, "", entry.note, {}, ())
            steps.append(Step("delete", old, entry.note, {}))
    return steps


def _step(one: Highlight, entry: Entry | None, data: Data | None, framework: Framework) -> Step:
    tags = [{"tag": tag} for tag in one.tags]
    if len(one.data["annotationPosition"]) > MOST_POSITION:
        return Step("too_long", one, one.key, {})
    if data is None and (entry is None or entry.state == "sent"):
        new = {"itemType": "annotation", "parentItem": one.attachment, **one.data, "tags": tags}
        return Step("create", one, one.key, {"key": one.key, "version": 0, **new})
    if data is None or data.get("deleted"):
        return Step("removed", one, one.key, {})
    digest = digest_of(data, framework.name)
    if digest == digest_of({**one.data, "tags": tags}, framework.name):
        return Step("unchanged", one, one.key, {})
    if entry is None or digest not in entry.digests:
        return Step("edited", one, one.key, {})
    sent = {"key": one.key, "version": data.get("version", 0), **one.data}
    return Step("update", one, one.key, {**sent, "tags": merged_tags(data, one.tags, framework)})


def is_ours(entry: Entry, data: Data) -> bool:
    """Return True if a highlight is as it was written, and not in the trash."""
    return not data.get("deleted") and digest_of(data, entry.framework) in entry.digests


def digest_of(data: Data, framework: str) -> str:
    """Return two digests of a highlight: of its passage and move, and of its comment and colour."""
    position = str(data.get("annotationPosition"))
    try:
        place = json.loads(position)
        boxes = [[round(float(one), 1) for one in box] for box in place["rects"]]
        passage: list[Any] = [place["pageIndex"], boxes]
    except (ValueError, TypeError, KeyError):
        passage = [position]
    moves = sorted(tag for one in tags_of(data) if (tag := one["tag"]).startswith(f"{framework}:"))
    passage += [flatten(str(data.get("annotationText") or "")), moves]
    marks = [str(data.get(f"annotation{name}") or "").strip() for name in ("Comment", "Color")]
    return "-".join(
        hashlib.sha256(json.dumps(one).encode()).hexdigest()[:16] for one in (passage, marks)
    )
