"""Search the full text of parts, as `fulltext.search` does that of the database."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from skills.corpus.parts.index import UNKNOWN_YEAR, Index
from skills.corpus.parts.rows import Rows
from skills.corpus.search.fulltext import MARK, SNIPPET_WORDS, Hit
from skills.corpus.search.query_syntax import Years
from skills.corpus.tables.columns import CONFIDENCE
from skills.nanda.paper import Paper

_IS_CURRENT = """
    (SELECT past FROM live WHERE first <= moves_fts.rowid / :moves ORDER BY first DESC LIMIT 1)
        > moves_fts.rowid / :moves
    AND NOT EXISTS (SELECT 1 FROM repeats
        WHERE repeats.id = moves_fts.rowid / :moves AND repeats.current = 0)
"""


@dataclass(frozen=True, slots=True)
class Moves:
    """`fulltext.Moves` of an index."""

    index: Index
    rows: Rows

    @property
    def db(self) -> sqlite3.Connection:
        return self.index.db

    def newest(self, match: str, limit: int) -> list[int]:
        found = self.db.execute(
            f"SELECT rowid FROM moves_fts WHERE moves_fts MATCH :match AND {_IS_CURRENT}"
            " ORDER BY rowid DESC LIMIT :limit",
            {"match": match, "moves": self._count, "limit": limit},
        )
        return [rowid for (rowid,) in found]

    def without_year(self, match: str) -> int:
        sql = "SELECT 1 FROM years WHERE year = ?"
        if self.db.execute(sql, [UNKNOWN_YEAR]).fetchone() is None:
            return 0
        found = self.db.execute(
            "SELECT count(DISTINCT coalesce((SELECT paper FROM repeats"
            " WHERE repeats.id = moves_fts.rowid / :moves), moves_fts.rowid / :moves))"
            f" FROM moves_fts WHERE moves_fts MATCH :match AND {_IS_CURRENT}",
            {"match": match, "moves": self._count},
        )
        return int(found.fetchone()[0])

    def years(self, among: Years) -> list[int]:
        limits = [among.first or 0, among.last or 9999]
        sql = "SELECT year FROM years WHERE year BETWEEN ? AND ? ORDER BY year"
        return [year for (year,) in self.db.execute(sql, limits)]

    def hits(self, words: str, best: Sequence[tuple[int, float]]) -> Iterator[Hit]:
        names = self.index.framework.names
        wanted: defaultdict[str, list[int]] = defaultdict(list)
        for rowid, _ in best:
            wanted[names[rowid % self._count]].append(rowid // self._count)
        read = {
            (row_id, move): row
            for move, ids in wanted.items()
            for row_id, row in self.rows.read(ids, ("title", "published", CONFIDENCE, move))
        }
        papers = paper_numbers(self.index, [rowid // self._count for rowid, _ in best])
        with contextlib.closing(_snippets()) as snippets:
            for rowid, score in best:
                row_id, place = divmod(rowid, self._count)
                move = names[place]
                row = read[row_id, move]
                yield Hit(
                    self.rows.id_field(row_id),
                    row["id"],
                    row["title"],
                    Paper("id", "", "", "", published=row["published"]).year,
                    move,
                    row[move],
                    _snippet(snippets, row[move], words),
                    round(score, 3),
                    papers[row_id],
                    row_id,
                    confidence=self.rows.confidence(row_id, row).get(move),
                )

    @property
    def _count(self) -> int:
        return len(self.index.framework.names)


def paper_numbers(index: Index, ids: Sequence[int]) -> dict[int, int]:
    """Return the number of the paper of each of these rows."""
    sql = "SELECT paper FROM repeats WHERE id = ?"
    found = {row_id: index.db.execute(sql, [row_id]).fetchone() for row_id in ids}
    return {row_id: row[0] if row else row_id for row_id, row in found.items()}


def _snippets() -> sqlite3.Connection:
    """Return a database for one text at a time; the index has no copy of the texts."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute(
        "CREATE VIRTUAL TABLE moves_fts USING fts5 (text, facets, tokenize='porter unicode61')"
    )
    return db


def _snippet(db: sqlite3.Connection, text: str, words: str) -> str:
    db.execute("DELETE FROM moves_fts")
    db.execute("INSERT INTO moves_fts (text, facets) VALUES (?, '')", [text])
    found = db.execute(
        "SELECT snippet(moves_fts, 0, ?, ?, '...', ?) FROM moves_fts WHERE moves_fts MATCH ?",
        [MARK, MARK, SNIPPET_WORDS, words],
    )
    return str(found.fetchone()[0])
