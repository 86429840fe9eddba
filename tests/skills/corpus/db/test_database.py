"""Test the database: contents, current annotations, indexes, errors."""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, get_args

import pytest
from corpus_papers import annotated, corpus_of, paper
from repository import TEST_DATA

from harness.errors import InputError, OutputError, UsageError
from harness.settings import CODE_ROOT
from harness.support.sqlite import execute_when_free
from skills.corpus import records
from skills.corpus.corpus_store import Database
from skills.corpus.db import connection, damage, facets, papers, reads, store
from skills.corpus.db.connection import open_corpus, transaction
from skills.corpus.db.damage import verify
from skills.corpus.db.schema import MIGRATIONS
from skills.corpus.outputs import Verified
from skills.corpus.records import Failure, key_of
from skills.corpus.search import filters
from skills.nanda.framework import nanda
from skills.nanda.paper import IdField


def column(db: sqlite3.Connection, sql: str, *parameters: Any) -> list[Any]:
    return [row[0] for row in db.execute(sql, parameters)]


def moves_with(db: sqlite3.Connection, match: str) -> list[str]:
    return column(
        db,
        "SELECT move FROM moves_fts JOIN moves ON moves.id = moves_fts.rowid"
        " WHERE moves_fts MATCH ? ORDER BY moves.id",
        match,
    )


def test_annotation_round_trip(db: sqlite3.Connection) -> None:
    item = annotated(paper(1, authors="A. Turing"), limitation="Not stated.")
    store.save(db, item, nanda())
    [back] = reads.annotated(db, nanda(), Database(db, nanda()).ids())
    assert back.record == item.record
    assert back.paper.source == {"kind": "table", "path": "papers.csv", "row": "1"}
    assert (back.paper.authors, back.paper.abstract) == ("A. Turing", item.paper.abstract)


def test_newest_annotation_is_current(db: sqlite3.Connection) -> None:
    first, second = annotated(paper(1)), annotated(paper(1), "other")
    old, new = (store.save(db, item, nanda()) for item in (first, second))
    assert column(db, "SELECT current FROM annotations ORDER BY id") == [0, 1]
    assert set(column(db, "SELECT current FROM moves WHERE annotation_id = ?", old)) == {0}
    assert Database(db, nanda()).ids() == [new]
    assert store.save(db, first, nanda()) == old, "the same work is not written twice"
    assert Database(db, nanda()).ids() == [old]


def test_new_arxiv_version_replaces_old_one(db: sqlite3.Connection) -> None:
    store.save(db, annotated(paper(1)), nanda())
    store.save(db, annotated(paper(1, "We rewrote all of this abstract.")), nanda())
    assert column(db, "SELECT current FROM annotations ORDER BY id") == [0, 1]


def test_same_id_with_other_abstract_is_another_paper(db: sqlite3.Connection) -> None:
    for abstract in ("We count cats.", "We count dogs."):
        store.save(db, annotated(paper(1, abstract, id_field="id")), nanda())
    assert column(db, "SELECT current FROM annotations") == [1, 1]


def test_current_annotation_is_found_by_any_id_field(db: sqlite3.Connection) -> None:
    for number in (1, 2):
        store.save(db, annotated(paper(number)), nanda())
    for id_field in get_args(IdField):
        found = reads.current(db, paper(2, id_field=id_field), nanda())
        assert found is not None
        assert found.record["arxiv_id"] == paper(2).id
    assert reads.current(db, paper(2, "Another abstract.", id_field="id"), nanda()) is None


def test_unstated_moves_are_not_in_full_text(db: sqlite3.Connection) -> None:
    store.save(
        db, annotated(paper(1), limitation="Not stated.", claim="The state is kept."), nanda()
    )
    assert moves_with(db, '"state"') == ["claim"]
    db.execute("UPDATE moves SET stated = 0 WHERE move = 'claim'")
    assert moves_with(db, '"state"') == []
    db.execute("UPDATE moves SET stated = 1, text = 'The state.' WHERE move = 'limitation'")
    assert moves_with(db, '"state"') == ["limitation"]
    db.execute("DELETE FROM moves")
    assert moves_with(db, '"state" OR "something"') == []
    db.execute("INSERT INTO moves_fts(moves_fts) VALUES ('integrity-check')")


def test_new_metadata_updates_facets(db: sqlite3.Connection) -> None:
    store.save(db, annotated(paper(1, published="", categories="")), nanda())
    assert len(moves_with(db, facets.word("year", ""))) == 8
    papers.save(db, paper(1, published="2023", categories="cs.SE cs.AI", title=""))
    row = db.execute("SELECT title, year, category FROM papers").fetchone()
    assert tuple(row) == ("Paper 1", 2023, "cs.SE")
    assert moves_with(db, facets.word("year", "")) == []
    match = f"{facets.word('year', 2023)} {facets.word('category', 'CS.ai')}"
    assert len(moves_with(db, match)) == 8


def test_facets_use_all_known_metadata(db: sqlite3.Connection) -> None:
    papers.save(db, paper(1))
    store.save(db, annotated(paper(1, published="", categories="")), nanda())
    assert len(moves_with(db, facets.word("year", 2024))) == 8


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("cs.DB, cs.AI", ["cs.DB", "cs.AI"]),
        ("cs.DB cs.AI", ["cs.DB", "cs.AI"]),
        ("hep-th math.AG", ["hep-th", "math.AG"]),
        ("Machine Learning", ["Machine Learning"]),
        ("Machine Learning; Logic;", ["Machine Learning", "Logic"]),
        ("", []),
    ],
)
def test_categories_are_split(text: str, parts: list[str]) -> None:
    assert facets.categories(text) == parts
    assert facets.first_category(text) == (parts or [""])[0]


def test_facet_words_are_distinct() -> None:
    values = ["a_b", "ab", "a.b", "a b", "z", "zz", "", "ä", "0"]
    made = {facets.word("category", value) for value in values}
    assert len(made) == len(values)
    assert all(word.isascii() and word.isalnum() for word in made)
    assert facets.word("move", "x") != facets.word("category", "x")


def test_failures_of_papers_without_annotation(db: sqlite3.Connection) -> None:
    for number in (1, 2):
        failure = Failure(paper(number), "InvalidReply", "no use", False, "raw")
        store.fail(db, failure, f"key {number}", request={})
    store.save(db, annotated(paper(1), "other"), nanda())
    newer = Failure(paper(2), "GenerationFailed", "broke off", True)
    store.fail(db, newer, "other key", request={})
    [left] = reads.failures(db)
    assert (left.paper.id, left.error_type, left.retryable) == (paper(2).id, newer.error_type, True)


def test_nested_transaction_is_part_of_outer_one(db: sqlite3.Connection) -> None:
    def two_papers_and_a_fault() -> None:
        with transaction(db):
            for number in (1, 2):
                store.save(db, annotated(paper(number)), nanda())
            raise KeyError

    with pytest.raises(KeyError):
        two_papers_and_a_fault()
    assert column(db, "SELECT count(*) FROM papers") == [0]
    assert not db.in_transaction


def test_key_is_computed_from_provenance(db: sqlite3.Connection) -> None:
    item = annotated(paper(1))
    provenance = item.record["provenance"]
    assert verify(item.record, item.paper.abstract) == []
    assert verify(item.record, "Another abstract.") == ["it was made from another abstract"]
    for part in ("prompt_sha256", "schema_sha256", "form", "digests", "sampling", "where"):
        assert key_of({**provenance, part: {"other": 1}}) != provenance["key"], part
    for rest in ("created", "seconds", "tokens", "harness", "requested"):
        assert key_of({**provenance, rest: "other"}) == provenance["key"], rest


def test_documented_key_parts() -> None:
    page = (CODE_ROOT / "docs" / "corpus.md").read_text(encoding="utf-8")
    item, parts_of_key = annotated(paper(1)), {}

    def remember(parts: dict[str, Any]) -> str:
        parts_of_key.update(parts)
        return ""

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(records, "sha256_of", remember)
        known = item.record["provenance"]
        read = {**known["input"], "sections": {"limitation": "0"}}
        key_of({**known, "input": read, "backend": records.IMPORT, "moves_sha256": "0"})
    for text in (page, inspect.getdoc(key_of) or ""):
        parts = text.split("canonical JSON of", 1)[1].split("Canonical JSON has", 1)[0]
        named = re.findall(r"^ {8}(\w+) +\S", parts, re.M)
        assert named == list(parts_of_key)


def test_verify_finds_changes(db: sqlite3.Connection) -> None:
    ids = [store.save(db, annotated(paper(number)), nanda()) for number in range(1, 5)]
    assert Database(db, nanda()).verify() == Verified(checked=4, wrong=[])
    change = "UPDATE annotations SET record = json_set(record, ?, ?) WHERE id = ?"
    db.execute(change, ["$.provenance.form", "tagged", ids[0]])
    db.execute("UPDATE papers SET abstract = 'Other.' WHERE source_id = ?", [paper(2).id])
    db.execute("UPDATE annotations SET key = 'n1:0' WHERE id = ?", [ids[2]])
    db.execute("UPDATE annotations SET record = '{' WHERE id = ?", [ids[3]])
    found = Database(db, nanda()).verify()
    assert (found.checked, [one.annotation for one in found.wrong]) == (4, ids)
    reasons = [" ".join(one.reasons) for one in found.wrong]
    for part, text in zip(
        ("key does not", "abstract", "key in its row differs", "damaged"), reasons, strict=True
    ):
        assert part in text


def test_annotation_with_missing_move_is_left_out(db: sqlite3.Connection) -> None:
    store.save(db, annotated(paper(1)), nanda())
    more = nanda().model_copy(
        update={"moves": (*nanda().moves, nanda().moves[0].model_copy(update={"name": "cost"}))}
    )
    assert list(reads.annotated(db, more, Database(db, more).ids())) == []


def test_files_that_are_not_a_corpus(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="no corpus yet"),
        open_corpus(tmp_path / "none.db", must_exist=True),
    ):
        pass
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "text.db").write_text("no database " * 100)
    with (
        pytest.raises(InputError, match="not a corpus database"),
        open_corpus(tmp_path / "text.db"),
    ):
        pass
    with pytest.raises(OutputError), open_corpus(tmp_path):
        pass


def test_foreign_database_is_rejected_unchanged(tmp_path: Path) -> None:
    others = {
        "run log": ("CREATE TABLE _migrations (name, applied_at)", "CREATE TABLE runs (id)"),
        "shop": ("CREATE TABLE papers (id)", "INSERT INTO papers VALUES (1)"),
    }
    for name, made_by in others.items():
        path = tmp_path / f"{name}.db"
        with contextlib.closing(sqlite3.connect(path)) as other:
            for sql in made_by:
                other.execute(sql)
            other.commit()
        before = path.read_bytes()
        with pytest.raises(InputError, match="is not a corpus database"), open_corpus(path):
            pass
        assert path.read_bytes() == before, name
        assert [*tmp_path.glob(f"{name}*")] == [path]


def test_database_of_newer_version_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "corpus.db"
    with open_corpus(path) as db:
        db.execute("INSERT INTO _migrations VALUES ('m999_later', '')")
    with pytest.raises(InputError, match=r"newer version .* m999_later is not known"):
        open_corpus(path).__enter__()


def test_database_of_an_older_version_is_rejected_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "corpus.db"
    with contextlib.closing(sqlite3.connect(path)) as older:
        older.executescript(
            "CREATE TABLE _migrations (name, applied_at); CREATE TABLE papers (id);"
            "INSERT INTO _migrations VALUES ('m001_papers', ''), ('m011_reviews', '')"
        )
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"before 0\.1\.0") as refused, open_corpus(path):
        pass
    assert "/corpus export corpus.jsonl" in (refused.value.hint or "")
    assert path.read_bytes() == before


def test_a_new_database_has_the_tables_that_commit_4af3ddc0_made(tmp_path: Path) -> None:
    def tables(path: Path) -> dict[str, object]:
        with contextlib.closing(sqlite3.connect(path)) as db:
            names = "SELECT name, type FROM sqlite_master WHERE sql NOT NULL"
            found: dict[str, object] = {}
            for name, kind in db.execute(names).fetchall():
                columns = db.execute("SELECT * FROM pragma_table_xinfo(?)", [name]).fetchall()
                keys = db.execute("SELECT * FROM pragma_foreign_key_list(?)", [name]).fetchall()
                unique = db.execute(
                    'SELECT "unique", origin, partial, (SELECT group_concat(name) FROM'
                    " pragma_index_info(index_list.name)) FROM pragma_index_list(?) AS index_list",
                    [name],
                ).fetchall()
                found[name] = kind, columns, keys, unique
            return found

    shutil.copy(TEST_DATA / "made_by_c0082a3" / "corpus.db", tmp_path / "earlier.db")
    for name in ("new.db", "earlier.db"):
        with open_corpus(tmp_path / name):
            pass
    assert tables(tmp_path / "new.db") == tables(tmp_path / "earlier.db")


def test_empty_file_becomes_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    with open_corpus(tmp_path / "empty.db") as db:
        assert column(db, "SELECT count(*) FROM papers") == [0]


@pytest.mark.parametrize(
    "fault", [FileNotFoundError(2, "No such file", "/some/table"), sqlite3.ProgrammingError("bug")]
)
def test_unrelated_errors_pass_through(tmp_path: Path, fault: Exception) -> None:
    with pytest.raises(type(fault)) as caught, open_corpus(tmp_path / "corpus.db"):
        raise fault
    assert caught.value is fault


def test_statement_errors_pass_through(db: sqlite3.Connection, tmp_path: Path) -> None:
    insert = (
        "INSERT INTO verdicts (run_id, source_id, decision, reasons) VALUES (9, 'p', 'kept', '')"
    )
    for sql, error in (
        (insert, sqlite3.IntegrityError),
        ("SELECT * FROM nothing", sqlite3.OperationalError),
    ):
        with pytest.raises(error), open_corpus(tmp_path / "corpus.db") as again:
            again.execute(sql)


def test_locked_database_can_be_read_only(
    db: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write() -> None:
        with open_corpus(tmp_path / "corpus.db") as second:
            assert column(second, "SELECT count(*) FROM papers") == [0]
            store.save(second, annotated(paper(1)), nanda())

    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    db.execute("BEGIN IMMEDIATE")
    papers.save(db, paper(2))
    with pytest.raises(OutputError, match=r"database is locked\. Is another process"):
        write()
    db.rollback()


def m999_later(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE later (id INTEGER PRIMARY KEY)")


def test_locked_database_cannot_be_migrated(
    db: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(connection, "MIGRATIONS", (*MIGRATIONS, m999_later))
    db.execute("BEGIN IMMEDIATE")
    with (
        pytest.raises(OutputError, match="database is locked"),
        open_corpus(tmp_path / "corpus.db"),
    ):
        pass
    db.rollback()


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("max_page_count = 1", "disk is full"),
        ("query_only = 1", "readonly database"),
    ],
)
def test_full_disk_and_read_only_file_are_reported(
    tmp_path: Path, limit: str, message: str
) -> None:
    def write() -> None:
        with open_corpus(tmp_path / "corpus.db") as db:
            db.execute(f"PRAGMA {limit}")
            papers.save(db, paper(1, "A long abstract. " * 5000))

    with pytest.raises(OutputError, match=message):
        write()


def test_damaged_database_is_reported(tmp_path: Path) -> None:
    path = corpus_of(tmp_path / "corpus.db", [annotated(paper(n)) for n in range(1, 30)])
    data = path.read_bytes()
    path.write_bytes(data[:8192] + b"\xff" * (len(data) - 8192))
    with pytest.raises(InputError, match=r"or damaged: .*malformed"), open_corpus(path) as db:
        Database(db, nanda()).verify()


def test_damage_in_a_text_is_reported_and_can_be_set_aside(tmp_path: Path) -> None:
    # The damages are: not UTF-8, not JSON, two incomplete annotations, and a broken schema.
    damages = (
        (b'"checks"', b'"\xff\xfecks"'),
        (b'"checks"', b'"}"cks:"'),
        (b'"checks"', b'"Checks"'),
        (b'"unsupported_names"', b'"Unsupported_names"'),
        (b"CREATE INDEX", b"CREATE \xd5NDEX"),  # the message of SQLite is not UTF-8
    )
    for number, (right, wrong) in enumerate(damages):
        path = corpus_of(tmp_path / f"{number}.db", [annotated(paper(n)) for n in range(1, 3)])
        path.write_bytes(path.read_bytes().replace(right, wrong))
        with (
            pytest.raises(InputError, match=r"or damaged: .*set-aside --db"),
            open_corpus(path) as db,
        ):
            list(reads.annotated(db, nanda(), Database(db, nanda()).ids()))
        kept, found = damage.set_aside(path)
        assert found
        assert kept.exists()
        assert not path.exists()


def test_a_damaged_database_is_set_aside_whole(tmp_path: Path) -> None:
    path = corpus_of(tmp_path / "corpus.db", [annotated(paper(1))])
    with pytest.raises(UsageError, match="is not damaged"):
        damage.set_aside(path)
    data = path.read_bytes()[:8192]
    for number in (1, 2):
        path.write_bytes(data)
        path.with_name("corpus.db-wal").write_bytes(b"log")
        kept, found = damage.set_aside(path)
        assert found
        assert kept == tmp_path / f"corpus.db.damaged-{number}"
        assert kept.read_bytes() == data
        assert kept.with_name(f"{kept.name}-wal").exists()
        assert not [*tmp_path.glob("corpus.db"), *tmp_path.glob("corpus.db-*")]
    with pytest.raises(InputError, match="no such file"):
        damage.set_aside(path)
    with pytest.raises(InputError, match=r"is a folder, not a database.*/corpus index"):
        damage.set_aside(tmp_path)


def test_a_database_that_cannot_be_read_is_not_set_aside(tmp_path: Path) -> None:
    path = corpus_of(tmp_path / "corpus.db", [annotated(paper(1))])
    path.with_name("corpus.db-wal").mkdir()  # SQLite cannot open its log
    with pytest.raises(OutputError, match="cannot be checked: unable to open"):
        damage.set_aside(path)
    assert path.exists()


def test_statistics_and_filters_use_covering_indexes(db: sqlite3.Connection) -> None:
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    Database(db, nanda()).statistics()
    conditions = filters.parse("year=2024 category=cs.CL support<1 model=m claim=stated", nanda())
    Database(db, nanda()).select(conditions)
    db.set_trace_callback(None)
    statements = [sql for sql in statements if "annotations" in sql or "moves" in sql]
    statements = [sql for sql in statements if "failures" not in sql]
    assert len(statements) == 6
    for sql in statements:  # r is a subquery; its own steps are in the plan
        plan = [row["detail"] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}")]
        reads = [step for step in plan if step.startswith(("SCAN", "SEARCH")) and step != "SCAN r"]
        assert reads
        assert all("COVERING INDEX" in step for step in reads), plan


def press_ctrl_c_soon() -> None:
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()


def test_ctrl_c_aborts_a_long_statement(db: sqlite3.Connection, tmp_path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    press_ctrl_c_soon()
    with pytest.raises(KeyboardInterrupt), open_corpus(tmp_path / "corpus.db") as opened:
        opened.execute(endless)
    assert column(db, "SELECT 1") == [1]


def test_ctrl_c_ends_the_wait_for_another_process(db: sqlite3.Connection, tmp_path: Path) -> None:
    db.execute("BEGIN IMMEDIATE")
    second = sqlite3.connect(tmp_path / "corpus.db", isolation_level=None)
    press_ctrl_c_soon()
    started = time.monotonic()
    with contextlib.closing(second), pytest.raises(KeyboardInterrupt):
        execute_when_free(second, "BEGIN IMMEDIATE", 60)
    assert time.monotonic() - started < 20
    db.rollback()


def test_a_corpus_is_opened_without_numpy(tmp_path: Path) -> None:
    """Importing it takes a third of the time of a command that reads the corpus."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from skills.corpus.db.connection import open_corpus\n"
        "with open_corpus(Path(sys.argv[1])):\n"
        "    assert 'numpy' not in sys.modules\n"
    )
    path = str(tmp_path / "corpus.db")
    subprocess.run([sys.executable, "-c", code, path], cwd=CODE_ROOT, check=True)
