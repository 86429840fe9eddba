"""Read Zotero's database while Zotero uses it, and databases that are not Zotero's or damaged."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from zotero_library import ZoteroLibrary

from harness.errors import InputError, OutputError
from skills.corpus.references import zotero_database
from skills.corpus.table import open_table

ABSTRACT = "We present Ledger, which books every tool call of an agent with its arguments."


def titles(path: Path) -> list[str]:
    return [row.paper.title for row in open_table(path).rows()]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    with ZoteroLibrary(tmp_path) as made:
        for number in range(200):
            made.add(f"Paper {number}", f"{ABSTRACT} {number}")
    return tmp_path


@contextmanager
def used_by_zotero(path: Path, journal: str) -> Iterator[sqlite3.Connection]:
    """Open a library as Zotero does, and change it within a transaction that is not committed."""
    with closing(sqlite3.connect(path / "zotero.sqlite", isolation_level=None)) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute(f"PRAGMA journal_mode = {journal}")
        db.execute("UPDATE itemDataValues SET value = 'Committed' WHERE value = 'Paper 0'")
        db.execute("PRAGMA cache_size = 1")  # pages are written before the commit
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE itemDataValues SET value = 'Uncommitted ' || value")
        yield db


@pytest.mark.parametrize("journal", ["WAL", "DELETE", "TRUNCATE"])
def test_a_running_zotero_with_an_open_transaction(library: Path, journal: str) -> None:
    with used_by_zotero(library, journal):
        # No other process can read the database; its files have pages of the open transaction.
        locked = pytest.raises(sqlite3.OperationalError, match="locked")
        with closing(sqlite3.connect(library / "zotero.sqlite", timeout=0)) as other, locked:
            other.execute("SELECT count(*) FROM items").fetchone()
        before = {file.name: file.read_bytes() for file in library.iterdir()}
        found = titles(library)
        assert {file.name: file.read_bytes() for file in library.iterdir()} == before
    assert found == ["Committed", *(f"Paper {number}" for number in range(1, 200))]


def test_a_link_to_a_database_is_read_with_its_journal(library: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked" / "zotero.sqlite"
    linked.parent.mkdir()
    linked.symlink_to(library / "zotero.sqlite")
    with used_by_zotero(library, "WAL"):
        assert titles(linked)[0] == "Committed"


def test_it_is_copied_again_if_it_changes_meanwhile(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[Path] = []

    def copy_and_change(source: Path, target: Path) -> None:
        shutil.copyfile(source, target)
        copied.append(source)
        if len(copied) == 1:
            with closing(sqlite3.connect(library / "zotero.sqlite")) as db, db:
                db.execute("UPDATE itemDataValues SET value = 'Changed' WHERE value = 'Paper 0'")

    class Shutil:
        copyfile = staticmethod(copy_and_change)

    monkeypatch.setattr(zotero_database, "shutil", Shutil)
    assert titles(library)[0] == "Changed"


def test_it_changes_all_the_time(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter(range(1000))
    monkeypatch.setattr(zotero_database, "_state", lambda path: ((next(states), 0, 0),))
    with pytest.raises(InputError, match="did not stop changing"):
        titles(library)


def test_no_space_for_the_copy(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zotero_database.shutil, "copyfile", full)
    with pytest.raises(OutputError, match="TMPDIR"):
        titles(library)


def test_rows_stay_those_of_the_first_reading(library: Path) -> None:
    table = open_table(library)
    with closing(sqlite3.connect(library / "zotero.sqlite")) as db, db:
        db.execute("DELETE FROM items")
    assert len(list(table.rows())) == len(list(table.rows())) == 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("DROP TABLE version", "is not a database of Zotero"),
        ("DELETE FROM version WHERE schema = 'userdata'", "is not a database of Zotero"),
        ("UPDATE version SET version = 'x'", "is not a database of Zotero"),
        ("UPDATE version SET version = 10 WHERE schema = 'compatibility'", "of a newer Zotero"),
        ("UPDATE version SET version = 76 WHERE schema = 'userdata'", "of an older Zotero"),
        ("DROP TABLE itemCreators", "is damaged .no such table: itemCreators"),
        ("UPDATE itemDataValues SET value = x'ff00ff' WHERE value = 'Paper 0'", "is damaged"),
    ],
)
def test_other_databases(library: Path, change: str, message: str) -> None:
    with closing(sqlite3.connect(library / "zotero.sqlite")) as db, db:
        db.execute(change)
    with pytest.raises(InputError, match=message):
        titles(library)


def test_other_files(library: Path) -> None:
    file = library / "zotero.sqlite"
    whole = file.read_bytes()
    for content, message in (
        (b"", "is empty"),
        (b"id,title\n1,T\n" * 20, "is not a database of Zotero"),
        (whole[: len(whole) // 2], "is damaged"),
        (whole[:4096] + b"\xff" * 8192 + whole[12288:], "is damaged"),
    ):
        file.write_bytes(content)
        with pytest.raises(InputError, match=message):
            titles(library)
    with pytest.raises(InputError, match="no such file"):
        titles(library / "other.sqlite")


def test_damage_anywhere(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zotero_database, "_SETTLED", 0)
    file = library / "zotero.sqlite"
    whole, random = file.read_bytes(), Random(5)
    damaged = [whole.replace(b"INDEX itemTags_tagID", b"INDEX \xc0temTags_tag\xff")]
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(random.choice([1, 20, 200])):
            content[random.randrange(len(content))] = random.randrange(256)
        damaged.append(bytes(content))
    refused = 0
    for content in damaged:
        file.write_bytes(content)
        try:
            titles(library)
        except InputError:
            refused += 1
    assert refused > 50


def test_text_that_is_not_utf8_is_read(library: Path) -> None:
    with closing(sqlite3.connect(library / "zotero.sqlite")) as db, db:
        sql = "UPDATE itemDataValues SET value = CAST(x'4dfc' AS TEXT) WHERE value = 'Paper 0'"
        db.execute(sql)
    assert titles(library)[0] == "M\N{REPLACEMENT CHARACTER}"
