"""`save to FOLDER/` of PDF files, and /corpus highlight: copies with highlights."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest
from highlighted_words import highlighted, words_of
from pdf_papers import ABSTRACT, LIMITATION, PdfPaper, scan
from sample_pdfs import FOLDER, SAMPLES

from harness.cli.app import App
from harness.errors import Interrupted, OutputError, UsageError
from harness.models.backend import OnText, Reply, Request
from harness.testing import FakeModel, fake_app
from skills.corpus.exports import highlights
from skills.corpus.exports.highlights import COLOURS
from skills.nanda.framework import nanda
from skills.nanda.sentences import split_sentences
from skills.nanda.text import flatten

OTHER = "Tides of invented harbours are predicted by nobody"


class Quoting(FakeModel):
    """States the first sentence as claim, and the last as limitation if it begins with "We"."""

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        numbered = request.messages[1].content.partition("</abstract>")[0]
        abstract = re.sub(r"<abstract>|\[\d+\]", "", numbered)
        first, *_, last = map(flatten, split_sentences(flatten(abstract)))
        moves = {**dict.fromkeys(nanda().names, "Not stated."), "claim": first}
        if last.startswith("We "):
            moves["limitation"] = last
        return Reply(json.dumps(moves), "stop", self.count_tokens(request), 20, 0.01)


@pytest.fixture
def app(tmp_path: Path) -> App:
    return fake_app(tmp_path, Quoting())


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    """Two papers of one name, and two files that cannot be read."""
    folder = tmp_path / "papers"
    (folder / "more").mkdir(parents=True)
    PdfPaper().write(folder / "a.pdf")
    PdfPaper(title=OTHER, abstract=f"{OTHER}. {ABSTRACT}", columns=1).write(
        folder / "more" / "a.pdf"
    )
    (folder / "scan.pdf").write_bytes(scan())
    PdfPaper(password="secret").write(folder / "encrypted.pdf")
    return folder


def error_text(app: App) -> str:
    return str(app.screen.err.getvalue())  # type: ignore[attr-defined]


def test_annotate_writes_copies(app: App, papers: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in papers.rglob("*.pdf")}
    copies = tmp_path / "highlighted"
    app.dispatch(f"/annotate {papers} --sections limitation save to {copies}/")
    assert {path: path.read_bytes() for path in papers.rglob("*.pdf")} == before
    assert sorted(one.name for one in copies.iterdir()) == ["a (more).pdf", "a.pdf"]
    claim, limitation = highlighted(copies / "a.pdf")
    assert words_of(claim.text) == words_of(split_sentences(ABSTRACT)[0])
    assert words_of(limitation.text) == words_of(split_sentences(LIMITATION)[-1])
    assert limitation.contents.endswith("(section Limitations, p. 1)")
    assert bytes(claim.colour).hex() == COLOURS[0]
    shown = error_text(app)
    assert f"{copies}: 2 PDF files with highlights" in shown
    assert "scan.pdf: has no text layer" in shown
    assert "encrypted.pdf: is encrypted" in shown


def test_one_file_is_copied(app: App, papers: Path, tmp_path: Path) -> None:
    app.dispatch(f"/annotate {papers / 'a.pdf'} save to {tmp_path / 'out'}/")
    assert [one.subject for one in highlighted(tmp_path / "out" / "a.pdf")] == ["Claim"]


@pytest.mark.parametrize("name", ["vault", "notes.vault", "of obsidian"])
def test_a_vault_receives_notes(app: App, papers: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "of obsidian" / ".obsidian").mkdir(parents=True)
    app.dispatch(f'/annotate {papers} save to "{tmp_path / name}/"')
    assert {one.suffix for one in (tmp_path / name).iterdir()} - {""} == {".md"}


def test_the_corpus_highlights_what_was_annotated(
    app: App, papers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app.dispatch("/annotate papers/ save to out.jsonl")
    monkeypatch.chdir(papers)
    app.dispatch(f"/corpus highlight save to {tmp_path / 'all'}/")
    assert len([*(tmp_path / "all").iterdir()]) == 2
    app.dispatch(f"/corpus highlight claim=stated save to {tmp_path / 'stated'}/")
    assert len([*(tmp_path / "stated").iterdir()]) == 2
    record = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    app.dispatch(f"/corpus highlight {record['id']} save to {tmp_path / 'one'}/")
    assert len([*(tmp_path / "one").iterdir()]) == 1


def test_a_missing_file_is_reported(app: App, papers: Path, tmp_path: Path) -> None:
    app.dispatch(f"/annotate {papers} save to {tmp_path / 'out.jsonl'}")
    (papers / "a.pdf").unlink()
    app.dispatch(f"/corpus highlight save to {tmp_path / 'all'}/")
    assert "1 PDF file with highlights" in error_text(app)
    assert f"skipped: {papers / 'a.pdf'}: " in error_text(app)


def test_papers_without_a_pdf_file_are_counted(app: App, tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text(ABSTRACT)
    app.dispatch(f"/annotate {text}")
    app.dispatch(f"/corpus highlight save to {tmp_path / 'all'}/")
    assert "0 PDF files with highlights; 1 paper without a PDF file" in error_text(app)


def test_highlight_needs_a_folder(app: App) -> None:
    with pytest.raises(UsageError, match="saves to a folder"):
        app.dispatch("/corpus highlight claim=stated")


def test_originals_are_never_replaced(app: App, papers: Path) -> None:
    before = {path: path.read_bytes() for path in papers.rglob("*.pdf")}
    app.dispatch(f"/annotate {papers} save to {papers / 'more'}/")
    assert {path: path.read_bytes() for path in papers.rglob("*.pdf")} == before
    assert "is in the folder of the copies" in error_text(app)


def test_nothing_is_written_through_a_link(app: App, papers: Path, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    (copies / "a.pdf").symlink_to(papers / "a.pdf")
    before = (papers / "a.pdf").read_bytes()
    app.dispatch(f"/annotate {papers / 'a.pdf'} save to {copies}/")
    assert (papers / "a.pdf").read_bytes() == before
    assert "would be written through a link" in error_text(app)


def test_a_stop_keeps_the_finished_copies(
    app: App, papers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = iter([None, Interrupted("interrupted")])

    def check() -> None:
        if error := next(checks):
            raise error

    save = highlights.save
    monkeypatch.setattr(
        highlights, "save", lambda *args, tick, **_: save(*args, tick=tick, check=check)
    )
    with pytest.raises(Interrupted, match=r"finished copies in .* are kept"):
        app.dispatch(f"/annotate {papers} save to {tmp_path / 'out'}/")
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["a.pdf"]


def test_a_folder_that_cannot_be_written(app: App, papers: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        app.dispatch(f"/annotate {papers} save to {tmp_path / 'file'}/")


def test_colours_of_the_moves_differ() -> None:
    assert len(set(COLOURS)) == len(nanda().names)


def test_the_samples_are_those_of_the_code(app: App, tmp_path: Path) -> None:
    app.dispatch(f"/annotate {FOLDER} save to {tmp_path / 'out'}/")
    for name, paper in SAMPLES.items():
        [claim] = highlighted(tmp_path / "out" / name)
        assert words_of(claim.text) == words_of(split_sentences(paper.abstract)[0])


def test_a_note_links_to_the_page_of_a_move_in_a_file_of_the_vault(
    app: App, tmp_path: Path
) -> None:
    folder = tmp_path / "notes.vault"
    (folder / "files").mkdir(parents=True)
    (folder / ".obsidian").mkdir()
    PdfPaper().write(folder / "files" / "a.pdf")
    app.dispatch(f"/annotate {folder / 'files' / 'a.pdf'} save to {folder}/")
    [note] = folder.glob("*.md")
    assert "In the PDF: [[a.pdf#page=1|Claim]]\n" in note.read_text(encoding="utf-8")
    before = note.read_bytes()
    app.dispatch(f"/annotate {folder / 'files' / 'a.pdf'} save to {folder}/")
    assert note.read_bytes() == before
