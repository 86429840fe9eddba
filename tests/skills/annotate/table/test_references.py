"""From a reference manager's export and back to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import rispy
from annotate_workspace import ABSTRACT, Workspace

from harness.errors import InputError, UsageError
from skills.corpus.tables.references.notes import HEADING

ENTRY = "@article{{key{0}, title = {{Paper {0}}}, doi = {{10.5555/{0}}}, abstract = {{{1}}}}}\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def library(workspace: Workspace) -> Path:
    path = workspace.folder / "Meine Bücher.bib"
    entries = (ENTRY.format(number, ABSTRACT.format(number)) for number in (1, 2))
    path.write_text("".join(entries) + "@book{three, title = {Three}}\n", encoding="utf-8")
    return path


def test_a_library_becomes_ris_with_notes(workspace: Workspace, library: Path) -> None:
    outcome = workspace.app.dispatch(f'/annotate "{library}" save to notes.ris')
    assert outcome.result.code == 0
    assert "1 left out (no abstract)" in workspace.stderr
    records = rispy.loads((workspace.folder / "notes.ris").read_text(encoding="utf-8"))
    assert [record["id"] for record in records] == ["key1", "key2"]
    assert records[1]["notes"][:2] == [HEADING, "Claim: Claim of method 2."]
    assert not any("Limitation" in note for note in records[1]["notes"])  # it is not stated


def test_a_library_gains_notes_and_keeps_its_entries(workspace: Workspace, library: Path) -> None:
    workspace.app.dispatch(f'/annotate "{library}" save to a.bib')
    text = (workspace.folder / "a.bib").read_text(encoding="utf-8")
    assert text.count(HEADING) == 2
    assert text.endswith("@book{three, title = {Three}}\n")
    for _ in range(2):
        workspace.app.dispatch("/annotate a.bib save to b.bib")
    assert (workspace.folder / "b.bib").read_text(encoding="utf-8") == text
    assert workspace.annotator.counts == {1: 1, 2: 1}
    with pytest.raises(UsageError, match="is the input itself"):
        workspace.app.dispatch("/annotate --force a.bib save to a.bib")


def test_only_the_rows_of_a_limit_gain_notes(workspace: Workspace, library: Path) -> None:
    workspace.app.dispatch(f'/annotate --limit 1 "{library}" save to a.bib')
    text = (workspace.folder / "a.bib").read_text(encoding="utf-8")
    assert text.count(HEADING) == 1
    assert text.count("@article") == 2


def test_csl_json_beside_the_stored_form(workspace: Workspace, library: Path) -> None:
    workspace.app.dispatch(f'/annotate "{library}" save to a.csl.json -o a.json')
    csl = json.loads((workspace.folder / "a.csl.json").read_text(encoding="utf-8"))
    stored = json.loads((workspace.folder / "a.json").read_text(encoding="utf-8"))
    assert [item["id"] for item in csl] == [record["id"] for record in stored] == ["key1", "key2"]
    assert csl[0]["note"].startswith(HEADING)
    assert stored[0]["claim"] == "Claim of method 1."
    assert stored[0]["provenance"]["input"]["doi"] == "10.5555/1"


def test_a_broken_entry_is_named_and_the_rest_is_annotated(
    workspace: Workspace, library: Path
) -> None:
    library.write_text(f"@article{{x, title={{\n{library.read_text(encoding='utf-8')}", "utf-8")
    outcome = workspace.app.dispatch(f'/annotate "{library}" save to out.csv')
    assert outcome.result.code == 1
    assert f"refused: {library}, line 1: the entry that begins here" in workspace.stderr
    assert (workspace.folder / "out.csv").read_text(encoding="utf-8").count("key") == 2


@pytest.mark.parametrize("line", ["/annotate", "/corpus add"])
def test_an_encoding_that_is_a_guess_is_announced(
    workspace: Workspace, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(workspace.folder))
    entry = ENTRY.format(1, ABSTRACT.format(1)).replace("Paper", "Über")
    path = workspace.folder / "a.bib"
    path.write_text(entry, encoding="utf-8")
    workspace.app.dispatch(f"{line} a.bib")
    assert "Windows-1252" not in workspace.stderr
    path.write_text(entry, encoding="latin-1")
    workspace.app.dispatch(f"{line} ~/a.bib")
    assert "a.bib is not UTF-8; it is read as Windows-1252." in workspace.stderr
    [paper] = workspace.app.dispatch("/corpus show key1").result.data["papers"]
    assert paper["title"] == "Über 1"


def test_the_corpus_is_exported_as_references(workspace: Workspace, library: Path) -> None:
    workspace.app.dispatch(f'/annotate "{library}"')
    workspace.app.dispatch("/corpus export all.bib")
    text = (workspace.folder / "all.bib").read_text(encoding="utf-8")
    assert "@misc{key1," in text
    assert "doi = {10.5555/2}" in text
    assert text.count(HEADING) == 2
    workspace.app.dispatch("/corpus search claim save to found.csl.json")
    assert len(json.loads((workspace.folder / "found.csl.json").read_text())) == 2


def test_one_abstract_becomes_a_reference(workspace: Workspace) -> None:
    workspace.app.dispatch(f"/annotate --title One {ABSTRACT.format(7)} save to one.bib")
    text = (workspace.folder / "one.bib").read_text(encoding="utf-8")
    assert "title = {One}" in text
    assert f"annote = {{{HEADING}\nClaim: Claim of method 7." in text


def test_a_library_is_added_to_the_corpus(workspace: Workspace, library: Path) -> None:
    outcome = workspace.app.dispatch(f'/corpus add "{library}"')
    added = outcome.result.data
    assert (added["papers"], added["without_moves"], added["empty"]) == (2, 2, 1)
    assert workspace.app.dispatch("/corpus show key1").result.data["papers"][0]["title"] == (
        "Paper 1"
    )


@pytest.mark.parametrize("line", ["/curate {}", "/evaluate {}"])
def test_a_library_has_no_moves(workspace: Workspace, library: Path, line: str) -> None:
    path = library.rename(workspace.folder / "a.bib")
    with pytest.raises(InputError, match="has no column claim"):
        workspace.app.dispatch(line.format(path))


def test_a_missing_library_is_not_a_topic(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        workspace.app.dispatch("/annotate my own papers.nbib")
