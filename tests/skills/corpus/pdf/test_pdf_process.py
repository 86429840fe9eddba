"""Files that cannot be read, and files that end the process: no other file fails."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pdf_bombs import bombs
from pdf_papers import TITLE, PdfPaper, scan
from repository import ROOT

from harness.errors import InputError
from skills.corpus.pdf.pdf_files import WORKER, read_pdf
from skills.corpus.tables import reader_process
from skills.corpus.tables.reader_process import ReaderProcess

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
        (scan(), "has no text layer, as a scan has none"),
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


@pytest.mark.parametrize(("name", "data"), bombs().items(), ids=list(bombs()))
def test_bombs(reader: ReaderProcess, tmp_path: Path, name: str, data: bytes) -> None:
    assert reason(reader, tmp_path / f"{name}.pdf", data)


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
        ("memory", "needs more than 2 GB of memory"),
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
