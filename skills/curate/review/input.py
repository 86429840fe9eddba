"""The annotations to review, each with its paper's abstract.

The abstract is in the table itself, or is looked up by id: in a table of papers, then in the
corpus. If the annotation stores the digest of its abstract, only that abstract is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from harness.errors import InputError
from harness.support.text_input import shown
from skills.corpus.db.connection import open_corpus
from skills.corpus.db.papers import paper_of
from skills.corpus.tables.columns import AbstractBy, Columns
from skills.corpus.tables.reader import Table, TableRow, open_table, paper_key, read_header
from skills.nanda.framework import Framework, sha256_of
from skills.nanda.paper import Paper

REVIEWED = (".csv", ".tsv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Candidate:
    """An annotation to review.

    Attributes:
        where: its row, for people.
        moves: every move of the framework, in its order; "" if it has no text.
    """

    where: str
    paper: Paper
    moves: Mapping[str, str]

    @property
    def key(self) -> str:
        """The id in the form by which papers are compared."""
        return paper_key(self.paper.id)

    @cached_property
    def digests(self) -> tuple[str, str]:
        """SHA-256 of the abstract and of the moves: they identify what was decided on."""
        return self.paper.sha256, sha256_of(dict(self.moves))


@dataclass(frozen=True, slots=True)
class Candidates:
    """The annotations of a table.

    Attributes:
        id_column: the table's name of its id column.
        lost: the rows whose abstract cannot be found, with the reason.
        without_moves: number of rows without any move.
        repeats: number of rows about the paper of an earlier row.
    """

    items: Sequence[Candidate]
    id_column: str
    lost: Sequence[str] = ()
    without_moves: int = 0
    repeats: int = 0


def read(
    path: Path, framework: Framework, columns: Columns, abstracts: Path | None, corpus: Path
) -> Candidates:
    """Read a table, and look up missing abstracts.

    Args:
        columns: names of columns, in the table or in `abstracts`.
        abstracts: a table of papers, or None.
        corpus: the corpus database, which need not exist.

    Raises:
        InputError: a table cannot be read, or no row of it can be reviewed.
    """
    where = shown(path)
    if path.suffix.lower() not in REVIEWED:
        raise InputError(
            f"annotations are not reviewed from {path.suffix or 'files without a suffix'}",
            where=where,
            hint=f"They are read from {', '.join(REVIEWED)}.",
        )
    table = _open(path, columns, framework.names, "id")
    table.require_moves()
    rows = list(table.rows())
    full = [row for row in rows if row.has_moves]
    if not full:
        raise InputError("no row has any move", where=where)
    library = _Library({paper_key(row.paper.id) for row in full if not row.paper.abstract})
    if abstracts is not None:
        library.search_table(abstracts, columns)
    library.search_corpus(corpus)
    items: dict[str, Candidate] = {}
    lost, repeats = [], 0
    for row in full:
        key = paper_key(row.paper.id)
        paper = row.paper if row.paper.abstract else library.find(row)
        if isinstance(paper, str):
            lost.append(f"{row.where}: {paper}")
        elif key in items:
            repeats += 1
        else:
            moves = {name: framework.canonical(row.moves[name]) for name in framework.names}
            items[key] = Candidate(row.where, paper, moves)
    if not items:
        raise InputError(
            f"no row can be reviewed: {lost[0]}",
            hint="`--from papers.csv` names a table that has the abstracts.",
        )
    id_column = table.id_column or rows[0].paper.id_field
    return Candidates(tuple(items.values()), id_column, lost, len(rows) - len(full), repeats)


def _open(
    path: Path, columns: Columns, moves: Sequence[str] = (), abstract_by: AbstractBy = "column"
) -> Table:
    """Open a table, ignoring options that name columns of the other table."""
    present = columns.present_in(read_header(path))
    return open_table(path, present, moves=moves, abstract_by=abstract_by)


@dataclass(slots=True)
class _Library:
    """The papers with missing abstracts, as found in other places.

    Attributes:
        wanted: the keys of their ids.
        given, stored: papers of the table and of the corpus, by key.
        places: where was searched, for messages.
    """

    wanted: set[str]
    given: dict[str, Paper] = field(default_factory=dict)
    stored: dict[str, list[Paper]] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)

    def search_table(self, path: Path, columns: Columns) -> None:
        if not self.wanted:
            return
        self.places.append(shown(path))
        for row in _open(path, columns).rows():
            key = paper_key(row.paper.id)
            if key in self.wanted and row.paper.abstract:
                self.given.setdefault(key, row.paper)

    def search_corpus(self, path: Path) -> None:
        """Search the corpus, which may have several abstracts for an id."""
        if not self.wanted or not path.is_file():
            return
        self.places.append("the corpus")
        with open_corpus(path, must_exist=True) as db:
            for key in self.wanted:
                rows = db.conn.execute("SELECT * FROM papers WHERE source_id = ?", [key])
                self.stored[key] = [paper_of(row) for row in rows.fetchall()]

    def find(self, row: TableRow) -> Paper | str:
        """Return the paper of a row with its abstract, or the reason why it is not found."""
        key = paper_key(row.paper.id)
        given = [self.given[key]] if key in self.given else []
        known = [*given, *self.stored.get(key, [])]
        named = f"paper {row.paper.id}" if row.paper.id else "a paper without an id"
        if not known:
            return f"no abstract of {named} in {' or '.join(self.places) or 'the table'}"
        if row.abstract_sha256:
            known = [paper for paper in known if paper.sha256 == row.abstract_sha256]
            if not known:
                return f"the abstract of {named} has changed since it was annotated"
        elif not given and len({paper.sha256 for paper in known}) > 1:
            return f"the corpus has several abstracts of {named}"
        return replace(
            known[0],
            id_field=row.paper.id_field,
            id=row.paper.id,
            title=row.paper.title or known[0].title,
            source=row.paper.source,
        )
