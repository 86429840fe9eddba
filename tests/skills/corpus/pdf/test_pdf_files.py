"""A folder of PDF files as a table; files that cannot be read, or end the process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pdf_bombs import BOMBS
from pdf_papers import ABSTRACT, LIMITATION, TITLE, PdfPaper, scan
from repository import ROOT

from harness.errors import InputError
from harness.testing import FakeModel, fake_app
from skills.corpus.pdf import pdf_files
from skills.corpus.pdf.pdf_files import WORKER, read_pdf
from skills.corpus.table import Columns, open_table
from skills.corpus.tables import reader_process
from skills.corpus.tables.reader_process import ReaderProcess


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four papers, one of them in a folder, and a scan."""
    found = tmp_path / "Meine Aufsätze"
    (found / "more").mkdir(parents=True)
    PdfPaper(margin="arXiv:2405.12345v1 [cs.CL] 20 May 2024").write(found / "a.pdf")
    (found / "b.pdf").write_bytes(scan())
    PdfPaper(abstract=f"{ABSTRACT} So it is.", footnote="doi:10.1234/x5").write(found / "C.PDF")
    PdfPaper(abstract=f"{ABSTRACT} And so on.").write(found / "more" / "d e.pdf")
    PdfPaper(abstract=f"{ABSTRACT} Hidden.").write(found / ".hidden.pdf")
    (found / "notes.txt").write_text("No paper.")
    return found


def test_the_papers_of_a_folder(folder: Path) -> None:
    rows = list(open_table(folder).rows_or_errors())
    papers = {Path(row.where).name: row.paper for row in rows if not isinstance(row, InputError)}
    assert list(papers) == ["C.PDF", "a.pdf", "d e.pdf"]
    arxiv, doi, other = papers["a.pdf"], papers["C.PDF"], papers["d e.pdf"]
    assert (arxiv.id_field, arxiv.id, arxiv.title) == ("arxiv_id", "2405.12345", TITLE)
    assert (arxiv.published, arxiv.categories) == ("2024-05-20", "cs.CL")
    assert (doi.id, doi.source["doi"]) == ("10.1234/x5", "10.1234/x5")
    assert (other.id_field, other.id) == ("id", other.sha256[:12])
    assert other.source["path"] == str(folder / "more" / "d e.pdf")
    (refused,) = [row for row in rows if isinstance(row, InputError)]
    assert refused.where == str(folder / "b.pdf")
    assert "no text layer" in refused.message


def test_sections_are_read_if_they_are_wanted(folder: Path) -> None:
    (found,) = open_table(folder / "a.pdf", Columns(sections=("limitation",))).rows()
    (section,) = found.paper.sections
    assert (section.heading, section.page, section.text) == ("Limitations", 1, LIMITATION)
    (plain,) = open_table(folder / "a.pdf").rows()
    assert plain.paper.sections == ()


def test_a_folder_of_parts_is_no_folder_of_pdf_files(folder: Path) -> None:
    (folder / "part-0.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"part-0\.parquet"):
        open_table(folder)


def test_a_folder_of_too_many_entries_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if none of those that are searched is a PDF file."""
    monkeypatch.setattr(pdf_files, "MOST_ENTRIES", 2)
    for name in "abc":
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=r"more than 2 entries\. Name a subfolder"):
        open_table(tmp_path)


def test_corpus_add(folder: Path, tmp_path: Path) -> None:
    app = fake_app(tmp_path, FakeModel())
    outcome = app.dispatch(f'/corpus add "{folder}"')
    assert outcome.result.code == 1
    err = app.screen.err.getvalue()  # type: ignore[attr-defined]
    assert f"refused: {folder / 'b.pdf'}: has no text layer" in err
    assert outcome.result.data["papers"] == 3
    assert "10.1234/x5" in app.dispatch("/corpus show 10.1234/x5").result.text


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        list(open_table(tmp_path / "a.pdf").rows())


PAPER = PdfPaper().data()


@pytest.fixture(scope="module")
def reader() -> Iterator[ReaderProcess]:
    with ReaderProcess(WORKER, "PDFium") as found:
        yield found


def reason(reader: ReaderProcess, path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_pdf(reader, path)
    assert caught.value.where == str(path)
    return caught.value.message


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (scan(), "has no text layer, like a scan"),
        (PdfPaper(password="secret").data(), "is encrypted and needs a password"),
        (b"PK\3\4 a zip", "is not a PDF file, despite its name"),
        (b"", "is empty"),
        (b"%PDF-1.7\n" + bytes(range(256)) * 40, "is damaged"),
        (PAPER[:400], "is damaged"),
    ],
    ids=["scan", "encrypted", "other", "empty", "damaged", "truncated"],
)
def test_bad_files(reader: ReaderProcess, tmp_path: Path, data: bytes, expected: str) -> None:
    assert expected in reason(reader, tmp_path / "a.pdf", data)


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(reader: ReaderProcess, tmp_path: Path, name: str) -> None:
    assert reason(reader, tmp_path / f"{name}.pdf", BOMBS[name]())


def test_a_truncated_paper_is_read_or_refused(reader: ReaderProcess, tmp_path: Path) -> None:
    """PDFium rebuilds the table of a file that lacks its end."""
    path = tmp_path / "a.pdf"
    for length in range(500, len(PAPER), 4001):
        path.write_bytes(PAPER[:length])
        with contextlib.suppress(InputError):
            assert isinstance(read_pdf(reader, path)["title"], str)


def test_a_name_with_blanks_and_umlauts(reader: ReaderProcess, tmp_path: Path) -> None:
    path = tmp_path / "Über Ordner – ein Aufsatz.pdf"  # noqa: RUF001
    path.write_bytes(PAPER)
    assert read_pdf(reader, path)["title"] == TITLE


@pytest.mark.skipif(os.name == "nt", reason="limits are those of POSIX")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("crash", "PDFium crashed (SIGABRT)"),
        ("hang", "it takes too long, or too much memory"),
        ("loop", "it takes too long, or too much memory"),
        ("memory", "needs more than 46 MB of memory"),
        ("exit", "the process that read it ended with exit code 3"),
    ],
)
def test_the_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    """The next file is read by another one."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "support" / "pdf"))
    monkeypatch.setattr(reader_process, "SECONDS", 5.0 if name == "hang" else 60.0)
    good = tmp_path / "good.pdf"
    good.write_bytes(PAPER)
    with ReaderProcess("failing_worker", "PDFium") as found:
        assert read_pdf(found, good)["title"] == TITLE
        assert expected in reason(found, tmp_path / f"{name}.pdf", PAPER)
        assert read_pdf(found, good)["title"] == TITLE


def test_no_process_is_left(tmp_path: Path) -> None:
    with ReaderProcess(WORKER, "PDFium") as found:
        (tmp_path / "a.pdf").write_bytes(PAPER)
        read_pdf(found, tmp_path / "a.pdf")
        assert found._process is not None
        begun = found._process
    assert begun.poll() == 0
