"""A folder of PDF files as a table of papers, and in the corpus."""

from __future__ import annotations

from pathlib import Path

import pytest
from pdf_papers import ABSTRACT, LIMITATION, TITLE, PdfPaper, scan

from harness.errors import InputError
from harness.testing import FakeModel, fake_app
from skills.corpus.pdf import pdf_files
from skills.corpus.table import Columns, open_table


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
    with pytest.raises(InputError, match=r"more than 2 entries\. Name a folder in it"):
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
