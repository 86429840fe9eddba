"""Plan the highlights of moves in Zotero's PDF reader, and compare them with a library.

A highlight is a Zotero item of the type "annotation", below a PDF attachment. The key of a
highlight is computed from the framework, the library, the attachment and the move, so that a push
from another computer finds the highlight. If the content of a highlight differs from all contents
that were sent, a person has edited the highlight, and the harness does not change it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from skills.nanda.framework import Framework
from skills.nanda.remarks import from_sections
from skills.nanda.text import flatten, letters_of

MOST_POSITION, MOST_TEXT, MOST_LABEL = 65_000, 7_500, 50
"""Maximum number of characters that Zotero accepts for a position, a text and a page label."""
HOME = Path("~/Zotero")
"""The default path of Zotero's data directory."""
PDF = "application/pdf"
_KEY = re.compile(rf"[{KEY_LETTERS}]{{8}}")


def highlights_in(
    library: Library,
    papers: Sequence[tuple[Note, Annotated]],
    framework: Framework,
    *,
    check: Callable[[], None],
    notice: Callable[[str], None],
) -> Iterator[Highlight]:
    """Yield the highlights of the papers with a PDF file on this computer.

    Args:
        check: called before each paper; may raise an error to stop.
        notice: called with a sentence about each file that cannot be read.
    """
    attachments: defaultdict[str, list[Data]] = defaultdict(list)
    for one in library.children((note.item for note, _ in papers), "attachment"):
        attachments[one["data"]["parentItem"]].append(one["data"])
    with placing() as process:
        for note, item in papers:
            check()
            files = ((one, _file_of(one, item)) for one in attachments[note.item])
            attachment, path = next((pair for pair in files if pair[1]), ({}, None))
            if path is None:
                continue
            passages = passages_of(item, framework)
            try:
                [places] = process.read(check_pdf(path), passages=passages)
            except (InputError, Unreadable) as exc:
                why = exc.message if isinstance(exc, InputError) else exc
                notice(f"without highlights: {shown(path)}: {why}")
                continue
            yield from _highlights(note, item, attachment["key"], passages, places, framework)


def _file_of(attachment: Data, item: Annotated) -> Path | None:
    """Return the path of an attachment's file on this computer, or None.

    The annotated PDF file is returned if its path ends with the attachment's linked path, if its
    folder is named after the attachment's key, or if its MD5 digest is the attachment's digest.
    Otherwise the attachment's file is looked for at the linked path or, without a linked path, in
    Zotero's storage.
    """
    key, name = str(attachment.get("key")), Path(str(attachment.get("filename") or "")).name
    if attachment.get("contentType") != PDF or not _KEY.fullmatch(key):
        return None
    linked, pdf = str(attachment.get("path") or ""), pdf_of(item)
    if pdf is not None and pdf.is_file():
        # A path relative to Zotero's base directory begins with "attachments:".
        end = linked.removeprefix("attachments:")
        is_linked = bool(end) and f"/{pdf.as_posix()}".endswith(f"/{end}")
        if is_linked or pdf.parent.name == key:
            return pdf
        digest = hashlib.md5(pdf.read_bytes(), usedforsecurity=False).hexdigest()
        if digest == attachment.get("md5"):
            return pdf
    source = {**item.record["provenance"]["input"], **item.paper.source}
    database = database_in(Path(source.get("path") or "")) if ZOTERO in source else None
    folder = database.parent if database else HOME.expanduser()
    path = Path(linked) if linked else folder / "storage" / key / name
    return path if path.is_absolute() and path.is_file() else None


def _highlights(
    note: Note,
    item: Annotated,
    attachment: str,
    passages: Mapping[str, Any],
    places: Mapping[str, Sequence[Mapping[str, Any]]],
    framework: Framework,
) -> Iterator[Highlight]:
    """Yield the highlights of the moves whose passage is on one page or two consecutive pages.

    Args:
        attachment: the key of the PDF attachment.
        passages: the passages in the form of `passage_places.Passages`.
        places: the places of the passages by move, in the form of `passage_places.Place`.
    """
    texts = {**from_sections(item.record), **framework.stated(item.record)}
    for move, mark in marks_of(item.record, framework).items():
        if move not in places:
            continue
        first, *others = places[move]
        if [one["page"] - first["page"] for one in others] not in ([], [1]):
            continue
        spans, abstract = passages["spans"].get(move, ()), passages["abstract"]
        quotes = [abstract[start:end] for start, end in spans] or [passages["quotes"][move]]
        is_quote = letters_of(texts[move]) == letters_of(" ".join(quotes))
        for at, ((_, end), (start, _)) in enumerate(itertools.pairwise(spans), start=1):
            quotes[at] = f"{'... ' * bool(abstract[end:start].strip())}{quotes[at]}"
        rects = [[[round(end, 3) for end in box] for box in one["boxes"]] for one in places[move]]
        position = {"pageIndex": first["page"], "rects": rects[0]}
        position |= {"nextPageRects": rects[1]} if others else {}
        data = {
            "annotationType": "highlight",
            "annotationAuthorName": TAG,
            "annotationText": flatten(" ".join(quotes))[:MOST_TEXT],
            "annotationComment": mark["label"] + certainty(item.record, move)
            if is_quote
            else mark["contents"],
            "annotationColor": f"#{mark['colour']}",
            "annotationPageLabel": first["label"][:MOST_LABEL],
            "annotationSortIndex": f"{first['page']:05}|{first['start']:06}"
            f"|{int(first['below']):05}",
            "annotationPosition": json.dumps(position, separators=(",", ":")),
        }
        key = key_of(framework, note.library, attachment, move)
        tags = (TAG, f"{framework.name}:{move}")
        yield Highlight(note.library, note.item, attachment, note.title, move, key, data, tags)


def key_of(framework: Framework, library: str, attachment: str, move: str) -> str:
    """Return the key of the highlight of a move; the key is the same on all computers."""
    named = f"{framework.name}\n{library}\n{attachment}\n{move}"
    digest = hashlib.sha256(named.encode()).digest()
    return "".join(KEY_LETTERS[byte % len(KEY_LETTERS)] for byte in digest[:8])


def plan_highlights(
    library: Library,
    highlights: Sequence[Highlight],
    recorded: Sequence[Entry],
    framework: Framework,
) -> list[Step]:
    """Return a step for each highlight, and a step to delete each unedited obsolete highlight.

    A recorded highlight is obsolete if `highlights` contains other highlights of its item, but not
    the recorded highlight.

    Args:
        highlights: the highlights that the library should have.
        recorded: the records of highlights that were written to this library.
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
        data = listed.get(entry.note, {"deleted": 1})
        if not data.get("deleted") and digest_of(data, entry.framework) in entry.digests:
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


def digest_of(data: Data, framework: str) -> str:
    """Return two digests of a highlight's content, joined by "-".

    The first digest covers the passage and the move, and the second the comment and the colour.

    Args:
        data: the fields of the highlight in Zotero.
        framework: the name of the framework of the move.
    """
    position = str(data.get("annotationPosition"))
    try:
        place = json.loads(position)
        boxes = [*place["rects"], *place.get("nextPageRects", ())]
        passage: list[Any] = [place["pageIndex"]]
        passage += [[round(float(one), 1) for one in box] for box in boxes]
    except (ValueError, TypeError, KeyError, AttributeError):
        passage = [position]
    moves = sorted(tag for one in tags_of(data) if (tag := one["tag"]).startswith(f"{framework}:"))
    passage += [flatten(str(data.get("annotationText") or "")), moves]
    marks = [str(data.get(f"annotation{name}") or "").strip() for name in ("Comment", "Color")]
    return "-".join(
        hashlib.sha256(json.dumps(one).encode()).hexdigest()[:16] for one in (passage, marks)
    )
