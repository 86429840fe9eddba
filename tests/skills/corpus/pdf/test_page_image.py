"""The image of a page, and the places of passages on it."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pdf_bombs import BOMBS
from pdf_papers import ABSTRACT, PdfPaper, joined
from PIL import Image
from pypdf import PdfReader, PdfWriter
from pypdf.generic import RectangleObject

from skills.corpus.pdf import page_image
from skills.corpus.tables.reader_process import ReaderProcess, Unreadable
from skills.nanda.sentences import sentence_spans

PASSAGES = {"abstract": ABSTRACT, "spans": {"claim": [sentence_spans(ABSTRACT)[0]]}, "quotes": {}}


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    return PdfPaper(columns=1).write(tmp_path / "a.pdf")


def image_of(path: Path, page: int = 0) -> Image.Image:
    [answer] = page_image.read(str(path), page=page)
    return Image.open(io.BytesIO(base64.b64decode(answer)))


def claim_of(path: Path) -> tuple[float, list[list[float]]]:
    """Return the height of the first page, and the boxes of the claim."""
    [answer] = page_image.read(str(path), passages=PASSAGES)  # type: ignore[arg-type]
    [place] = answer["places"]["claim"]
    assert place["page"] == 0
    return answer["heights"][0], place["boxes"]


def test_an_image_has_the_width_and_the_shape_of_the_page(paper: Path) -> None:
    image = image_of(paper)
    assert image.format == "PNG"
    assert image.mode == "L"  # it has no colours
    assert abs(image.width - page_image.WIDTH) <= 1
    assert image.height / image.width == pytest.approx(842 / 595, abs=0.01)
    assert image.getextrema() == (0, 255)


def test_a_page_with_colours_has_three_channels(tmp_path: Path) -> None:
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(tmp_path / "a.pdf"), pagesize=(400, 200))
    canvas.setFillColorRGB(1, 0, 0)
    canvas.rect(0, 0, 200, 200, stroke=0, fill=1)
    canvas.save()
    image = image_of(tmp_path / "a.pdf")
    assert (image.mode, image.size) == ("RGB", (1400, 700))
    assert image.getpixel((300, 300)) == (255, 0, 0)
    assert image.getpixel((1000, 300)) == (255, 255, 255)


def changed(path: Path, rotate: int, crop: tuple[float, float, float, float] | None) -> Path:
    """Write a paper whose first page is rotated and cropped."""
    writer = PdfWriter(clone_from=PdfReader(path))
    page = writer.pages[0]
    page.rotate(rotate)
    if crop:
        page.cropbox = RectangleObject(crop)
    writer.write(path.with_name("changed.pdf"))
    return path.with_name("changed.pdf")


@pytest.mark.parametrize(
    ("rotate", "crop"),
    [(0, None), (90, None), (180, None), (270, None), (0, (40, 100, 560, 800))],
)
def test_the_ink_of_a_passage_is_in_its_boxes(
    paper: Path, rotate: int, crop: tuple[float, float, float, float] | None
) -> None:
    """On a page with this passage alone, all ink of its line is in the boxes."""
    path = changed(paper, rotate, crop)
    height, boxes = claim_of(path)
    image = image_of(path)
    scale = image.width / page_image.UNIT
    assert height * scale == pytest.approx(image.height, abs=2)
    for left, top, width, down in boxes:
        assert 0 <= left < left + width <= page_image.UNIT
        assert 0 <= top < top + down <= height
        box = image.crop(
            tuple(round(one * scale) for one in (left, top, left + width, top + down))  # type: ignore[arg-type]
        )
        assert box.getextrema()[0] < 100  # type: ignore[operator]
        # The words fill the line in the direction of reading.
        lines = box if rotate % 180 == 0 else box.rotate(90, expand=True)
        inked = [
            lines.crop((x, 0, x + 1, lines.height)).getextrema()[0] < 200  # type: ignore[operator]
            for x in range(lines.width)
        ]
        assert inked.index(True) < 10
        assert inked[::-1].index(True) < 10
    first = boxes[0]
    assert (first[2] > first[3]) == (rotate % 180 == 0)


def test_a_large_image_has_a_lower_resolution(paper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_image, "MOST_BYTES", 40_000)
    image = image_of(paper)
    assert image.width < page_image.WIDTH * 0.7
    monkeypatch.setattr(page_image, "MOST_BYTES", 100)
    with pytest.raises(Unreadable, match="an image of more than 100 bytes on page 1"):
        image_of(paper)


@pytest.mark.parametrize("size", [(14_400, 20), (20, 14_400), (14_400, 14_400), (0.5, 0.5)])
def test_a_page_of_any_size_has_a_bounded_image(tmp_path: Path, size: tuple[float, float]) -> None:
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(tmp_path / "a.pdf"), pagesize=size)
    canvas.line(0, 0, *size)
    canvas.save()
    image = image_of(tmp_path / "a.pdf")
    assert image.width * image.height < page_image.MOST_PIXELS * 1.01


@pytest.mark.parametrize("page", [-1, 2, 10**18])
def test_a_page_that_does_not_exist(paper: Path, tmp_path: Path, page: int) -> None:
    two = joined(tmp_path / "two.pdf", paper.read_bytes(), paper.read_bytes())
    assert image_of(two, 1).width
    with pytest.raises(Unreadable, match="has no page"):
        image_of(two, page)


@pytest.fixture(scope="module")
def process() -> Iterator[ReaderProcess]:
    with ReaderProcess("skills.corpus.pdf.page_image", "PDFium", 20) as running:
        yield running


def test_a_small_file_may_have_a_large_scan(process: ReaderProcess, tmp_path: Path) -> None:
    from reportlab.lib.utils import ImageReader
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(tmp_path / "a.pdf"), pagesize=(595, 842))
    canvas.drawImage(ImageReader(Image.new("L", (4958, 7016), 250)), 0, 0, 595, 842)
    canvas.save()
    [answer] = process.read(tmp_path / "a.pdf", page=0)
    assert Image.open(io.BytesIO(base64.b64decode(answer))).getextrema() == (250, 250)


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_gives_an_image_or_a_reason(
    process: ReaderProcess, tmp_path: Path, name: str
) -> None:
    path = tmp_path / f"{name}.pdf"
    path.write_bytes(BOMBS[name]())
    for request in ({"page": 0}, {"passages": PASSAGES}):
        with contextlib.suppress(Unreadable):
            [answer] = process.read(path, **request)
            assert len(answer) < 2 * page_image.MOST_BYTES
    good = PdfPaper().write(tmp_path / "good.pdf")
    found: list[Any] = [*process.read(good, page=0)]
    assert len(found) == 1
