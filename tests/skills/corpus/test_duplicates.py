"""Test /corpus duplicates and /corpus split through the application."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from declared_outputs import check_output

from harness.cli.app import App
from harness.errors import InputError, NothingFound, OutputError
from harness.testing import fake_app
from skills.corpus.plugin import Corpus

LIBRARY = """@article{mueller24, title = {Planning for {Agents} in Noisy Warehouses},
  author = {M{\\"u}ller, Anna and Wang, Wei}, year = 2024, doi = {10.1234/JAS.5},
  journal = {Annals of Tools}, abstract = {We test a ledger.}}
@misc{pre, title = {Planning for Agents in Noisy Warehouses}, author = {Anna M{\\"u}ller},
  year = 2023, eprint = {2305.00001}, archiveprefix = {arXiv}, abstract = {We test ledgers.}}
"""
TABLE = """id,title,authors,published,abstract
p7,PLANNING FOR AGENTS IN NOISY WAREHOUSES,Mueller A,2024,Another abstract.
https://doi.org/10.1234/jas.5,Planning for agents,,,A third one.
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.chdir(tmp_path)
    Path("library.bib").write_text(LIBRARY, encoding="utf-8")
    Path("table.csv").write_text(TABLE, encoding="utf-8")
    made = fake_app(tmp_path)
    made.dispatch("/corpus add library.bib")
    yield made
    made.close()


def data(app: App, line: str) -> Any:
    return json.loads(app.dispatch(line).result.as_json())


def test_what_was_merged_and_linked_is_reported(app: App) -> None:
    added = app.dispatch("/corpus add table.csv").result
    assert "Merged with other papers (/corpus duplicates): 2 papers." in added.text
    shown = app.dispatch("/corpus duplicates").result
    assert shown.text.startswith("4 pairs: 2 linked, 2 merged")
    found = data(app, "/corpus duplicates")["pairs"]
    assert [(one["paper"]["row"], one["other"]["row"], one["rule"]) for one in found] == [
        (1, 2, "title, first author, year"),
        (1, 3, "title, first author, year"),
        (1, 4, "doi"),
        (2, 3, "title, first author, year"),
    ]
    assert data(app, "/corpus stats")["papers"] == 2


@pytest.mark.parametrize("wanted", ["mueller24", "doi:10.1234/jas.5", "p7"])
def test_each_id_finds_the_paper(app: App, wanted: str) -> None:
    app.dispatch("/corpus add table.csv")
    text = app.dispatch(f"/corpus show {wanted}").result.text
    assert "Planning" in text.title()
    assert "with mueller24 (paper 1)" in text or "doi 10.1234/jas.5" in text
    [paper] = data(app, f"/corpus show {wanted}")["papers"]
    assert paper["duplicates"]


def test_split_undoes_and_is_not_undone(app: App) -> None:
    app.dispatch("/corpus add table.csv")
    done = app.dispatch("/corpus split p7").result
    check_output(Corpus(), "split", done)
    assert "p7 (paper 3)" in done.text
    assert data(app, "/corpus stats")["papers"] == 3
    app.dispatch("/corpus add table.csv")
    relations = [pair["relation"] for pair in data(app, "/corpus duplicates")["pairs"]]
    assert relations == ["linked", "split", "merged", "split", "split"]
    shown = app.dispatch("/corpus show p7").result.text
    assert "Split from mueller24 (paper 1)" in shown


def test_what_cannot_be_split_is_refused(app: App) -> None:
    app.dispatch("/corpus add table.csv")
    with pytest.raises(NothingFound, match="nothing is not in the corpus"):
        app.dispatch("/corpus split nothing")
    with pytest.raises(InputError, match="the id of several rows of the corpus: 1, 4"):
        app.dispatch("/corpus split 10.1234/jas.5")
    app.dispatch("/corpus split p7")
    with pytest.raises(NothingFound, match="p7 is neither merged nor linked"):
        app.dispatch("/corpus split p7")
    Path("parts").mkdir()
    with pytest.raises(OutputError, match="which can be read but not written"):
        app.dispatch("/corpus duplicates --db parts")


def test_without_duplicates(app: App) -> None:
    app.dispatch("/corpus split 1")
    text = app.dispatch("/corpus duplicates").result.text
    assert text.startswith("1 pair: 1 split")
    app.dispatch("/corpus add table.csv --db other.db")
    text = app.dispatch("/corpus duplicates --db other.db").result.text
    assert text == "No paper was merged, linked or split."


def test_a_paper_of_several_sources_is_listed_once(app: App) -> None:
    app.dispatch("/corpus add table.csv")
    documents = Corpus().documents(app.settings, "", 10)
    assert [one.key for one in documents] == ["1", "2"]
    after, pages = "", []
    while page := Corpus().documents(app.settings, after, 1):
        pages += page
        after = page[-1].key
    assert pages == documents
    app.dispatch("/corpus split mueller24")
    assert [one.key for one in Corpus().documents(app.settings, "", 10)] == ["1", "2", "3", "4"]
