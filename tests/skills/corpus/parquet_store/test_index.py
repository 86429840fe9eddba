"""Test the index of a folder of parts: what is read when, what is left out, and what is refused."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_papers import annotated, paper
from corpus_parts import made_at, write_part
from repository import ROOT

from harness.cli.app import App
from harness.errors import InputError, Interrupted, OutputError, UsageError
from harness.support.process import job_lock
from harness.testing import assert_refuses, fake_app
from skills.corpus.parquet_store import building
from skills.corpus.parquet_store.building import build
from skills.corpus.parquet_store.index import Part, open_index
from skills.corpus.parquet_store.part_rows import Rows
from skills.corpus.tables.parquet_files import parquet_row, parquet_schema
from skills.nanda.framework import load, nanda

PARTS = Path("parts")


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """Return an app in a folder with two parts of two papers each."""
    monkeypatch.chdir(tmp_path)
    for name, numbers in (("a", (1, 2)), ("b", (3, 4))):
        write_part(PARTS / f"{name}.parquet", [annotated(paper(number)) for number in numbers])
    made = fake_app(tmp_path / "app")
    yield made
    made.close()


def notices(app: App) -> str:
    return app.screen.err.getvalue()  # type: ignore[attr-defined,no-any-return]


def ids(app: App, line: str = "filter claim=stated") -> list[str]:
    shown = json.loads(app.dispatch(f"/corpus {line} --db parts").result.as_json())
    return [item["arxiv_id"][-1] for item in shown["papers"]]


def parts_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the name of each part is added that is read from now on."""
    read: list[str] = []
    write = building.write_facts

    def logged(db: Any, parts: Sequence[Part], *rest: Any) -> list[int | None]:
        read.extend(part.path.name for part in parts)
        return write(db, parts, *rest)

    monkeypatch.setattr(building, "write_facts", logged)
    return read


def test_index_counts_what_it_has(app: App) -> None:
    outcome = app.dispatch("/corpus index parts")
    assert outcome.result.text == "The index of parts has 2 parts with 4 rows; 2 parts added."
    assert ids(app) == ["1", "2", "3", "4"]
    assert app.dispatch("/corpus index parts").result.data["added"] == 0


def test_folder_whose_parts_are_all_empty_has_no_papers(app: App) -> None:
    table = pq.read_table(PARTS / "a.parquet")
    Path("empty").mkdir()
    pq.write_table(table.slice(0, 0), "empty/a.parquet")
    outcome = app.dispatch("/corpus index empty")
    assert outcome.result.text == "The index of empty has 1 part with 0 rows; 1 part added."
    stats = app.dispatch("/corpus stats --db empty").result.data
    assert stats["papers"] == 0


def test_folder_without_index_names_the_command(app: App) -> None:
    assert_refuses(app, "/corpus stats --db parts", "has no index", "`/corpus index parts`")


def test_only_new_parts_are_read(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    app.dispatch("/corpus index parts")
    write_part(PARTS / "c.PARQUET", [annotated(paper(5))])
    read = parts_read(monkeypatch)
    assert app.dispatch("/corpus index parts").result.data["added"] == 1
    assert read == ["c.PARQUET"]
    assert ids(app) == ["1", "2", "3", "4", "5"]


def test_parts_newer_than_the_index_are_left_out_and_reported(app: App) -> None:
    app.dispatch("/corpus index parts")
    write_part(PARTS / "b.parquet", [annotated(paper(6), claim="Something else entirely.")])
    write_part(PARTS / "c.parquet", [annotated(paper(5))])
    assert ids(app) == ["1", "2"]
    assert "2 parts (b.parquet, c.parquet) are not in the index and left out" in notices(app)
    assert {hit["arxiv_id"][-1] for hit in _hits(app, "something")} == {"1", "2"}
    app.dispatch("/corpus index parts")
    assert ids(app) == ["1", "2", "6", "5"]
    assert [hit["text"] for hit in _hits(app, "entirely")] == ["Something else entirely."]


def _hits(app: App, words: str) -> list[dict[str, str]]:
    found = app.dispatch(f"/corpus search {words} --db parts").result.as_json()
    hits: list[dict[str, str]] = json.loads(found)["hits"]
    return hits


def test_removed_part_is_reported_and_its_papers_are_gone(app: App) -> None:
    early, late = "2026-01-01T00:00:00+00:00", "2026-12-01T00:00:00+00:00"
    write_part(PARTS / "a.parquet", [made_at(annotated(paper(3), claim="Older."), early)])
    write_part(PARTS / "b.parquet", [made_at(annotated(paper(3), claim="Newer."), late)])
    app.dispatch("/corpus index parts")
    assert "Newer." in app.dispatch("/corpus show 2405.00003 --db parts").result.text
    (PARTS / "b.parquet").unlink()
    app.dispatch("/corpus stats --db parts")
    assert "1 part (b.parquet) is no longer in the folder" in notices(app)
    app.dispatch("/corpus index parts")
    assert "Older." in app.dispatch("/corpus show 2405.00003 --db parts").result.text


def test_part_that_is_not_whole_is_named_and_the_others_are_read(app: App) -> None:
    whole = (PARTS / "a.parquet").read_bytes()
    (PARTS / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    damaged = bytearray(whole)
    damaged[200:600] = b"\0" * 400
    (PARTS / "damaged.parquet").write_bytes(damaged)
    outcome = app.dispatch("/corpus index parts")
    assert outcome.result.code == 1
    assert outcome.result.data["added"] == 2
    assert set(outcome.result.data["refused"]) == {"cut.parquet", "damaged.parquet"}
    assert "cut.parquet is left out: it is not a Parquet file" in notices(app)
    assert ids(app) == ["1", "2", "3", "4"]
    assert notices(app).count("cut.parquet is left out") == 2


@pytest.mark.parametrize(
    ("column", "size", "message"),
    [
        ("abstract", 9_000_000, "would take too much memory when the column 'abstract'"),
        ("title", 110_000, "the texts of a row have 11"),
        ("claim", 110_000, "the texts of a row have 11"),
    ],
)
def test_part_that_expands_is_refused(app: App, column: str, size: int, message: str) -> None:
    rows = [parquet_row(annotated(paper(n)), nanda(), "arxiv_id") for n in range(1, 40)]
    rows[-1][column] = "x" * size
    table = pa.Table.from_pylist(rows, schema=parquet_schema(nanda(), "arxiv_id"))
    pq.write_table(table, PARTS / "c.parquet", compression="zstd", row_group_size=20)
    assert (PARTS / "c.parquet").stat().st_size < 50_000
    refused = app.dispatch("/corpus index parts").result.data["refused"]
    assert refused["c.parquet"].startswith("would take too much memory")
    assert message in refused["c.parquet"]


def test_rows_of_a_large_group_are_read_in_any_order(app: App) -> None:
    items = [annotated(paper(number)) for number in range(1, 700)]
    write_part(PARTS / "c.parquet", items)
    app.dispatch("/corpus index parts")
    with open_index(PARTS, nanda()) as index:
        rows = Rows(index)
        first = index.parts[-1].first
        for wanted in ([600, 3, 300, 3], [301, 650], [299], [1]):
            found = [
                (row_id - first, row["source_id"])
                for row_id, row in rows.read(map(first.__add__, wanted))
            ]
            assert found == [(at, items[at].paper.id) for at in wanted]


def test_table_that_is_no_part_is_named(app: App) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": ["1"], "abstract": ["A."]}), PARTS / "c.parquet")
    reason = app.dispatch("/corpus index parts").result.data["refused"]["c.parquet"]
    assert "is not a table of annotations as `save to FILE.parquet` writes it" in reason


def test_parts_of_several_frameworks_have_an_index_each(app: App, tmp_path: Path) -> None:
    text = (ROOT / "skills/nanda/nanda.yaml").read_text(encoding="utf-8")
    (tmp_path / "own.yaml").write_text(text.replace("name: nanda\n", "name: own\n"))
    own = load(tmp_path / "own.yaml")
    write_part(PARTS / "own.parquet", [annotated(paper(7), framework=own)], own)
    refused = app.dispatch("/corpus index parts").result.data["refused"]
    assert refused == {"own.parquet": "has annotations by the framework own, not nanda"}
    assert ids(app) == ["1", "2", "3", "4"]
    app.dispatch("/corpus index parts --framework own.yaml")
    assert ids(app, "filter claim=stated --framework own.yaml") == ["7"]


def test_index_of_another_version_of_a_framework_is_made_again(app: App, tmp_path: Path) -> None:
    app.dispatch("/corpus index parts")
    changed = nanda().model_copy(update={"not_stated": "Nothing."})
    with (
        pytest.raises(InputError, match="this version of the framework"),
        open_index(PARTS, changed),
    ):
        pass
    assert build(PARTS, changed, lambda status: None, lambda: None).added == 2
    with open_index(PARTS, changed) as index:
        assert len(index.parts) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/corpus index empty", "is a folder without parts"),
        ("/corpus index parts/a.parquet", "is not a folder of parts"),
        ("/corpus stats --db empty", "is a folder without parts"),
        (
            "/corpus add parts/a.parquet --db parts",
            "is a folder of parts, which can be read but not written",
        ),
        (
            "/annotate papers.csv --db parts",
            "is a folder of parts, which can be read but not written",
        ),
        (
            "/curate parts/a.parquet --db parts",
            "is a folder of parts, which can be read but not written",
        ),
    ],
)
def test_refused_commands(app: App, line: str, message: str) -> None:
    Path("empty").mkdir()
    Path("papers.csv").write_text("id,abstract\n1,We test a ledger. It finds faults in plans.\n")
    writes = "read but not written" in message
    error = assert_refuses(app, line, message, code=4 if writes else 2)
    if writes:
        assert "`/corpus add parts --db corpus.db`" in str(error)


def test_without_duckdb_the_extra_is_named(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    app.dispatch("/corpus index parts")
    monkeypatch.setitem(sys.modules, "duckdb", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for line in ("/corpus index parts", "/corpus stats --db parts"):
        assert_refuses(app, line, "nanda-harness[duckdb]", code=2)


def test_interrupted_index_goes_on(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "GROUP_ROWS", 2)
    checks = iter([None, None, Interrupted("stop")])

    def check() -> None:
        if error := next(checks):
            raise error

    with pytest.raises(Interrupted):
        build(PARTS, nanda(), lambda status: None, check)
    assert_refuses(app, "/corpus stats --db parts", "no readable part that is in the index", code=2)
    read = parts_read(monkeypatch)
    app.dispatch("/corpus index parts")
    assert read == ["b.parquet"]
    assert ids(app) == ["1", "2", "3", "4"]
    assert [hit["arxiv_id"][-1] for hit in _hits(app, '"about the claim"')] == ["4", "3", "2", "1"]


_LONG_QUERY = """
import signal, threading
from pathlib import Path
from skills.corpus.parquet_store.duckdb_views import connected
try:
    with connected(Path("parts")) as db:
        threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
        db.execute("SELECT count(*) FROM range(300000000000) AS t(i) WHERE i % 7 = 3")
except KeyboardInterrupt:
    print("interrupted")
"""


def test_part_changed_after_an_interruption_is_read_once(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, number in (("c", 5), ("d", 6)):
        write_part(PARTS / f"{name}.parquet", [annotated(paper(number))])
    monkeypatch.setattr(building, "GROUP_ROWS", 4)
    checks = iter([False, False, False, True])  # interrupted in the second group

    def check() -> None:
        if next(checks, True):
            raise Interrupted("stop")

    with pytest.raises(Interrupted):
        build(PARTS, nanda(), lambda status: None, check)
    write_part(PARTS / "b.parquet", [annotated(paper(7))])
    app.dispatch("/corpus index parts")
    assert sorted(ids(app)) == ["1", "2", "5", "6", "7"]


def test_ctrl_c_ends_a_query() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LONG_QUERY],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=100,
        check=True,
    )
    assert done.stdout == "interrupted\n"


def test_two_processes_do_not_index_at_once(app: App) -> None:
    place = PARTS / ".index" / "nanda"
    with job_lock(PARTS / ".index", str(place)), pytest.raises(UsageError, match="is locked by"):
        build(PARTS, nanda(), lambda status: None, lambda: None)


def test_damaged_index_is_an_error(app: App) -> None:
    app.dispatch("/corpus index parts")
    path = PARTS / ".index/nanda/index.db"
    path.write_bytes(b"no database at all" * 400)
    assert_refuses(app, "/corpus stats --db parts", "the index cannot be read", code=2)
    message, hint = "the index cannot be written", "If the index is damaged, delete this folder"
    assert_refuses(app, "/corpus index parts", message, hint, code=4)


def test_a_full_disk_is_not_a_damaged_index(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(building, "create_index", full)
    with pytest.raises(OutputError, match="written: No space left on device") as refused:
        build(PARTS, nanda(), lambda status: None, lambda: None)
    assert refused.value.hint is None


def test_invalid_json_in_a_part_is_an_error(app: App) -> None:
    app.dispatch("/corpus index parts")
    with open_index(PARTS, nanda()) as index:
        rows = Rows(index)
        [(row_id, row)] = rows.read([index.parts[0].first])
        with pytest.raises(
            InputError, match=r"has no JSON object in the column checks \(Expecting"
        ):
            rows.annotation(row_id, {**row, "checks": "{"})


def test_index_at_rest_is_one_file_that_needs_no_writable_folder(app: App) -> None:
    app.dispatch("/corpus index parts")
    names = {path.name for path in (PARTS / ".index/nanda").iterdir()}  # no WAL file
    assert names == {"index.db", "facts-1.parquet"}
    with sqlite3.connect(PARTS / ".index/nanda/index.db") as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    db.close()


def test_part_changed_in_place_since_it_was_indexed_is_an_error(app: App) -> None:
    app.dispatch("/corpus index parts")
    path = PARTS / "a.parquet"
    known = path.stat()
    path.write_bytes(b"\0" * known.st_size)
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))
    assert_refuses(app, "/corpus filter claim=stated --db parts", "a.parquet: cannot be read")


def test_names_with_signs_of_patterns_are_names(app: App) -> None:
    Path("a[1]*").mkdir()
    write_part(Path("a[1]*/it's [2].parquet"), [annotated(paper(8))])
    app.dispatch('/corpus index "a[1]*"')
    shown = app.dispatch('/corpus quote "about the claim" --db "a[1]*"').result.text
    assert "2405.00008" in shown
