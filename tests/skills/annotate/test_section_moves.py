"""/annotate of PDF files, and --sections."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from annotate_workspace import Workspace
from pdf_papers import ABSTRACT, INTRODUCTION, LIMITATION, PdfPaper, scan

from harness.errors import InputError, UsageError
from harness.models.backend import OnText, Reply, Request
from harness.models.registry import ServeEntry
from harness.models.weights import FileStore
from harness.testing import FakeModel, run_skill
from skills.annotate.plugin import Annotate
from skills.corpus.db.damage import verify
from skills.corpus.records import key_of
from skills.nanda.framework import nanda
from skills.reader.backend import ReaderBackend

STATED = {
    "has only five collections": {"limitation": "The study has only five collections."},
    "files papers as well": {"implication": "Libraries may sort their holdings."},
    "reads abstracts": {"claim": "The model finds the right shelf."},
}
SHOWN = "The study has only five collections. (section Limitations, p. 1)"


class Reading(FakeModel):
    """Annotates abstracts and sections with the moves in `STATED`.

    Attributes:
        texts: what each of them contains.
    """

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        content = request.messages[1].content
        text, moves = next((text, moves) for text, moves in STATED.items() if text in content)
        self.texts.append(text)
        answer = {**dict.fromkeys(nanda().names, "Not stated."), **moves}
        return Reply(json.dumps(answer), "stop", self.count_tokens(request), 20, 0.01)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "papers").mkdir()
    PdfPaper().write(tmp_path / "papers" / "one.pdf")
    return Workspace(tmp_path, Reading())


def annotated(workspace: Workspace, options: str = "", name: str = "papers") -> dict[str, Any]:
    target = workspace.folder / "out.json"
    path = workspace.folder / name
    outcome = workspace.app.dispatch(f'/annotate "{path}" {options} --force save to {target}')
    assert outcome.result.code == 0
    stored = json.loads(target.read_text(encoding="utf-8"))
    (record,) = stored if isinstance(stored, list) else [stored]
    return dict(record)


@pytest.mark.parametrize("name", ["papers", "papers/one.pdf"])
def test_without_the_option_only_the_abstract_is_read(workspace: Workspace, name: str) -> None:
    record = annotated(workspace, name=name)
    assert record["claim"] == "The model finds the right shelf."
    assert record["limitation"] == "Not stated."
    assert "sections" not in record
    assert workspace.model.texts == ["reads abstracts"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["papers", "papers/one.pdf"])
def test_a_missing_move_is_found_in_its_section(workspace: Workspace, name: str) -> None:
    record = annotated(workspace, "--sections limitation", name)
    assert record["limitation"] == "Not stated."  # the abstract does not state it
    assert record["sections"] == {
        "limitation": {
            "section": "Limitations",
            "page": 1,
            "text": "The study has only five collections.",
            "source": LIMITATION.partition(" The model")[0],
            "support": 1.0,
        }
    }
    assert list(record["anchors"]) == ["claim"]
    assert list(record["checks"]["support"]) == ["claim"]
    assert record["provenance"]["tokens"]["completion"] == 40
    assert verify(record, ABSTRACT) == []


def test_a_pipe_has_what_the_section_states(workspace: Workspace) -> None:
    found = workspace.app.dispatch("/annotate papers/one.pdf --sections limitation").result
    assert json.loads(found.text)["sections"]["limitation"]["section"] == "Limitations"


@pytest.mark.model
def test_the_reader_quotes_a_section_on_limitations(tmp_path: Path, model_files: FileStore) -> None:
    """It has a limitation even if the reader would find none, as in most abstracts."""
    kind = "Our nurses are kind to all of the patients in our wards."
    sections = [("1 Introduction", INTRODUCTION), ("Limitations", kind)]
    record = run_skill(
        Annotate(),
        str(PdfPaper(sections=sections).write(tmp_path / "paper.pdf")),
        model=ReaderBackend(model_files).load(ServeEntry(backend="reader", file="nanda-reader")),
        form="quotes",
        source="line",
        options={"sections": ["limitation"]},
    ).data
    assert record["sections"]["limitation"]["source"] == kind


def test_several_sections(workspace: Workspace) -> None:
    found = annotated(workspace, "--sections limitation,conclusion")["sections"]
    assert {move: one["section"] for move, one in found.items()} == {
        "limitation": "Limitations",
        "implication": "Conclusion",
    }


def test_the_section_is_part_of_the_content_key(workspace: Workspace) -> None:
    plain = annotated(workspace)
    with_section = annotated(workspace, "--sections limitation")
    keys = {one["provenance"]["key"] for one in (plain, with_section)}
    assert len(keys) == 2
    assert all(key_of(one["provenance"]) in keys for one in (plain, with_section))
    done = list(workspace.model.texts)  # type: ignore[attr-defined]
    assert annotated(workspace, "--sections limitation") == with_section
    assert workspace.model.texts == done  # type: ignore[attr-defined]
    sections = (("1 Introduction", INTRODUCTION), ("Limitations", f"{LIMITATION} Nor did we look."))
    PdfPaper(sections=sections).write(workspace.folder / "papers" / "one.pdf")
    other = annotated(workspace, "--sections limitation")
    assert other["provenance"]["key"] not in keys


def test_a_paper_without_the_section_is_the_same_work_as_without_the_option(
    workspace: Workspace,
) -> None:
    PdfPaper(sections=()).write(workspace.folder / "papers" / "one.pdf")
    plain = annotated(workspace)
    assert annotated(workspace, "--sections limitation") == plain


@pytest.mark.parametrize("suffix", [".md", ".html", ".ris", ".bib", ".csv"])
@pytest.mark.parametrize("name", ["papers", "papers/one.pdf"])
def test_files_for_people_name_the_section(workspace: Workspace, suffix: str, name: str) -> None:
    target = workspace.folder / f"out{suffix}"
    path = workspace.folder / name
    workspace.app.dispatch(f"/annotate {path} --sections limitation save to {target}")
    assert SHOWN in target.read_text(encoding="utf-8").replace("\\", "")


def test_other_files_are_reported_and_the_job_goes_on(workspace: Workspace) -> None:
    (workspace.folder / "papers" / "two.pdf").write_bytes(scan())
    (workspace.folder / "papers" / "three.pdf").write_bytes(b"<html>not found</html>")
    target = workspace.folder / "out.jsonl"
    outcome = workspace.app.dispatch(f"/annotate {workspace.folder / 'papers'} save to {target}")
    assert outcome.result.code == 1
    assert len(target.read_text(encoding="utf-8").splitlines()) == 1
    assert "two.pdf: has no text layer" in workspace.stderr
    assert "three.pdf: is not a PDF file" in workspace.stderr
    assert "2 left out (refused)" in workspace.stderr


def test_one_bad_file_is_the_error(workspace: Workspace) -> None:
    bad = workspace.folder / "bad.pdf"
    bad.write_bytes(scan())
    with pytest.raises(InputError, match=r"bad\.pdf: has no text layer"):
        workspace.app.dispatch(f"/annotate {bad}")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("papers --sections summary", "--sections: 'summary' is not one of limitation, conclusion"),
        (
            "papers.csv --sections limitation",
            "--sections requires PDF files",
        ),
        ("agents for libraries --sections limitation", "does not apply to a topic"),
    ],
)
def test_what_cannot_be_read(workspace: Workspace, line: str, expected: str) -> None:
    workspace.rows(1)
    with pytest.raises(UsageError, match=expected):
        workspace.app.dispatch(f"/annotate {line}")


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_an_import_keeps_what_the_section_states(workspace: Workspace, suffix: str) -> None:
    saved = workspace.folder / f"out{suffix}"
    record = annotated(workspace, "--sections limitation")
    workspace.app.dispatch(f"/annotate {workspace.folder / 'papers'} --sections limitation"
                           f" --force save to {saved}")  # fmt: skip
    others = workspace.folder / "other.db"
    workspace.app.dispatch(f"/corpus add {workspace.folder / 'papers'} --db {others}")
    workspace.app.dispatch(f"/corpus add {saved} --db {others}")
    shown = workspace.app.dispatch(f"/corpus show {record['id']} --db {others}").result
    assert SHOWN in " ".join(shown.text.split())
