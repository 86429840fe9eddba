"""Read gold tables, for the tools that fit or check models."""

from __future__ import annotations

from pathlib import Path

from skills.corpus.db.connection import open_corpus
from skills.corpus.importer import complete_rows
from skills.corpus.table import TableRow, open_table
from skills.nanda.framework import Framework


def rows_of(path: Path, framework: Framework, corpus: Path | None = None) -> list[TableRow]:
    """Return the annotated rows of a table.

    Args:
        corpus: the database with the abstracts of a table without abstracts.
    """
    table = open_table(path, moves=framework.names, abstract_by="provenance")
    if table.has_abstracts or corpus is None:
        return list(table.rows())
    with open_corpus(corpus, must_exist=True) as db:
        return [row for row in complete_rows(db, table) if isinstance(row, TableRow)]
