"""Look up the abstracts of annotations that were saved without them.

A .jsonl file saved here has provenance but no abstracts: each is found in the corpus by the id and
the SHA-256 of the abstract.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from dataclasses import replace

from harness.errors import InputError
from skills.corpus.db import papers
from skills.corpus.tables.reader import Table, TableRow
from skills.corpus.tables.refusals import refusing
from skills.corpus.tables.seen_ids import SeenIds
from skills.nanda.paper import Paper


def complete_rows(
    db: sqlite3.Connection, table: Table
) -> Generator[TableRow | InputError, None, None]:
    """Yield the rows of a table, with abstracts from the corpus if the table has none.

    A row that cannot be read, or whose abstract is not in the corpus, is its error.

    Args:
        table: opened with `abstract_by="provenance"`.
    """
    if table.has_abstracts:
        yield from table.rows_or_errors()
        return
    with SeenIds() as seen:
        for number, row in enumerate(table.rows_or_errors()):
            if isinstance(row, InputError):
                yield row
                continue
            with refusing(row.where) as refused:
                paper = _look_up(db, row)
            if refused.error:
                yield refused.error
                continue
            identity = f"{paper.id_field}:{paper.id}:{paper.sha256}"
            first, _ = seen.first(identity, number, b"")
            yield replace(row, paper=paper, repeat=first != number)


def _look_up(db: sqlite3.Connection, row: TableRow) -> Paper:
    """Return the paper of an annotation.

    Raises:
        InputError: the corpus does not have it.
    """
    paper = row.paper
    if not paper.id or not row.abstract_sha256:
        raise InputError(
            f"has no abstract and no {'provenance' if paper.id else 'id'}",
            where=row.where,
            hint="Each line is one annotation as `save to FILE.jsonl` writes it.",
        )
    found = papers.look_up(db, paper.id, paper.id_field, row.abstract_sha256)
    if found is None:
        raise InputError(
            f"the corpus has no paper {paper.id} with the abstract of this annotation",
            where=row.where,
            hint="Add the table of papers first; a .parquet file includes the abstracts.",
        )
    return papers.paper_of(found, paper.source)
