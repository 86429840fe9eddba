"""Test /corpus add."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_papers import annotated, corpus_of, paper

from harness.errors import InputError
from skills.corpus import importer
from skills.corpus.corpus_store import Database
from skills.corpus.db import reads
from skills.corpus.db.connection import open_corpus
from skills.corpus.outputs import Added, Verified
from skills.corpus.records import Annotated, key_of, record_of
from skills.corpus.tables import parquet_files, saved_tables, text_tables
from skills.corpus.tables.columns import Columns
from skills.nanda import checks
from skills.nanda.anchors import anchors_of
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper
from skills.reporting.outputs import RefusedRow

MOVES = {name: f"Something about the {name}." for name in nanda().names}


def table(path: Path, *rows: Mapping[str, str]) -> Path:
    """Write a .csv of these rows, with a default id, title, abstract and moves."""
    filled = [
        {"arxiv_id": f"2405.{n:05}", "title": f"T{n}", "abstract": f"Abstract {n}.", **MOVES, **row}
        for n, row in enumerate(rows, start=1)
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*filled[0]])
        writer.writeheader()
        writer.writerows(filled)
    return path


def current(db: sqlite3.Connection) -> list[Annotated]:
    return list(reads.annotated(db, nanda(), Database(db, nanda()).ids()))


def test_table_with_all_moves_adds_annotations(db: sqlite3.Connection, tmp_path: Path) -> None:
    path = table(tmp_path / "gold.csv", {}, {"limitation": "not  specified"})
    assert importer.add(db, path, nanda()) == Added(papers=2, annotations=2)
    first, second = current(db)
    assert second.record["limitation"] == "Not stated."
    assert "limitation" not in second.record["checks"]["support"]
    assert (first.paper.id, first.paper.title) == ("2405.00001", "T1")
    provenance = first.record["provenance"]
    assert [provenance[key] for key in ("requested", "resolved", "backend")] == ["import"] * 3
    assert provenance["where"] == "gold.csv"
    assert (provenance["prompt_sha256"], provenance["digests"], provenance["sampling"]) == (
        None,
        {},
        {},
    )
    assert provenance["input"] == {
        "kind": "table",
        "path": str(path),
        "row": "1",
        "sha256": first.paper.sha256,
    }
    assert provenance["key"] == key_of(provenance)
    assert Database(db, nanda()).verify() == Verified(checked=2, wrong=[])


def test_adding_same_file_again_changes_nothing(db: sqlite3.Connection, tmp_path: Path) -> None:
    path = table(tmp_path / "gold.csv", {}, {})
    importer.add(db, path, nanda())
    before = list(db.iterdump())
    again = Added(known_papers=2, known_annotations=2)
    assert importer.add(db, path, nanda()) == again
    assert list(db.iterdump()) == before
    assert importer.add(db, path.rename(tmp_path / "copy.csv"), nanda()) == again


def test_importing_again_keeps_newer_annotation_current(
    db: sqlite3.Connection, tmp_path: Path
) -> None:
    path = table(tmp_path / "gold.csv", {})
    importer.add(db, path, nanda())
    newer = annotated(paper(1, "Abstract 1."))
    corpus_of(tmp_path / "corpus.db", [newer])
    importer.add(db, path, nanda())
    assert [item.record["provenance"]["resolved"] for item in current(db)] == ["annotator"]


@pytest.mark.parametrize(
    ("created", "models"),
    [
        ("2026-11-24T11:59:59+00:00", ["newer"]),
        ("2026-11-24T12:00:00+00:00", ["older"]),
        ("2026-11-24T12:00:01Z", ["older"]),
    ],
)
def test_older_annotation_does_not_become_current(
    db: sqlite3.Connection, tmp_path: Path, created: str, models: list[str]
) -> None:
    corpus_of(tmp_path / "corpus.db", [annotated(paper(1), "newer")])
    older = annotated(paper(1), "older")
    provenance = {**older.record["provenance"], "created": created}
    older = Annotated(older.paper, {**older.record, "provenance": provenance})
    added = importer.add(db, saved(tmp_path / "old.parquet", [older]), nanda())
    assert (added.annotations, added.renamed) == (1, 0)
    assert [item.record["provenance"]["resolved"] for item in current(db)] == models
    flags = "SELECT DISTINCT model, moves.current FROM moves JOIN annotations ON annotations.id ="
    rows = db.execute(f"{flags} annotation_id WHERE moves.current").fetchall()
    assert [row["model"] for row in rows] == models
    assert Database(db, nanda()).verify() == Verified(checked=2, wrong=[])


def test_round_trip_of_corpus_with_several_id_fields(
    db: sqlite3.Connection, tmp_path: Path
) -> None:
    other = replace(paper(2, id_field="paper_id"), id="7")
    items = [annotated(paper(1)), annotated(other)]
    corpus_of(tmp_path / "corpus.db", items)
    ids = Database(db, nanda()).ids()
    assert reads.id_column(db, ids) == "id"
    for name in ("all.parquet", "all.csv"):
        with (tmp_path / name).open("wb") as file:
            if name == "all.csv":
                saved_tables.write_csv(file, saved_tables.table_rows(items, nanda(), "id"))
            else:
                parquet_files.write_parquet(
                    file, items, nanda(), parquet_files.parquet_schema(nanda(), "id")
                )
    assert importer.add(db, tmp_path / "all.parquet", nanda()) == Added(
        known_papers=2, known_annotations=2
    )
    assert importer.add(db, tmp_path / "all.csv", nanda()).known_papers == 2
    assert importer.add(db, saved(tmp_path / "all.jsonl", items), nanda()) == Added(
        known_papers=2, known_annotations=2
    )
    fields = "SELECT id_field FROM papers ORDER BY id"
    assert [row[0] for row in db.execute(fields)] == ["arxiv_id", "paper_id"]
    with open_corpus(tmp_path / "new.db") as new:
        for _ in range(2):
            importer.add(new, tmp_path / "all.parquet", nanda())
        assert [row[0] for row in new.execute(fields)] == ["arxiv_id", "id"]
        assert len(current(new)) == 2
        corpus_of(tmp_path / "new.db", items)
        assert [row[0] for row in new.execute(fields)] == ["arxiv_id", "paper_id"]
        assert len(current(new)) == 2


def test_arxiv_versions_in_tables_are_one_paper(db: sqlite3.Connection, tmp_path: Path) -> None:
    for number, arxiv_id in enumerate(("2405.00001v1", "2405.00001v2", "arXiv:2405.00001")):
        moves = {"claim": f"Claim {number}.", "abstract": f"Version {number}."}
        importer.add(db, table(tmp_path / "t.csv", {"arxiv_id": arxiv_id, **moves}), nanda())
        [item] = current(db)
        assert (item.paper.id, item.record["claim"]) == ("2405.00001", f"Claim {number}.")
        assert item.record["provenance"]["input"]["arxiv_id"] == arxiv_id
    for wanted in ("2405.00001", "2405.00001v1"):
        assert len(reads.find(db, wanted)) == 3


def test_checks_are_computed_outside_the_transaction(
    db: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, check = [], checks.check

    def watched(*given: Any) -> Any:
        held.append(db.in_transaction)
        return check(*given)

    monkeypatch.setattr(checks, "check", watched)
    path = table(tmp_path / "t.csv", {}, {}, {})
    importer.add(db, path, nanda())
    assert held == [False] * 3
    importer.add(db, path, nanda())
    assert len(held) == 3, "what is there already is not computed again"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "id,abstract\n", "has no rows below its header"),
        ("t.csv", "id,abstract\n1,\n2, \n", "no row has an abstract"),
        (
            "t.md",
            "## [A](https://arxiv.org/abs/2405.00001)\n\n**Authors:** B\n",
            "no row has an abstract",
        ),
    ],
)
def test_file_without_any_abstract_is_rejected(
    db: sqlite3.Connection, tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        importer.add(db, tmp_path / name, nanda())
    assert caught.value.where == str(tmp_path / name)


def test_other_moves_are_another_annotation(db: sqlite3.Connection, tmp_path: Path) -> None:
    importer.add(db, table(tmp_path / "one.csv", {}), nanda())
    changed = table(tmp_path / "two.csv", {"claim": "Another claim."})
    assert importer.add(db, changed, nanda()) == Added(known_papers=1, annotations=1)
    assert [item.record["claim"] for item in current(db)] == ["Another claim."]
    db.execute("UPDATE annotations SET record = json_set(record, '$.claim', 'Changed.')")
    assert len(Database(db, nanda()).verify().wrong) == 2, "an import's key covers its moves"


def test_counts_of_skipped_rows(db: sqlite3.Connection, tmp_path: Path) -> None:
    empty = dict.fromkeys(MOVES, "")
    path = table(tmp_path / "t.csv", {}, empty, {"abstract": " "}, {})
    with path.open("a", encoding="utf-8") as file:
        file.write(path.read_text().splitlines()[1] + "\n")
    assert importer.add(db, path, nanda()) == Added(
        papers=3, annotations=2, without_moves=1, empty=1, repeated=1, awaited=1
    )


def test_table_of_papers_alone(db: sqlite3.Connection, tmp_path: Path) -> None:
    path = tmp_path / "papers.csv"
    path.write_text("id,abstract,year\n7,About owls.,2020\n8,About cats.,2020\n")
    assert importer.add(db, path, nanda()) == Added(papers=2, without_moves=2)
    assert importer.add(db, path, nanda(), limit=1) == Added(known_papers=1, without_moves=1)


def test_table_that_lacks_a_move_adds_papers_only(db: sqlite3.Connection, tmp_path: Path) -> None:
    path = tmp_path / "papers.csv"
    path.write_text("abstract,claim,method\nAbout owls.,Owls see.,We look.\n")
    added = importer.add(db, path, nanda())
    assert (added.papers, added.annotations, added.without_moves) == (1, 0, 1)
    assert added.lacks == [n for n in nanda().names if n not in ("claim", "method")]


@pytest.mark.parametrize(
    ("move", "text", "message"),
    [
        ("scope", "", "scope is empty"),
        ("claim", "x" * 481, "claim is longer than 480 characters"),
    ],
)
def test_invalid_row_is_refused_alone(
    db: sqlite3.Connection, tmp_path: Path, move: str, text: str, message: str
) -> None:
    path = table(tmp_path / "t.csv", {}, {move: text}, {})
    added = importer.add(db, path, nanda())
    assert (added.papers, added.annotations) == (2, 2)
    assert added.refused == [RefusedRow(where=f"{path}, line 3", reason=message)]
    only = table(tmp_path / "only.csv", {move: text})
    with pytest.raises(InputError, match=message):
        importer.add(db, only, nanda())
    assert db.execute("SELECT count(*) FROM papers").fetchone()[0] == 2


def test_unexpected_error_of_a_row_is_its_own(
    db: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(tmp_path / "t.csv", {}, {"claim": "Another claim."}, {})

    def faulty(paper: Paper, moves: Mapping[str, str], *rest: Any) -> dict[str, Any]:
        if moves["claim"] == "Another claim.":
            raise IndexError("list index out of range")
        return record_of(paper, moves, *rest)

    monkeypatch.setattr(importer, "record_of", faulty)
    added = importer.add(db, path, nanda())
    assert (added.papers, added.annotations, len(added.refused)) == (2, 2, 1)
    [error] = added.refused
    assert error.where == f"{path}, line 3"
    assert re.search(r"cannot be used: IndexError: .* \(test_importer.py, line \d+\)", error.reason)


def test_columns_can_be_named(db: sqlite3.Connection, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("key,summary,name\nk1,About owls.,Owls\n")
    importer.add(db, path, nanda(), Columns("summary", "key", "name"))
    row = db.execute("SELECT source_id, title, abstract FROM papers").fetchone()
    assert tuple(row) == ("k1", "Owls", "About owls.")


def saved(path: Path, items: list[Annotated]) -> Path:
    with path.open("wb") as file:
        if path.suffix == ".jsonl":
            text_tables.write_jsonl(file, items)
        else:
            schema = parquet_files.parquet_schema(nanda(), "arxiv_id")
            parquet_files.write_parquet(file, items, nanda(), schema)
    return path


SURE = {"claim": 0.75, "limitation": 1.0}


def with_model_anchor(item: Annotated) -> Annotated:
    """Return an annotation whose model gave the third sentence for the claim, with confidence."""
    moves = nanda().stated(item.record)
    anchors = anchors_of(item.paper.abstract, moves, {"claim": [3]})
    made = item.record["provenance"]
    moves = {name: item.record[name] for name in nanda().names}
    return Annotated(item.paper, record_of(item.paper, moves, nanda(), made, anchors, SURE))


@pytest.mark.parametrize("name", ["all.parquet", "all.jsonl"])
def test_saved_file_keeps_provenance_and_anchors(
    db: sqlite3.Connection, tmp_path: Path, name: str
) -> None:
    one, other = annotated(paper(1), limitation="Not stated."), annotated(paper(2), "other")
    items = [with_model_anchor(one), other]
    assert items[0].record["anchors"]["claim"]["by"] == "model"
    assert items[0].record["confidence"] == SURE
    assert "confidence" not in items[1].record
    path = saved(tmp_path / name, items)
    if name == "all.jsonl":  # it has no abstracts; the corpus must have them
        with pytest.raises(InputError, match=r"the corpus has no paper 2405\.00001") as caught:
            importer.add(db, path, nanda())
        assert caught.value.where == f"{path}, line 1"
        papers = tmp_path / "papers.csv"
        with papers.open("wb") as file:
            saved_tables.write_csv(file, saved_tables.table_rows(items, nanda(), "arxiv_id"))
        papers.write_text("\n".join(",".join(row[:3]) for row in _rows(papers)))
        importer.add(db, papers, nanda())
    added = importer.add(db, path, nanda())
    assert (added.annotations, added.renamed) == (2, 0)
    assert [item.record for item in current(db)] == [item.record for item in items]
    again = importer.add(db, path, nanda())
    assert (again.known_papers, again.known_annotations, again.papers) == (2, 2, 0)
    assert Database(db, nanda()).verify() == Verified(checked=2, wrong=[])


def test_anchors_that_do_not_fit_are_replaced(db: sqlite3.Connection, tmp_path: Path) -> None:
    item = annotated(paper(1))
    wrong = {
        **item.record["anchors"],
        "claim": {"sentences": [9], "spans": [[0, 999]], "by": "model"},
    }
    changed = Annotated(item.paper, {**item.record, "anchors": wrong})
    importer.add(db, saved(tmp_path / "all.parquet", [changed]), nanda())
    assert [one.record for one in current(db)] == [item.record]


@pytest.mark.parametrize("wrong", [{"claim": 1.5}, {"claim": "high"}, {"claim": True}, [0.5], 1])
def test_a_confidence_that_is_no_probability_is_left_out(
    db: sqlite3.Connection, tmp_path: Path, wrong: object
) -> None:
    item = annotated(paper(1))
    changed = Annotated(item.paper, {**item.record, "confidence": wrong})
    importer.add(db, saved(tmp_path / "all.parquet", [changed]), nanda())
    assert current(db)[0].record.get("confidence", {}) == {}


def test_parquet_without_abstracts_is_looked_up(db: sqlite3.Connection, tmp_path: Path) -> None:
    item = annotated(paper(1))
    corpus_of(tmp_path / "corpus.db", [item])
    whole = pq.read_table(saved(tmp_path / "all.parquet", [item]))
    pq.write_table(whole.drop_columns("abstract"), tmp_path / "some.parquet")
    known = Added(known_papers=1, known_annotations=1)
    assert importer.add(db, tmp_path / "some.parquet", nanda()) == known


def test_repeated_saved_line_counts_once(db: sqlite3.Connection, tmp_path: Path) -> None:
    item = annotated(paper(1))
    corpus_of(tmp_path / "corpus.db", [item])
    path = saved(tmp_path / "t.jsonl", [item, item])
    assert importer.add(db, path, nanda()) == Added(known_papers=1, known_annotations=1, repeated=1)


def _rows(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))


def with_abstract(item: Annotated, **provenance: Any) -> str:
    record = {**item.record, "abstract": item.paper.abstract}
    record["provenance"] = {**record["provenance"], **provenance}
    return json.dumps(record)


@pytest.mark.parametrize(
    "changes",
    [
        {"form": "tagged"},
        {"key": "n1:0"},
        {"input": {"sha256": "0"}},
        {"input": None},
        {"framework": "nanda"},
        {"created": 7},
        {"digests": 3},
    ],
)
def test_inconsistent_provenance_is_discarded(
    db: sqlite3.Connection, tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = tmp_path / "t.jsonl"
    good = with_abstract(annotated(paper(1)))
    path.write_text(f"{good}\n\n{with_abstract(annotated(paper(2)), **changes)}\n")
    assert importer.add(db, path, nanda()) == Added(papers=2, annotations=2, renamed=1)
    models = [item.record["provenance"]["resolved"] for item in current(db)]
    assert models == ["annotator", "import"]
    assert Database(db, nanda()).verify() == Verified(checked=2, wrong=[])


def test_annotation_of_other_framework_is_rejected(db: sqlite3.Connection, tmp_path: Path) -> None:
    other = nanda().model_copy(update={"name": "another"})
    path = tmp_path / "t.jsonl"
    path.write_text(with_abstract(annotated(paper(1), framework=other)) + "\n")
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text(f"{with_abstract(annotated(paper(2)))}\n{path.read_text()}")
    added = importer.add(db, mixed, nanda())
    assert (added.annotations, len(added.refused)) == (1, 1)
    assert "was made with the framework another, not nanda" in added.refused[0].reason
    importer.add(db, path, other)
    assert len(current(db)) == 1
    assert len(Database(db, other).ids()) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ('{"arxiv_id": "1"}', "has no abstract and no provenance"),
        (json.dumps({"arxiv_id": "1", **MOVES}), "has no abstract and no provenance"),
        (json.dumps({**MOVES, "provenance": {}}), "has no abstract and no id"),
        (
            json.dumps({"arxiv_id": "1", **MOVES, "provenance": {"input": {"sha256": "0"}}}),
            "the corpus has no paper 1",
        ),
    ],
)
def test_invalid_saved_lines(
    db: sqlite3.Connection, tmp_path: Path, line: str, message: str
) -> None:
    item = annotated(paper(1))
    corpus_of(tmp_path / "corpus.db", [item])
    path = saved(tmp_path / "t.jsonl", [item] * 100)
    with path.open("a") as file:
        file.write(f"{line}\n")
    [error] = importer.add(db, path, nanda()).refused
    assert message in error.reason
    assert error.where.startswith(f"{path}, line 101")


def test_a_folder_of_parquet_files_is_added(tmp_path: Path, db: sqlite3.Connection) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    for number in (1, 2):
        text = f"We present method {number} for the task of sorting papers."
        pq.write_table(
            pa.table({"id": [f"p{number}"], "abstract": [text]}), parts / f"{number}.parquet"
        )
    assert importer.add(db, parts, nanda()).papers == 2
    assert importer.add(db, parts / "*.parquet", nanda()).known_papers == 2
