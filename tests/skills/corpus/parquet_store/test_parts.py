"""Test that a folder of parts gives what the database gives for the same annotations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus_papers import annotated, corpus_of, paper
from corpus_parts import invented, made_at, write_cluster_part, write_part
from declared_outputs import check_output

from harness.cli.app import App
from harness.errors import NothingFound
from harness.testing import fake_app
from skills.corpus.db import papers, store
from skills.corpus.db.connection import open_corpus
from skills.corpus.parquet_store import parts
from skills.corpus.plugin import PICTURES, Corpus
from skills.corpus.records import Annotated, Failure, record_of
from skills.nanda.framework import nanda


def doubted(item: Annotated) -> Annotated:
    """Return an annotation with an uncertain claim and, if it may have one, a suggestion."""
    record = item.record
    moves = {name: record[name] for name in nanda().names}
    doubt: Any = {
        "confidence": {"claim": 0.35, "limitation": 0.1},
        "suggestions": {"limitation": {"text": "Plans fail.", "confidence": 0.2}},
    }
    made = record_of(item.paper, moves, nanda(), record["provenance"], record["anchors"], **doubt)
    return Annotated(item.paper, made)


READS = (
    "search retrieval --words",
    "search 'dense retrieval' --words",
    'search "dense retrieval" --limit 3 --words',
    "search tests --move method --move claim --words",
    "search ledger --year 2022..2023 --words",
    "search ledger --category cs.cl --year ..2024 --limit 50 --words",
    "search zurich --words",
    "search nothing-of-this-kind --words",
    "search ledger --year 1999 --words",
    "quote 'plan fault'",
    "quote ZÜRICH",
    'quote "ER\n RETR" --limit 4',
    "quote xyzzy",
    "filter limitation=stated",
    "filter limitation!=stated comparison~retrieval --limit 300",
    "filter comparison!~'dense retrieval' year=2022..2023",
    'filter claim~"ledger plan" method~tests',
    "filter category=cs.CL",
    "filter category!=cs.CL year>=2022",
    "filter model=other support<0.9",
    "filter support>=0.5 unsupported>0",
    "filter unsupported<=0 year=2021",
    "filter year!=2024 claim=stated limitation=unstated",
    "filter model=nobody",
    "stats",
    "show 2405.00017",
    "show arXiv:2405.00034v2",
    "show 180",
    "show 2406.99999",
    "verify",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the items as a database and as three parts with an index."""
    made = tmp_path_factory.mktemp("corpus")
    items = [doubted(item) if n % 3 == 0 else item for n, item in enumerate(invented(200))]
    corpus_of(made / "corpus.db", items)
    for name, begin, end in (("a", 0, 1), ("b", 1, 120), ("c", 120, 200)):
        write_part(made / "parts" / f"{name}.parquet", items[begin:end])
    app = fake_app(made / "app")
    assert app.dispatch(f"/corpus index {made / 'parts'}").result.code == 0
    app.close()
    return made


@pytest.fixture
def app(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.chdir(folder)
    made = fake_app(tmp_path)
    yield made
    made.close()


def notices(app: App) -> str:
    return app.screen.err.getvalue()  # type: ignore[attr-defined,no-any-return]


def answer(app: App, line: str) -> str:
    """Return what a command shows, or its error."""
    try:
        result = app.dispatch(f"/corpus {line}").result
    except NothingFound as exc:
        return str(exc)
    check_output(Corpus(), line.split()[0], result)
    return f"{result.code}\n{result.text}\n{result.as_json()}"


def test_hits_of_uncertain_moves_are_marked(app: App) -> None:
    claims = app.dispatch("/corpus search ledger --move claim --limit 50 --words --db parts").result
    hits = json.loads(claims.as_json())["hits"]
    assert {hit["confidence"] for hit in hits} == {0.35, None}
    assert "claim (uncertain, 0.35)" in claims.text
    limits = app.dispatch("/corpus search plans --move limitation --words --db parts").result
    assert "Plans fail." not in limits.text, "a suggestion"


@pytest.mark.parametrize("line", READS)
def test_commands_have_the_same_results(app: App, line: str) -> None:
    expected = answer(app, f"{line} --db corpus.db")
    told = notices(app)
    assert answer(app, f"{line} --db parts") == expected
    assert notices(app) == told * 2


def test_most_of_the_compared_commands_find_something(app: App) -> None:
    found = [line for line in READS if answer(app, f"{line} --db parts").startswith("0")]
    assert len(found) == len(READS) - 5


@pytest.mark.parametrize("suffix", sorted({*Corpus.saves} - {*PICTURES}))
@pytest.mark.parametrize(
    "line", ["export", "filter limitation=stated save to", "search plan --words -o"]
)
def test_files_are_the_same(app: App, tmp_path: Path, line: str, suffix: str) -> None:
    one, other = tmp_path / f"one{suffix}", tmp_path / f"other{suffix}"
    app.dispatch(f"/corpus {line} {one} --db corpus.db")
    app.dispatch(f"/corpus {line} {other} --db parts")
    assert other.read_bytes() == one.read_bytes()


def test_page_is_the_same(app: App, tmp_path: Path) -> None:
    app.dispatch(f"/corpus page {tmp_path / 'one.html'} --db corpus.db")
    app.dispatch(f"/corpus page {tmp_path / 'other.html'} --db parts")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "other.html").read_bytes()


@pytest.fixture
def changed(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    """Return the app in a folder with papers that several parts have, and with failures.

    Of paper 1, the last annotation is newer; of paper 2, older; of paper 3, there is a new version;
    of paper 4, two were made at the same time; paper 5 failed first, and paper 9 failed twice.
    """
    monkeypatch.chdir(tmp_path)
    early, late = "2026-01-01T00:00:00+00:00", "2026-12-01T00:00:00+00:00"
    failed = Failure(paper(9), "InvalidReply", "It was of no use.", False, "raw")
    first = [annotated(paper(n), method="Retrieval by hand.") for n in (1, 2, 3, 4)]
    second = [
        made_at(annotated(paper(1), "other", method="Dense retrieval."), late),
        made_at(annotated(paper(2), "other", method="Dense retrieval."), early),
        made_at(annotated(paper(3, "A new version."), "other", method="Retrieval again."), late),
        annotated(paper(4), "other", method="Retrieval of plans."),
        annotated(paper(5), method="Retrieval at last."),
    ]
    with open_corpus(Path("corpus.db")) as db:
        for item in first:
            store.save(db, item, nanda(), unless_newer=True)
        failures = (Failure(paper(5), "InvalidReply", "First.", True), failed)
        for number, failure in enumerate(failures):
            store.fail(db, failure, f"key {number}", request={})
        for item in second:
            store.save(db, item, nanda(), unless_newer=True)
        assert papers.row_id(db, paper(9)) == 6
    Path("parts").mkdir()
    write_cluster_part(Path("parts/a.parquet"), [*first, *failures])
    write_part(Path("parts/b.parquet"), second)
    write_cluster_part(Path("parts/c.parquet"), [failed])
    assert app.dispatch("/corpus index parts").result.code == 0
    return app


@pytest.mark.parametrize(
    "line",
    ["stats", "filter method~retrieval", "filter model=other", "show 2405.00009", "verify"],
)
def test_last_annotation_of_a_paper_is_the_current_one(changed: App, line: str) -> None:
    expected = answer(changed, f"{line} --db corpus.db")
    assert answer(changed, f"{line} --db parts") == expected


def test_search_finds_current_annotations_alone(changed: App) -> None:
    found = []
    for db in ("corpus.db", "parts"):
        hits = json.loads(
            changed.dispatch(f"/corpus search retrieval --words --db {db}").result.as_json()
        )
        found.append({(hit["arxiv_id"], hit["text"], hit["paper_id"]) for hit in hits["hits"]})
    assert len(found[0]) == 5
    assert {one[:2] for one in found[0]} == {one[:2] for one in found[1]}


@pytest.mark.parametrize("error", ['["no model"]', '"no model"'])
def test_an_error_that_is_not_an_object_is_the_reason(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    import pyarrow.parquet as pq

    monkeypatch.chdir(tmp_path)
    part = Path("parts/a.parquet")
    part.parent.mkdir()
    write_cluster_part(part, [Failure(paper(9), "InvalidReply", "", False)])
    table = pq.read_table(part)
    at = table.schema.get_field_index("error")
    pq.write_table(table.set_column(at, table.schema.field(at), [[error]]), part)
    app.dispatch("/corpus index parts")
    text = app.dispatch("/corpus show 2405.00009 --db parts").result.text
    assert f"The annotation failed: {error}" in text
    assert app.dispatch("/corpus page --db parts").result.code == 0


def test_moves_of_sections_are_exported(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    items = invented(2)
    record = items[0].record
    read = {**record["provenance"]["input"], "sections": {"limitation": "0"}}
    record = {
        **record,
        "sections": {"limitation": {"text": "Plans fail.", "section": "Limitations", "page": 2}},
        "provenance": {**record["provenance"], "input": read},
    }
    write_part(
        Path("parts/a.parquet"), [Annotated(items[0].paper, record), items[1]], sections=True
    )
    app.dispatch("/corpus index parts")
    with parts.opened(Path("parts"), nanda()) as corpus:
        first, second = corpus.annotated(corpus.ids())
    assert first.record["sections"] == record["sections"]
    assert "sections" not in {**second.record, **first.paper.source}


def test_failures_are_shown_and_exported(changed: App) -> None:
    text = changed.dispatch("/corpus show 2405.00009 --db parts").result.text
    assert "The annotation failed: It was of no use." in text
    changed.dispatch("/corpus page --db parts")
    page = Path("corpus.html").read_text(encoding="utf-8")
    assert "It was of no use." in page
    assert "First." not in page
