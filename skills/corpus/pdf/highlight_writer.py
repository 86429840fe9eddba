"""Write copies of PDF files with highlights; runs in a separate process.

pypdf appends the highlights to the bytes of the original. Only a file that viewers have to repair
is written as a whole. The PDF annotations that people have added to an earlier copy are kept.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, TypedDict

from pypdf import PageObject, PdfReader, PdfWriter
from pypdf.annotations import Highlight
from pypdf.errors import PyPdfError
from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    FloatObject,
    IndirectObject,
    NameObject,
    NumberObject,
    TextStringObject,
)

from skills.corpus.pdf.passage_places import Box, Passages, Place, places_of
from skills.corpus.tables.reader_process import Unreadable, serve

AUTHOR = "nanda-harness"
LEGEND = "Moves (nanda-harness)"
"""The title of the outline entry that lists the moves in their colours."""
OPACITY = 0.5
PRINTED = 4
"""The annotation flag "Print"."""
_START = re.compile(rb"startxref\s+(\d{1,12})")
_REFERENCES = re.compile(rb"\s*(?:xref\b|\d+\s+\d+\s+obj\b)")
_NOT_KEPT = ("/Link", "/Widget", "/Popup")
"""Types of PDF annotations that are not copied.

Such PDF annotations belong to the document or to another PDF annotation.
"""
_OF_PAGE = ("/P", "/Parent", "/Popup", "/IRT")
"""Keys that refer to a page or a PDF annotation of the earlier copy."""


class Mark(TypedDict):
    """The appearance of the highlights of a move.

    Attributes:
        label: the label of the move.
        colour: the colour as hexadecimal digits, such as "e69f00".
        contents: the text of the comment.
    """

    label: str
    colour: str
    contents: str


def read(
    path: str,
    passages: Passages,
    marks: Mapping[str, Mark] | None = None,
    copy: str = "",
    out: str = "",
) -> Iterator[dict[str, list[Place]]]:
    """Write a copy of a file with highlights, and yield the places of the passages by move.

    The function yields one mapping, from each found move to its places. No copy is written if no
    passage is found. `serve` calls this function for each file.

    Args:
        passages: the passages to find and highlight.
        marks: the appearance of the highlights by move; None to write no copy.
        copy: the path of an earlier copy, or "".
        out: the path of the new copy.

    Raises:
        Unreadable: the file or the earlier copy cannot be read, highlights would damage the file,
            or PDF annotations of the earlier copy would be lost.
    """
    found = places_of(Path(path), passages)
    if marks is not None and found:
        try:
            _write(Path(path), Path(copy) if copy else None, Path(out), found, marks)
        except (PyPdfError, NotImplementedError) as exc:
            raise Unreadable(f"cannot be written with highlights: {exc}") from exc
    yield found


def _write(
    original: Path,
    copy: Path | None,
    out: Path,
    found: Mapping[str, Sequence[Place]],
    marks: Mapping[str, Mark],
) -> None:
    data = original.read_bytes()
    reader = PdfReader(BytesIO(data))
    _check(reader)
    # An update can only be appended to a file that ends with the correct offset of its
    # cross-reference section. Viewers repair other files.
    start = _START.search(data, max(0, data.rfind(b"startxref")))
    is_sound = start is not None and bool(_REFERENCES.match(data, int(start[1])))
    file = BytesIO(data)
    writer = PdfWriter(file, incremental=True) if is_sound else PdfWriter(clone_from=file)
    for page in writer.pages:
        if any(map(is_ours, annotations_of(page))):  # the original is itself a copy with highlights
            kept = [one for one in page.annotations or () if not is_ours(one.get_object())]
            page[NameObject("/Annots")] = ArrayObject(kept)
    edited = _keep(writer, copy, data) if copy else set()
    for move, places in found.items():
        for place in places:
            if (place["page"], marks[move]["label"]) not in edited:
                writer.add_annotation(place["page"], _highlight(marks[move], place["boxes"]))
    _add_legend(writer, found, marks)
    written = BytesIO()
    writer.write(written)
    made = written.getvalue()
    out.write_bytes(_with_own_entry(made, reader) if is_sound else made)


def _with_own_entry(data: bytes, reader: PdfReader) -> bytes:
    """Return a file that pypdf has written, with a complete last cross-reference stream.

    pypdf 7.1 writes the stream without an entry for the stream itself. qpdf reports this as an
    error, and other programs may overwrite the stream. If the stream lacks the reference to the
    document information, the reference is added.
    """
    found = _START.search(data, data.rindex(b"startxref"))
    assert found is not None
    start = int(found[1])
    head, _, rest = data[start:].partition(b"stream\n")
    number = int(head.split()[0])
    entries = zlib.decompress(rest[: rest.rindex(b"\nendstream")])
    packed = zlib.compress(entries + struct.pack(">BIB", 1, start, 0))
    head = re.sub(rb"(/Index \[[\d ]+)\]", rb"\1 %d 1 ]" % number, head)
    head = re.sub(rb"/Length \d+", b"/Length %d" % len(packed), head)
    info = reader.trailer.raw_get("/Info") if "/Info" in reader.trailer else None
    if isinstance(info, IndirectObject) and b"/Info" not in head:
        own = b"/Type /XRef\n/Info %d %d R" % (info.idnum, info.generation)
        head = head.replace(b"/Type /XRef", own, 1)
    end = b"\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n" % start
    return data[:start] + head + b"stream\n" + packed + end


def _check(reader: PdfReader) -> None:
    """Refuse a file that highlights would damage.

    Raises:
        Unreadable: the file is encrypted or signed.
    """
    if reader.is_encrypted:
        raise Unreadable("is encrypted: a copy with highlights cannot be written")
    root = reader.root_object
    flags = entry(entry(root, "/AcroForm"), "/SigFlags")
    if entry(root, "/Perms") or (isinstance(flags, int) and flags & 1):
        raise Unreadable("is signed: a copy with highlights would break the signature")


def entry(of: Any, name: str) -> Any:
    """Return a value of a PDF dictionary, or "" if `of` lacks the key or is not a dictionary."""
    return of[name] if isinstance(of, DictionaryObject) and name in of else ""


def annotations_of(page: PageObject) -> list[Any]:
    """Return the valid PDF annotations of a page."""
    found = (one.get_object() for one in page.annotations or ())
    return [one for one in found if isinstance(one, DictionaryObject)]


def is_ours(annotation: Any) -> bool:
    """Return True for a highlight that the harness wrote and nobody has edited."""
    name = _name(str(entry(annotation, "/Subj")), str(entry(annotation, "/Contents")))
    return bool(entry(annotation, "/T") == AUTHOR and entry(annotation, "/NM") == name)


def _name(label: str, contents: str) -> str:
    """Return the name of a highlight, with a digest of label and contents to detect edits."""
    return f"{AUTHOR}-{hashlib.sha256(f'{label}:{contents}'.encode()).hexdigest()[:16]}"


def _highlight(mark: Mark, boxes: Sequence[Box]) -> Highlight:
    """Return a highlight annotation for boxes on one page."""
    lefts, bottoms, rights, tops = zip(*boxes, strict=True)
    corners = (
        corner
        for left, bottom, right, top in boxes
        for corner in (left, top, right, top, left, bottom, right, bottom)
    )
    made = Highlight(
        rect=(min(lefts), min(bottoms), max(rights), max(tops)),
        quad_points=ArrayObject(FloatObject(round(one, 3)) for one in corners),
        highlight_color=mark["colour"],
        title_bar=AUTHOR,
    )
    made[NameObject("/Subj")] = TextStringObject(mark["label"])
    made[NameObject("/Contents")] = TextStringObject(mark["contents"])
    made[NameObject("/NM")] = TextStringObject(_name(mark["label"], mark["contents"]))
    made[NameObject("/CA")] = FloatObject(OPACITY)
    made[NameObject("/F")] = NumberObject(PRINTED)
    return made


def _keep(writer: PdfWriter, copy: Path, data: bytes) -> set[tuple[int, str]]:
    """Transfer the PDF annotations of people from an earlier copy to the new file.

    Args:
        copy: the path of the earlier copy.
        data: the content of the original.

    Returns:
        The page and the label of each highlight that a person has edited.

    Raises:
        Unreadable: `copy` cannot be read or is not a copy of the original, or PDF annotations would
            be lost.
    """
    try:
        reader = PdfReader(copy)
        pages = [annotations_of(page) for page in reader.pages]
    except PyPdfError as exc:
        raise Unreadable(f"has an earlier copy that cannot be read and is kept: {exc}") from exc
    everything = [one for page in pages for one in page]
    is_copy = any(entry(one, "/T") == AUTHOR for one in everything)
    with copy.open("rb") as file:
        if not is_copy and file.read(len(data)) != data:
            raise Unreadable(f"cannot be copied: its target is another file, which is kept: {copy}")
    edited: set[tuple[int, str]] = set()
    for number, present in enumerate(pages):
        own = writer.pages[number] if number < len(writer.pages) else None
        known = {_key(one) for one in annotations_of(own)} if own else set()
        for one in present:
            if entry(one, "/Subtype") in _NOT_KEPT or is_ours(one) or _key(one) in known:
                continue
            if own is None:
                raise Unreadable("has fewer pages than its copy, which has notes and is kept")
            kept = {
                key: value.clone(writer, ignore_fields=_OF_PAGE)
                for key, value in one.items()
                if key not in _OF_PAGE
            }
            writer.add_annotation(number, kept)
            if entry(one, "/T") == AUTHOR:
                edited.add((number, str(entry(one, "/Subj"))))
    return edited


def _key(annotation: Any) -> tuple[str, ...]:
    """Return a key by which a PDF annotation is recognized in a copy of the file."""
    place = " ".join(f"{float(one):.1f}" for one in entry(annotation, "/Rect"))
    return place, *(str(entry(annotation, name)) for name in ("/Subtype", "/Contents", "/NM"))


def _add_legend(
    writer: PdfWriter, found: Mapping[str, Sequence[Place]], marks: Mapping[str, Mark]
) -> None:
    """Add an outline entry for each highlighted move, linked to the page of the first highlight.

    The entries replace earlier entries of the harness in the file.
    """
    root = writer.get_outline_root()
    for child in list(root.children()) if "/First" in root else []:
        if entry(child.get_object(), "/Title") == LEGEND:
            root.remove_child(child)
    legend = writer.add_outline_item(title=LEGEND, page_number=0, bold=True)
    for move, mark in marks.items():
        for place in found.get(move, ())[:1]:
            writer.add_outline_item(
                title=mark["label"],
                page_number=place["page"],
                parent=legend,
                color=f"#{mark['colour']}",
            )


if __name__ == "__main__":
    serve(read)
