"""A reference has what all sources of a paper state."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from corpus_papers import annotated, paper

from harness.testing import fake_app
from skills.corpus.corpus_store import Database
from skills.corpus.db import merging, papers, reads, store
from skills.corpus.db.connection import default_path, open_corpus
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper

DOI = "10.1234/jas.5"


def journal(**source: str) -> Paper:
    """Return what a library knows of a paper: not its abstract as the table has it."""
    source = {"kind": "table", "doi": DOI, "venue": "Annals of Tools", "pmid": "123", **source}
    return Paper(
        "id",
        "mueller24",
        "On Ledgers",
        "Ledgers.",
        source,
        authors="A. Müller",
        published="2024-05",
    )


def table() -> Paper:
    """Return a row of a table that knows an abstract and a DOI."""
    return Paper("id", "7", "", "We test a ledger.", {"kind": "table", "doi": DOI})


def test_other_sources_complete_a_paper(db: sqlite3.Connection) -> None:
    store.save(db, annotated(table()), nanda())
    papers.save(db, journal())
    papers.save(db, paper(9))
    [item] = reads.annotated(db, nanda(), Database(db, nanda()).ids())
    assert (item.paper.id, item.paper.abstract) == ("7", "We test a ledger.")
    assert (item.paper.title, item.paper.authors) == ("On Ledgers", "A. Müller")
    assert item.paper.published == "2024-05"
    assert item.record["title"] == "On Ledgers"
    known = {name: item.paper.source[name] for name in ("doi", "venue", "pmid")}
    assert known == {"doi": DOI, "venue": "Annals of Tools", "pmid": "123"}
    merging.separate(db, 1)
    [item] = reads.annotated(db, nanda(), Database(db, nanda()).ids())
    assert (item.paper.title, item.paper.source.get("venue")) == ("", None)


def test_what_a_source_states_itself_comes_first(db: sqlite3.Connection) -> None:
    own = Paper("id", "7", "Ledgers!", "We test.", {"kind": "table", "doi": DOI, "venue": "Mine"})
    papers.save(db, journal())
    papers.save(db, journal(venue="Third"))
    store.save(db, annotated(own), nanda())
    [item] = reads.annotated(db, nanda(), Database(db, nanda()).ids())
    assert (item.paper.title, item.paper.source["venue"]) == ("Ledgers!", "Mine")


def test_a_reference_is_exported_with_them(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = fake_app(tmp_path)
    with open_corpus(default_path(app.settings)) as db:
        store.save(db, annotated(table()), nanda())
        papers.save(db, journal())
    app.dispatch("/corpus export refs.bib")
    written = Path("refs.bib").read_text()
    for field in ("journal = {Annals of Tools}", f"doi = {{{DOI}}}", "author = {Müller, A.}"):
        assert field in written
    assert written.count("@") == 1
