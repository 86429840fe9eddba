"""Copies with highlights: what they contain, what they keep, and which files are refused."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pypdfium2
import pytest
from highlighted_words import highlighted, words_of
from pdf_papers import ABSTRACT, PdfPaper
from pypdf import PdfReader, PdfWriter
from pypdf.annotations import Highlight, Text
from pypdf.generic import ArrayObject, DictionaryObject, FloatObject, NameObject, NumberObject

from skills.corpus.pdf.highlight_writer import (
    AUTHOR,
    LEGEND,
    Mark,
    annotations_of,
    entry,
    is_ours,
    read,
)
from skills.corpus.pdf.passage_places import Passages
from skills.corpus.tables.reader_process import Unreadable
from skills.nanda.sentences import sentence_spans

FIRST, SECOND, *_ = sentence_spans(ABSTRACT)
PASSAGES: Passages = {
    "abstract": ABSTRACT,
    "spans": {"claim": [FIRST], "method": [SECOND, FIRST]},
    "quotes": {},
}
MARKS: dict[str, Mark] = {
    "claim": {"label": "Claim", "colour": "e69f00", "contents": "Claim: it is small."},
    "method": {"label": "Method", "colour": "0072b2", "contents": "Method: it reads."},
}


class Copying:
    """An original, and its copy."""

    def __init__(self, folder: Path) -> None:
        self.original = PdfPaper().write(folder / "original.pdf")
        self.copy = folder / "copy.pdf"

    def __call__(self, marks: dict[str, Mark] | None = None) -> None:
        """Write the copy as `exports.highlights` does, which renames the new file."""
        out = self.copy.with_suffix(".tmp")
        known = str(self.copy) if self.copy.exists() else ""
        list(read(str(self.original), PASSAGES, marks or MARKS, known, str(out)))
        out.replace(self.copy)

    def titles(self) -> list[str]:
        """Return the contents of the annotations of the copy."""
        page = PdfReader(self.copy).pages[0]
        return sorted(str(entry(one, "/Contents")) for one in annotations_of(page))


@pytest.fixture
def write(tmp_path: Path) -> Copying:
    return Copying(tmp_path)


def add_note(path: Path, contents: str) -> None:
    """Add the note of a person, as a viewer does that writes the file anew."""
    writer = PdfWriter(clone_from=path)
    writer.add_annotation(0, Text(rect=(50, 50, 70, 70), text=contents, title_bar="Ada"))
    with path.open("wb") as file:
        writer.write(file)


def test_a_highlight_has_the_passage_author_move_and_colour(write: Copying) -> None:
    write()
    claim, method = highlighted(write.copy)
    assert (claim.author, claim.subject, claim.contents) == (AUTHOR, "Claim", "Claim: it is small.")
    assert claim.colour == (0xE6, 0x9F, 0x00)
    assert words_of(claim.text) == words_of(ABSTRACT[slice(*FIRST)])
    both = f"{ABSTRACT[slice(*SECOND)]} {ABSTRACT[slice(*FIRST)]}"
    assert words_of(method.text) == words_of(both)


def test_a_copy_begins_with_the_bytes_of_the_original(write: Copying) -> None:
    before = write.original.read_bytes()
    write()
    assert write.original.read_bytes() == before
    assert write.copy.read_bytes().startswith(before)


def test_a_copy_keeps_the_document_information(write: Copying) -> None:
    PdfPaper(information={"Title": "Known"}).write(write.original)
    write()
    with pypdfium2.PdfDocument(write.copy) as document:
        assert document.get_metadata_value("Title") == "Known"


def test_a_file_that_viewers_repair_is_written_anew(write: Copying) -> None:
    data = write.original.read_bytes()
    write.original.write_bytes(data.replace(b"startxref\n4", b"startxref\n1"))
    write()
    claim, _ = highlighted(write.copy)
    assert words_of(claim.text) == words_of(ABSTRACT[slice(*FIRST)])
    assert PdfReader(write.copy, strict=True).outline
    write()
    assert write.titles() == ["Claim: it is small.", "Method: it reads."]


def test_a_file_without_cross_references_is_refused(write: Copying) -> None:
    write.original.write_bytes(write.original.read_bytes().replace(b"startxref", b"startxxxx"))
    with pytest.raises(Unreadable, match="cannot be written with highlights: startxref"):
        write()


def test_the_outline_is_a_legend(write: Copying) -> None:
    write()
    legend, moves = PdfReader(write.copy).outline
    assert legend.title == LEGEND  # type: ignore[union-attr]
    assert [one.title for one in moves] == ["Claim", "Method"]  # type: ignore[union-attr]


def test_a_copy_made_again_replaces_only_our_annotations(write: Copying) -> None:
    write()
    add_note(write.copy, "in the copy")
    add_note(write.original, "in the original")
    new: Mark = {"label": "Claim", "colour": "e69f00", "contents": "Claim: another."}
    write({**MARKS, "claim": new})
    write({**MARKS, "claim": new})
    assert write.titles() == [
        "Claim: another.",
        "Method: it reads.",
        "in the copy",
        "in the original",
    ]
    assert len(PdfReader(write.copy).outline) == 2


def test_an_edited_highlight_is_kept_in_place_of_a_new_one(write: Copying) -> None:
    write()
    writer = PdfWriter(clone_from=write.copy)
    claim = next(one for one in annotations_of(writer.pages[0]) if is_ours(one))
    claim[NameObject("/Contents")] = type(claim["/Contents"])("I doubt it.")
    with write.copy.open("wb") as file:
        writer.write(file)
    write()
    assert write.titles() == ["I doubt it.", "Method: it reads."]


def test_a_copy_as_the_original_gets_no_second_highlights(write: Copying) -> None:
    write()
    shutil.copy(write.copy, write.original)
    write.copy.unlink()
    write()
    assert write.titles() == ["Claim: it is small.", "Method: it reads."]
    assert len(PdfReader(write.copy).outline) == 2


def test_highlights_of_people_with_appearance_are_kept(write: Copying) -> None:
    write()
    writer = PdfWriter(clone_from=write.copy)
    quad = ArrayObject(FloatObject(one) for one in (50, 60, 90, 60, 50, 50, 90, 50))
    made = writer.add_annotation(
        0, Highlight(rect=(50, 50, 90, 60), quad_points=quad, title_bar="Ada")
    )
    look = writer._add_object(DictionaryObject({NameObject("/Test"): NumberObject(1)}))
    made[NameObject("/AP")] = DictionaryObject({NameObject("/N"): look})
    with write.copy.open("wb") as file:
        writer.write(file)
    write()
    [kept] = [one for one in highlighted(write.copy) if one.author == "Ada"]
    assert kept.colour == (255, 0, 0)
    page = PdfReader(write.copy).pages[0]
    [own] = [one for one in annotations_of(page) if entry(one, "/T") == "Ada"]
    assert own["/AP"]["/N"]["/Test"] == 1


def test_another_file_of_that_name_is_kept(write: Copying) -> None:
    PdfPaper(title="Another").write(write.copy)
    before = write.copy.read_bytes()
    with pytest.raises(Unreadable, match="its target is another file, which is kept"):
        write()
    assert write.copy.read_bytes() == before


def test_notes_on_a_page_that_the_original_has_lost_are_kept(write: Copying) -> None:
    write()
    writer = PdfWriter(clone_from=write.copy)
    writer.add_blank_page()
    writer.add_annotation(len(writer.pages) - 1, Text(rect=(5, 5, 9, 9), text="x", title_bar="Ada"))
    with write.copy.open("wb") as file:
        writer.write(file)
    with pytest.raises(Unreadable, match="fewer pages"):
        write()


@pytest.mark.parametrize("kind", ["signed", "encrypted"])
def test_files_that_a_copy_would_break_are_refused(write: Copying, kind: str) -> None:
    writer = PdfWriter(clone_from=write.original)
    if kind == "signed":
        form = DictionaryObject({NameObject("/SigFlags"): NumberObject(3)})
        writer.root_object[NameObject("/AcroForm")] = form
    else:
        writer.encrypt("", "owner", algorithm="RC4-128")
    with write.original.open("wb") as file:
        writer.write(file)
    with pytest.raises(Unreadable, match=f"is {kind}"):
        write()
    assert not write.copy.exists()


def test_a_page_with_an_origin_elsewhere(write: Copying) -> None:
    """The boxes are in the coordinates of the page, whatever part of it is shown."""
    writer = PdfWriter(clone_from=write.original)
    writer.pages[0].mediabox.lower_left = (-100, -50)
    writer.pages[0].cropbox.lower_left = (20, 30)
    with write.original.open("wb") as file:
        writer.write(file)
    write()
    claim, _ = highlighted(write.copy)
    assert words_of(claim.text) == words_of(ABSTRACT[slice(*FIRST)])


@pytest.mark.parametrize("objects", ["table", "streams"])
def test_qpdf_has_no_complaint(write: Copying, objects: str) -> None:
    if not (qpdf := shutil.which("qpdf")):
        pytest.skip("qpdf is not installed")
    if objects == "streams":
        packed = write.original.with_name("packed.pdf")
        command = [qpdf, "--object-streams=generate", str(write.original), str(packed)]
        subprocess.run(command, check=True)
        packed.replace(write.original)
    write()
    add_note(write.copy, "in the copy")
    write()
    done = subprocess.run([qpdf, "--check", str(write.copy)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_poppler_draws_the_highlights(write: Copying, tmp_path: Path) -> None:
    if not (pdftoppm := shutil.which("pdftoppm")):
        pytest.skip("pdftoppm of poppler is not installed")
    from PIL import Image

    write({"claim": MARKS["claim"], "method": {**MARKS["method"], "colour": "e69f00"}})
    command = [pdftoppm, "-r", "40", "-png", str(write.copy), str(tmp_path / "page")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    [page] = tmp_path.glob("page*.png")
    image = Image.open(io.BytesIO(page.read_bytes())).convert("RGB")
    assert any(red > blue + 60 for _, (red, _, blue) in image.getcolors(1 << 24) or [])
