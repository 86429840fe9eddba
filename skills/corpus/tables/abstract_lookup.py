"""Look up the abstracts of annotations that were saved without them.

A .jsonl file saved here has provenance but no abstracts: each is found in the corpus by the id and
the SHA-256 of the abstract.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.errors import InputError
from skills.corpus.db import papers
from skills.corpus.tables.reader import Table, TableRow

if TYPE_CHECKING:
    from sqlite_utils import Database


def complete_rows(db: Database, table: Table) -> Iterator[TableRow]:
    """Yield the rows of a table, with abstracts from the corpus if the table has none.

    Args:
        table: opened with `abstract_by="provenance"`.

    Raises:
        InputError: a row cannot be read, or its abstract is not in the corpus.
    """
    if table.has_abstracts:
        yield from table.rows()
        return
    seen = set()
    for row in table.rows():
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
        paper = papers.paper_of(found, paper.source)
        identity = (paper.id_field, paper.id, paper.sha256)
        yield replace(row, paper=paper, repeat=identity in seen)
        seen.add(identity)
