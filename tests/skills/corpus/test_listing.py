"""The counts of facets: kept while the database is the same, and current after each change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import browsed_corpus
import pytest

from skills.corpus.corpus_store import Database
from skills.corpus.db import store
from skills.corpus.db.connection import open_corpus
from skills.corpus.listing import FacetCounts, Listing, Selection
from skills.corpus.search import fulltext
from skills.nanda.framework import nanda


def counted(counts: FacetCounts, path: Path, **facets: str) -> Any:
    wanted = Selection(facets={name: (value,) for name, value in facets.items()})
    with open_corpus(path) as db:
        return counts.of(Listing(Database(db, nanda()), wanted))


def test_another_value_of_a_facet_costs_no_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = browsed_corpus.build(tmp_path / "corpus.db")
    counts, asked = FacetCounts(path, nanda()), []
    groups = FacetCounts._groups

    def watched(self: FacetCounts, listed: Listing) -> Any:
        listed._db.set_trace_callback(lambda sql: asked.append(sql) if "GROUP BY" in sql else None)
        return groups(self, listed)

    monkeypatch.setattr(FacetCounts, "_groups", watched)
    assert counted(counts, path).total == browsed_corpus.PAPERS + 2
    assert counted(counts, path, year="2024").total == 40
    assert counted(counts, path, year="2025", category="cs.QD").total == 1
    assert len(asked) == 1


def test_a_new_annotation_is_counted_at_once(tmp_path: Path) -> None:
    path = browsed_corpus.build(tmp_path / "corpus.db")
    counts = FacetCounts(path, nanda())
    before = counted(counts, path)
    with open_corpus(path) as writer:  # while it is open, the WAL is not empty
        store.save(writer, browsed_corpus.annotated(300), nanda())
        assert counted(counts, path).total == before.total + 1
        store.save(writer, browsed_corpus.annotated(301), nanda())
        assert counted(counts, path).total == before.total + 2
    assert counted(counts, path).total == before.total + 2
    assert counted(counts, path).facets["state"]["annotated"] == browsed_corpus.PAPERS + 2


def test_common_words_are_found_without_ranking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = browsed_corpus.build(tmp_path / "corpus.db")
    words = Selection(words="ferries dawn")
    with open_corpus(path) as db:
        ranked = Listing(Database(db, nanda()), words).page(sort="best")
        monkeypatch.setattr(fulltext, "COMMON_IN_PAPERS", 5)
        common = Listing(Database(db, nanda()), words).page(sort="best")
    ids = [one.row_id for one in common.papers]
    assert ids == sorted((one.row_id for one in ranked.papers), reverse=True)
    assert len(ids) == 30
