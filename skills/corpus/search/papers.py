"""Search the title and abstract of papers by full text."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from skills.corpus.db.papers import stored
from skills.corpus.db.rows import Row
from skills.corpus.search.query_syntax import quoted
from skills.nanda.paper import Paper, iso_date


def papers_about(
    db: sqlite3.Connection,
    words: Sequence[str],
    limit: int,
    since: date | None = None,
    until: date | None = None,
    *,
    fewest: int | None = None,
) -> list[Paper]:
    """Find the papers whose title and abstract contain all of `words`, or `fewest` of them.

    Those with all words come first; then bm25 decides. Of several versions at arXiv, the last one
    added is returned; of papers with the same abstract, the best.

    Args:
        words: words or phrases, without stop words.
        fewest: how many of the words are enough.
        since, until: days, both inclusive. A paper with only a known year is compared by
            its year; one without a date is left out if either is given.
    """
    wanted = list(dict.fromkeys(word for word in words if any(map(str.isalnum, word))))
    if not wanted:
        return []
    each = " UNION ALL ".join(
        ["SELECT rowid AS id FROM papers_fts WHERE papers_fts MATCH ?"] * len(wanted)
    )
    rows = db.execute(
        "SELECT papers.id, sha256, published FROM papers_fts JOIN"  # noqa: S608  as many subqueries as there are words
        f" (SELECT id AS paper_id, count(*) AS matched FROM ({each}) GROUP BY id"
        " HAVING matched >= ?)"
        " ON paper_id = papers_fts.rowid JOIN papers ON papers.id = papers_fts.rowid"
        " WHERE papers_fts MATCH ?"
        " AND NOT EXISTS (SELECT 1 FROM papers AS later WHERE later.source_id = papers.source_id"
        "   AND later.id_field = 'arxiv_id' AND papers.id_field = 'arxiv_id'"
        "   AND later.id > papers.id)"
        " ORDER BY matched = ? DESC, bm25(papers_fts), papers.id",
        [
            *map(quoted, wanted),
            len(wanted) if fewest is None else fewest,
            " OR ".join(map(quoted, wanted)),
            len(wanted),
        ],
    )
    within = (row for row in rows if _is_between(row["published"], since, until))
    ids = list(itertools.islice(_each_once(within), limit))
    return [stored(db, paper_id) for paper_id in ids]


def _is_between(published: str, since: date | None, until: date | None) -> bool:
    if since is None and until is None:
        return True
    day = iso_date(published)
    return (
        day != ""
        and (since is None or day >= since.isoformat()[: len(day)])
        and (until is None or day <= until.isoformat())
    )


def _each_once(rows: Iterable[Row]) -> Iterator[int]:
    """Yield the ids of papers, without those that repeat an abstract under another id."""
    seen: set[str] = set()
    for row in rows:
        if row["sha256"] not in seen:
            seen.add(row["sha256"])
            yield row["id"]
