"""Store conversations in SQLite: a row for each session, and a row for each finished turn.

A summary replaces turns in the conversation, and is stored in a row like a turn. The column
`covers` of a summary is the id of the last replaced turn. The replaced turns stay in the database,
and can be read and searched.

A turn is stored with all its messages in one transaction, after its end. Therefore a killed process
loses at most its current turn, and two processes may add turns to the same session. Sessions
contain texts of the user and of files, so only the user can read the database (mode 0600). If the
database cannot be used, a notice is printed, and conversations are not stored.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import NothingFound
from harness.models.backend import Message, ToolCall
from harness.support.sqlite import UserDatabase, storable

TITLE = 80
"""Maximum number of characters of a title."""
EXCERPT = 8
"""Maximum number of words of an excerpt."""
T = TypeVar("T")
_OF_SESSION = """
    SELECT s.id, s.project, s.title, s.started_at, s.used_at, s.asked, s.skills, s.served,
        (SELECT count(*) FROM turns WHERE session_id = s.id AND covers IS NULL) AS turns
    FROM sessions s
"""


def m001_sessions(db: sqlite3.Connection) -> None:
    db.execute(
        """
        CREATE TABLE sessions (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            project TEXT NOT NULL,
            title TEXT NOT NULL,
            started_at TEXT NOT NULL,
            used_at TEXT NOT NULL,
            asked INTEGER NOT NULL,
            skills TEXT NOT NULL,
            served TEXT NOT NULL
        )
        """
    )
    db.execute(
        """
        CREATE TABLE turns (
            id INTEGER PRIMARY KEY,
            session_id INTEGER NOT NULL REFERENCES sessions(id),
            ended_at TEXT NOT NULL,
            messages TEXT NOT NULL
        )
        """
    )
    db.execute("CREATE INDEX turns_of_session ON turns(session_id)")
    db.execute("CREATE VIRTUAL TABLE turn_texts USING fts5(text)")


def m002_summaries(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE turns ADD COLUMN covers INTEGER")


MIGRATIONS = (m001_sessions, m002_summaries)


@dataclass(frozen=True, slots=True)
class Session:
    """A stored session.

    Attributes:
        project: the folder that the session belongs to.
        started_at, used_at: times in UTC, in ISO format.
        asked: True if a turn ran without `--yes`, so that changes had to be confirmed.
        skills: for each active skill, the text with which it was activated.
        served: the model that answered in the last turn, and the place that served the model; ""
            if no model answered in that turn.
        turns: number of turns.
        excerpt: a passage with words of the search that found the session, or "".
    """

    id: int
    project: str
    title: str
    started_at: str
    used_at: str
    asked: bool
    skills: Mapping[str, str]
    served: str
    turns: int
    excerpt: str = ""


class SessionStore:
    """The sessions of a user in an SQLite file.

    Args:
        path: the file, which is created with its folder if it does not exist.
        notice: called once with a message if the file cannot be used.
    """

    def __init__(self, path: Path, notice: Callable[[str], None]) -> None:
        self.path = path
        problem = "sessions cannot be stored or read"
        self._database = UserDatabase(path, MIGRATIONS, problem, notice)

    @property
    def broken(self) -> bool:
        """True if the file could not be used."""
        return self._database.error is not None

    def begin(self, project: Path) -> int | None:
        """Create a session and return its id, or None if the session cannot be stored.

        Editors need the id before the first turn. Sessions without turns are not listed.
        """
        return self._database.run(lambda db: _begin(db, project, "", _now()), None)

    def add(
        self,
        session: int | None,
        project: Path,
        messages: Sequence[Message],
        *,
        skills: Mapping[str, str],
        asked: bool,
        served: str,
        covers: int = 0,
    ) -> int | None:
        """Store a turn or a summary of a session, and return the session's id.

        A new session is created if `session` is None or unknown. If the messages cannot be stored,
        `session` is returned.

        Args:
            skills: for each active skill, the text with which it was activated.
            asked: True if the turn ran without `--yes`, so that changes had to be confirmed.
            served: the model that answered, and the place that served it; "" for a command.
            covers: the number of turns that a summary replaces, not counting turns that earlier
                summaries replaced; 0 for a turn.
        """
        if self.broken:  # an earlier turn may be missing, and this turn may depend on it
            return session
        now = _now()

        def work(db: sqlite3.Connection) -> int | None:
            db.execute("BEGIN IMMEDIATE")
            known = db.execute("SELECT id FROM sessions WHERE id = ?", [session]).fetchone()
            title = storable(_title(messages))
            number = known["id"] if known else _begin(db, project, title, now)
            db.execute(
                "UPDATE sessions SET used_at = ?, asked = max(asked, ?), skills = ?, served = ?,"
                " title = CASE title WHEN '' THEN ? ELSE title END WHERE id = ?",
                [now, asked, json.dumps(dict(skills)), storable(served), title, number],
            )
            _add_turn(db, number, messages, now, covers)
            db.execute("COMMIT")
            return number

        return self._database.run(work, session)

    def get(self, session: int) -> Session:
        """Return the session with this id.

        Raises:
            NothingFound: there is no such session.
        """
        for found in self._sessions("WHERE s.id = ?", [session]):
            return found
        raise NothingFound(f"there is no session {session}", hint="`/sessions` lists the sessions.")

    def messages(self, session: int) -> list[Message]:
        """Return the messages with which a session continues; [] if there are none.

        The messages are the last summary, if any, and the turns that this summary does not replace.
        """
        rows = self.transcript(session)
        covered = max((covers for _, covers, _ in rows), default=0)
        last = [turn for _, covers, turn in rows if covered and covers == covered][-1:]
        turns = [turn for number, covers, turn in rows if not covers and number > covered]
        return [message for turn in (*last, *turns) for message in turn]

    def transcript(self, session: int) -> list[tuple[int, int, list[Message]]]:
        """Return the turns and summaries of a session in the order in which they were stored.

        Returns:
            A tuple for each turn or summary: its id, the id of the last turn that a summary
            replaces (0 for a turn), and the messages. [] if the file cannot be used.
        """

        def work(db: sqlite3.Connection) -> list[tuple[int, int, list[Message]]]:
            sql = "SELECT id, covers, messages FROM turns WHERE session_id = ? ORDER BY id"
            rows = db.execute(sql, [session])
            return [(row["id"], row["covers"] or 0, _messages(row["messages"])) for row in rows]

        return self._database.run(work, [])

    def use(self, session: int) -> None:
        """Mark a session as the last used session of its project."""
        sql = "UPDATE sessions SET used_at = ? WHERE id = ?"
        self._database.run(lambda db: db.execute(sql, [_now(), session]), None)

    def found(self, text: str, project: Path | None, limit: int) -> list[Session]:
        """Return up to `limit` sessions with all words of `text`, the last used session first.

        Sessions without turns are left out.

        Args:
            text: words, or beginnings of words; "" for all sessions.
            project: the folder of the sessions; None for all folders.
        """
        conditions = ["EXISTS (SELECT 1 FROM turns WHERE session_id = s.id)"]
        parameters: list[Any] = []
        if project is not None:
            conditions.append("s.project = ?")
            parameters.append(storable(str(project)))
        words = [f'"{word}"*' for word in re.findall(r"\w+", text)]
        if text.strip() and not words:
            return []
        for word in words:
            conditions.append(
                "s.id IN (SELECT session_id FROM turns JOIN turn_texts ON turn_texts.rowid ="
                " turns.id WHERE turn_texts MATCH ?)"
            )
            parameters.append(word)
        order = "ORDER BY s.used_at DESC, s.id DESC LIMIT ?"
        return self._sessions(
            f"WHERE {' AND '.join(conditions)} {order}", [*parameters, limit], " OR ".join(words)
        )

    def _sessions(self, rest: str, parameters: Sequence[Any], match: str = "") -> list[Session]:
        def work(db: sqlite3.Connection) -> list[Session]:
            rows = [dict(row) for row in db.execute(f"{_OF_SESSION} {rest}", parameters)]
            for row in rows:
                row["asked"] = bool(row["asked"])
                try:
                    row["skills"] = dict(json.loads(row["skills"]))
                except (ValueError, TypeError) as exc:
                    raise sqlite3.DatabaseError(f"a stored session is damaged ({exc})") from exc
                if match:
                    [excerpt] = db.execute(
                        "SELECT snippet(turn_texts, 0, '', '', '...', ?) FROM turn_texts"
                        " JOIN turns ON turns.id = turn_texts.rowid"
                        " WHERE turn_texts MATCH ? AND session_id = ? ORDER BY rank LIMIT 1",
                        [EXCERPT, match, row["id"]],
                    ).fetchone()
                    row["excerpt"] = " ".join(excerpt.split())
            return [Session(**row) for row in rows]

        return self._database.run(work, [])


def _begin(db: sqlite3.Connection, project: Path, title: str, now: str) -> int | None:
    return db.execute(
        "INSERT INTO sessions (project, title, started_at, used_at, asked, skills, served)"
        " VALUES (?, ?, ?, ?, 0, '{}', '')",
        [storable(str(project)), title, now, now],
    ).lastrowid


def _add_turn(
    db: sqlite3.Connection, session: int | None, messages: Sequence[Message], now: str, covers: int
) -> None:
    stored = [{k: v for k, v in asdict(message).items() if v} for message in messages]
    [last] = db.execute(
        "SELECT max(id) FROM (SELECT id FROM turns WHERE session_id = ? AND covers IS NULL"
        " AND id > (SELECT ifnull(max(covers), 0) FROM turns WHERE session_id = ?)"
        " ORDER BY id LIMIT ?)",
        [session, session, covers],
    ).fetchone()
    turn = db.execute(
        "INSERT INTO turns (session_id, ended_at, messages, covers) VALUES (?, ?, ?, ?)",
        [session, now, storable(json.dumps(stored)), last],
    ).lastrowid
    text = storable("\n".join(message.content for message in messages))
    db.execute("INSERT INTO turn_texts (rowid, text) VALUES (?, ?)", [turn, text])


def _title(messages: Iterable[Message]) -> str:
    """Return the first line of the user's message, cut to `TITLE` characters."""
    content = next((message.content for message in messages), "").strip()
    words = " ".join(content.partition("\n")[0].split())
    return words if len(words) <= TITLE else f"{words[: TITLE - 3]}..."


def _messages(stored: str) -> list[Message]:
    try:
        return [
            Message(
                one["role"],
                one.get("content", ""),
                tuple(ToolCall(**call) for call in one.get("tool_calls", ())),
                ToolCall(**one["answers"]) if "answers" in one else None,
            )
            for one in json.loads(stored)
        ]
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        raise sqlite3.DatabaseError(f"a stored turn is damaged ({exc})") from exc


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
