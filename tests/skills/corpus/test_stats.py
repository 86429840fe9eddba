"""Test statistics of the database and of annotations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from corpus_papers import annotated, paper

from skills.corpus import stats
from skills.corpus.corpus_store import Database
from skills.corpus.db import store
from skills.corpus.db.connection import open_corpus
from skills.corpus.outputs import Stats
from skills.corpus.records import Annotated, Failure
from skills.corpus.stats import Tally
from skills.nanda.framework import nanda
from skills.reporting.intervals import Share

UNSTATED = nanda().not_stated
ITEMS = [
    annotated(paper(1), limitation=UNSTATED),
    annotated(paper(2, published="2023"), "other", claim="We test ledger 2 with 77 owls."),
    annotated(paper(3, published="", categories="")),
    annotated(paper(4, categories="cs.SE"), **dict.fromkeys(nanda().names, UNSTATED)),
]
FAILURES = [Failure(paper(number), "InvalidReply", "no use", False) for number in (7, 8)]


def of_items(items: Iterable[Annotated], failures: Iterable[Failure]) -> Stats:
    tally = Tally(nanda())
    for item in items:
        tally.add(item)
    return tally.stats(Counter(one.error_type for one in failures))


def test_versions_of_a_paper_are_one_paper(tmp_path: Path) -> None:
    with open_corpus(tmp_path / "corpus.db") as db:
        for version in ("one", "two", "three"):
            store.save(db, annotated(paper(1, f"This is version {version}.")), nanda())
        store.save(db, annotated(paper(2)), nanda())
        found = Database(db, nanda()).statistics()
    assert (found.papers, found.annotations) == (2, 2)


def test_of_corpus_equals_of_items(tmp_path: Path) -> None:
    with open_corpus(tmp_path / "corpus.db") as db:
        assert Database(db, nanda()).statistics() == of_items([], [])
        older = annotated(paper(1), "older", **dict.fromkeys(nanda().names, UNSTATED))
        for item in (older, *ITEMS):
            store.save(db, item, nanda())
        for failure in FAILURES:
            store.fail(db, failure, f"key of {failure.paper.id}", request={})
        found = Database(db, nanda()).statistics()
    assert found.model_dump() == of_items(iter(ITEMS), iter(FAILURES)).model_dump()
    assert (found.papers, found.annotations) == (6, 4)
    assert found.models == {"annotator": 3, "other": 1}
    assert found.failures == {"InvalidReply": 2}


def test_statistics_of_moves() -> None:
    by_name = of_items(ITEMS, []).moves
    assert tuple(by_name) == nanda().names
    assert by_name["claim"].stated == Share(3, 4)
    assert by_name["limitation"].stated == Share(2, 4)
    assert by_name["claim"].unsupported_numbers == Share(1, 3)
    assert by_name["method"].unsupported_numbers == Share(0, 3)
    supports = [item.record["checks"]["support"]["claim"] for item in ITEMS[:3]]
    assert by_name["claim"].support == pytest.approx(sum(supports) / 3)


def test_groups_by_first_category_and_year() -> None:
    found = of_items(ITEMS, [])
    assert [(group.name, group.papers) for group in found.categories] == [
        ("cs.CL", 2),
        ("cs.SE", 1),
        ("unknown", 1),
    ]
    assert found.categories[0].stated["limitation"] == Share(1, 2)
    assert [(group.name, group.papers) for group in found.years] == [
        ("2023", 1),
        ("2024", 2),
        ("unknown", 1),
    ]
    assert found.years[1].stated["claim"] == Share(1, 2)


def test_rare_categories_are_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "CATEGORIES", 2)
    names = ["cs.AA", "cs.AA", "cs.BB", "cs.BB", "cs.CC", "cs.DD", ""]
    items = [annotated(paper(i, categories=name)) for i, name in enumerate(names)]
    groups = of_items(items, []).categories
    assert [(group.name, group.papers) for group in groups] == [
        ("cs.AA", 2),
        ("cs.BB", 2),
        ("other", 2),
        ("unknown", 1),
    ]
    groups = of_items(items[:5], []).categories
    assert [group.name for group in groups] == ["cs.AA", "cs.BB", "cs.CC"], "one is not many"
