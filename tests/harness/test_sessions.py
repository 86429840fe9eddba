"""The store of sessions: complete turns, search, several processes, and files it cannot use."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from killing import assert_killed, kill

from harness import sessions as store_module
from harness.models.backend import Message, ToolCall
from harness.sessions import SessionStore

CALL = ToolCall("corpus", '{"text": "stats"}', "call_1")
TURN = [
    Message("user", "how many papers are there?"),
    Message("assistant", "", (CALL,)),
    Message("tool", '{"papers": 4}', answers=CALL),
    Message("assistant", "Four papers."),
]


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, notices: list[str]) -> SessionStore:
    return SessionStore(tmp_path / "data" / "sessions.db", notices.append)


def turn(text: str, answer: str = "Yes.") -> list[Message]:
    return [Message("user", text), Message("assistant", answer)]


def add(
    store: SessionStore,
    messages: Sequence[Message],
    session: int | None = None,
    project: str = "/project",
    *,
    asked: bool = True,
) -> int:
    number = store.add(
        session, Path(project), messages, skills={"review": "x"}, asked=asked, served="producer"
    )
    assert number is not None
    return number


def test_a_session_without_turns_is_not_listed(store: SessionStore) -> None:
    number = store.begin(Path("/project"))
    assert number is not None
    assert store.found("", None, 10) == []
    assert store.messages(number) == []
    assert add(store, turn("hello"), number) == number
    [found] = store.found("", Path("/project"), 10)
    assert (found.id, found.title, found.turns) == (number, "hello", 1)
    add(store, turn("and now?"), number)
    assert store.found("", None, 10)[0].title == "hello"


def test_a_turn_is_read_as_it_was_stored(store: SessionStore, tmp_path: Path) -> None:
    number = add(store, TURN)
    add(store, turn("and now? \udcff"), number)
    long = store.get(add(store, turn(f"  {'long ' * 40}\n\n<file>\nattached")))
    assert long.title == f"{'long ' * 15}lo..."
    again = SessionStore(store.path, pytest.fail)
    assert again.messages(number) == [*TURN, *turn("and now? \udcff")]
    found = again.get(number)
    assert (found.title, found.turns) == ("how many papers are there?", 2)
    assert (found.skills, found.served) == ({"review": "x"}, "producer")
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_the_last_session_is_that_of_the_folder(store: SessionStore) -> None:
    first, second = add(store, turn("first")), add(store, turn("second"))
    other = add(store, turn("other"), project="/other")
    assert [s.id for s in store.found("", Path("/project"), 1)] == [second]
    store.use(first)
    assert [s.id for s in store.found("", Path("/project"), 9)] == [first, second]
    assert [s.id for s in store.found("", None, 9)] == [first, other, second]
    assert store.found("", Path("/empty"), 9) == []


def test_a_session_has_asked_once_a_turn_has(store: SessionStore) -> None:
    number = add(store, turn("one"), asked=False)
    assert not store.get(number).asked
    for asked in (True, False):
        add(store, turn("two"), number, asked=asked)
        assert store.get(number).asked


def test_words_are_found_anywhere_in_a_session(store: SessionStore) -> None:
    number = add(store, TURN)
    add(store, turn('what about "Zebras"?', "Ünder the bridge."), number)
    add(store, turn("unrelated"))
    project = Path("/project")
    for words in ("papers zebra", "FOUR", "under", "4", '"Zebras" AND', "paper*"):
        expected = [] if "AND" in words else [number]
        assert [s.id for s in store.found(words, project, 9)] == expected
    assert "bridge" in store.found("bridge", project, 9)[0].excerpt
    assert store.found("papers -> ...", project, 9)
    assert not store.found("???", project, 9)
    assert not store.found("papers", Path("/other"), 9)


def test_a_killed_process_loses_only_the_turn_it_stores(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = add(store, TURN)

    def half(db: sqlite3.Connection, *rest: object) -> None:
        db.execute("INSERT INTO turns (session_id, ended_at, messages) VALUES (1, '', '[]')")
        kill()

    with monkeypatch.context() as patched:
        patched.setattr(store_module, "_add_turn", half)
        assert_killed(lambda: add(store, turn("lost"), number))
    again = SessionStore(store.path, pytest.fail)
    assert again.messages(number) == TURN
    add(again, turn("kept"), number)
    assert again.messages(number) == [*TURN, *turn("kept")]


def test_two_stores_add_to_one_session(store: SessionStore) -> None:
    number, other = add(store, TURN), SessionStore(store.path, pytest.fail)
    for place in range(5):
        add(store, turn(f"a{place}"), number)
        add(other, turn(f"b{place}"), number)
    assert len(store.messages(number)) == len(TURN) + 20


def test_a_damaged_file_costs_one_notice(
    store: SessionStore, notices: list[str], tmp_path: Path
) -> None:
    store.path.parent.mkdir()
    store.path.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    assert store.add(7, Path(), TURN, skills={}, asked=True, served="") == 7
    assert store.found("", None, 9) == []
    [notice] = notices
    assert "file is not a database" in notice
    assert str(store.path) in notice
    assert store.broken


def test_a_folder_in_its_place_costs_one_notice(store: SessionStore, notices: list[str]) -> None:
    store.path.mkdir(parents=True)
    assert store.add(None, Path(), TURN, skills={}, asked=True, served="") is None
    assert store.add(None, Path(), TURN, skills={}, asked=True, served="") is None
    assert len(notices) == 1


@pytest.mark.parametrize("stored", ["{", '["x"]', '[{"content": "no role"}]', "[1]", "3"])
def test_a_damaged_turn_is_reported(store: SessionStore, notices: list[str], stored: str) -> None:
    number = add(store, TURN)
    with closing(sqlite3.connect(store.path)) as db, db:
        db.execute("UPDATE turns SET messages = ?", [stored])
    assert store.messages(number) == []
    assert "a stored turn is damaged" in notices[0]


def test_a_deleted_session_begins_anew(store: SessionStore) -> None:
    number = add(store, TURN)
    with closing(sqlite3.connect(store.path)) as db, db:
        db.execute("DELETE FROM sessions")
    assert add(store, turn("next"), number) != number
