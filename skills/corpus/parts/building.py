"""Build and update the index of a folder of parts: each part is read once."""

from __future__ import annotations

import functools
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import InputError, OutputError
from harness.support.process import job_lock, require
from harness.support.sqlite import is_interrupted
from skills.corpus.db.facets import paper_words, word
from skills.corpus.parts import duck, facts
from skills.corpus.parts.facts import NewPart
from skills.corpus.parts.folder import File, Layout, find_files, layout
from skills.corpus.parts.index import (
    FOLDER,
    UNKNOWN_YEAR,
    create_index,
    is_current,
    known_parts,
    place_of,
)
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper

if TYPE_CHECKING:
    import duckdb

GROUP_ROWS = 50_000
"""Rows of the parts that are indexed in one transaction, unless one part has more."""
GROUP_PARTS = 1_000
Tick = Callable[[str], None]


@dataclass(slots=True)
class Built:
    """What an index has now.

    Attributes:
        parts, rows: in the index.
        added: parts that were read.
        refused: parts that cannot be read, with the reason.
    """

    parts: int = 0
    rows: int = 0
    added: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def build(folder: Path, framework: Framework, tick: Tick, check: Callable[[], None]) -> Built:
    """Index the parts of a folder that are not in its index, or were written again.

    What was indexed before an interruption remains; the next call goes on.

    Args:
        check: raises to stop.

    Raises:
        InputError: the folder has no parts.
        OutputError: the index cannot be written.
        UsageError: another process does so, or duckdb is not installed.
    """
    require("duckdb", extra="duckdb")
    files = find_files(folder)
    place = place_of(folder, framework)
    try:
        with job_lock(folder / FOLDER, str(place)):
            with create_index(folder, framework) as db:
                outdated = not is_current(db, framework)
            if outdated:
                shutil.rmtree(place)
            with create_index(folder, framework) as db, duck.connected(folder) as duckdb:
                return _Builder(db, duckdb, folder, framework, tick, check).build(files)
    except sqlite3.DatabaseError as exc:
        if is_interrupted(exc):
            raise KeyboardInterrupt from exc
        raise OutputError(
            f"the index cannot be written: {exc}",
            where=str(place),
            hint="If it is damaged, delete the folder, and run the command again.",
        ) from exc
    except OSError as exc:
        raise OutputError(
            f"the index cannot be written: {exc.strerror or exc}", where=str(place)
        ) from exc


@dataclass(frozen=True, slots=True)
class _Builder:
    db: sqlite3.Connection
    duckdb: duckdb.DuckDBPyConnection
    folder: Path
    framework: Framework
    tick: Tick
    check: Callable[[], None]

    def build(self, files: dict[str, File]) -> Built:
        known = {part.file.name: part for part in known_parts(self.db)}
        same = {name for name, part in known.items() if files.get(name) == part.file}
        changed = [(name,) for name in known if name not in same]
        self.db.executemany("DELETE FROM parts WHERE name = ?", changed)
        due = [file for name, file in files.items() if name not in same]
        done = 0
        for group in self._groups(due):
            self.check()
            self._add(group)
            done += len(group)
            self.tick(f"{done:,} of {len(due):,} parts")
        self._complete()
        built = Built()
        for part in known_parts(self.db):
            if part.refused:
                built.refused[part.file.name] = part.refused
            else:
                built.parts += 1
                built.rows += part.rows
                built.added += part.file.name not in same
        return built

    def _groups(self, due: Sequence[File]) -> Iterator[list[tuple[File, NewPart]]]:
        """Yield parts of the same layout that are read together; those without one are refused."""
        group: list[tuple[File, NewPart]] = []
        rows = 0
        for file in due:
            try:
                found = layout(self.folder / file.name, self.framework)
            except InputError as exc:
                self._refuse(file, exc.message)
                continue
            kinds = {(one.layout.id_column, one.layout.has_errors) for _, one in group}
            full = rows + found.rows > GROUP_ROWS or len(group) >= GROUP_PARTS
            if group and (full or kinds != {(found.id_column, found.has_errors)}):
                yield group
                group, rows = [], 0
            group.append((file, NewPart(0, self.folder.absolute() / file.name, 0, found)))
            rows += found.rows
        if group:
            yield group

    def _add(self, group: Sequence[tuple[File, NewPart]]) -> None:
        """Index parts in one transaction; if one of them cannot be read, it alone is refused."""
        import duckdb

        try:
            self._write(group)
        except duckdb.Error as exc:
            if len(group) > 1:
                for one in group:
                    self._add([one])
            else:
                first = (str(exc).splitlines() or [type(exc).__name__])[0]
                self._refuse(group[0][0], f"cannot be read ({first})")

    def _write(self, group: Sequence[tuple[File, NewPart]]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            parts = self._numbered(part for _, part in group)
            name = f"facts-{parts[0].id}.parquet"
            target = place_of(self.folder, self.framework) / name
            years = facts.write(self.duckdb, parts, self.framework, target)
            self.db.executemany(
                "INSERT OR IGNORE INTO years VALUES (?)",
                [(UNKNOWN_YEAR if year is None else year,) for year in years],
            )
            self.db.executemany(
                "INSERT INTO moves_fts (rowid, text, facets) VALUES (?, ?, ?)", self._moves(parts)
            )
            for (file, _), part in zip(group, parts, strict=True):
                self._insert(file, part, name)
        except BaseException:
            self.db.rollback()
            raise
        self.db.commit()

    def _numbered(self, parts: Iterator[NewPart]) -> list[NewPart]:
        """Give parts and rows ids that follow the last ones; none is given twice."""
        last, past = (self._get(name) for name in ("given", "past"))
        numbered = []
        for number, part in enumerate(parts, start=last + 1):
            numbered.append(NewPart(number, part.path, past, part.layout))
            past += part.layout.rows
        self._set("given", last + len(numbered))
        self._set("past", past)
        return numbered

    def _moves(self, parts: Sequence[NewPart]) -> Iterator[tuple[int, str, str]]:
        """Yield the rowid, text and words of the facets of each move that is stated."""
        moves = [word("move", move) for move in self.framework.names]
        unstated, count = self.framework.not_stated, len(moves)
        known = functools.lru_cache(maxsize=100_000)(_facets)
        rows = facts.texts(self.duckdb, parts, self.framework)
        for number, (row_id, published, categories, texts) in enumerate(rows):
            if number % facts.FETCHED == 0:
                self.check()
            of_paper, begin = known(published, categories), row_id * count
            for place, text in enumerate(texts):
                if text != unstated:
                    yield begin + place, text, f"{moves[place]} {of_paper}"

    def _complete(self) -> None:
        """Determine the current annotation of each paper, and let readers see all parts."""
        self.tick("looking for papers in several parts")
        parts = [part for part in known_parts(self.db) if not part.refused]
        place = place_of(self.folder, self.framework)
        names = list(dict.fromkeys(part.facts for part in parts))
        found = []
        if parts:
            ids = [part.id for part in parts]
            found = facts.repeats(self.duckdb, [place / name for name in names], ids)
        self.db.execute("BEGIN IMMEDIATE")
        self.db.execute("DELETE FROM repeats")
        self.db.executemany("INSERT INTO repeats VALUES (?, ?, ?)", found)
        self._set("last", self._get("given"))
        self.db.commit()
        for path in place.glob("facts-*.parquet"):
            if path.name not in names:
                path.unlink()

    def _refuse(self, file: File, reason: str) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        [part] = self._numbered(iter([NewPart(0, Path(), 0, _NO_ROWS)]))
        self._insert(file, part, "", reason)
        self.db.commit()

    def _insert(self, file: File, part: NewPart, name: str, refused: str = "") -> None:
        values = (part.first, part.layout.rows, part.layout.id_column, name, refused)
        self.db.execute(
            "INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (part.id, file.name, file.size, file.mtime_ns, *values),
        )

    def _get(self, name: str) -> int:
        [(value,)] = self.db.execute("SELECT value FROM about WHERE name = ?", [name])
        return int(value)

    def _set(self, name: str, value: int) -> None:
        self.db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", [name, str(value)])


_NO_ROWS = Layout(0, "", has_errors=False)


def _facets(published: str, categories: str) -> str:
    year = Paper("id", "", "", "", published=published).year
    return paper_words(year, categories)
