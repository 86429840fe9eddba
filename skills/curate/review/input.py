"""What there is to review: the annotations of a table, each with its paper's abstract.

The abstract stands in the table itself, or is looked up by id: in a table of papers, then in the
corpus. Where the annotation says which abstract it was made from, it must be that one.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from harness.errors import InputError
from harness.support.text_input import shown
from skills.corpus.db.connection import open_corpus
from skills.corpus.db.papers import paper_of
from skills.corpus.tables.annotated_reader import PROVENANCE
from skills.corpus.tables.columns import ID_NAMES, Columns, Layout, find_columns
from skills.corpus.tables.files import place, regular_file, text_lines
from skills.corpus.tables.reader import READERS, Row, bare_arxiv_id, open_table
from skills.nanda.framework import Framework, sha256_of
from skills.nanda.paper import Paper
from skills.nanda.text import flatten

REVIEWED = (".csv", ".tsv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Candidate:
    """An annotation to review.

    Attributes:
        where: its row, for people.
        moves: every move of the framework, in its order; "" where the table has none.
    """

    where: str
    paper: Paper
    moves: Mapping[str, str]

    @property
    def key(self) -> str:
        """What names the paper, however its id is written."""
        return key_of(self.paper.id)

    @cached_property
    def digests(self) -> tuple[str, str]:
        """sha256 of the abstract and of the moves: what a decision is about."""
        return self.paper.sha256, sha256_of(dict(self.moves))


@dataclass(frozen=True, slots=True)
class Candidates:
    """The annotations of a table.

    Attributes:
        id_column: what the table calls its ids.
        lost: the rows whose abstract cannot be found, each with its place and the reason.
        without_moves: how many rows have no move at all, so that there is nothing to review.
        repeats: how many rows are about a paper that an earlier row is about.
    """

    items: Sequence[Candidate]
    id_column: str
    lost: Sequence[str] = ()
    without_moves: int = 0
    repeats: int = 0


def key_of(paper_id: str) -> str:
    """An id without what arXiv's may have around them: version, "arXiv:", address."""
    return bare_arxiv_id(paper_id) or paper_id


def read(
    path: Path, framework: Framework, columns: Columns, abstracts: Path | None, corpus: Path
) -> Candidates:
    """Read a table, and look up the abstracts that it has not.

    Args:
        columns: hold for the table and for `abstracts`, each where it has them.
        abstracts: a table of papers.
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
    rows, id_column = _rows(path, framework, columns)
    full = [row for row in rows if any(row.moves.values())]
    if not full:
        raise InputError("no row has any move, so there is nothing to review", where=where)
    library = _Library({row.key for row in full if not row.paper.abstract})
    if abstracts is not None:
        library.take_table(abstracts, columns)
    library.take_corpus(corpus)
    items: dict[str, Candidate] = {}
    lost, repeats = [], 0
    for row in full:
        paper = row.paper if row.paper.abstract else library.find(row)
        if isinstance(paper, str):
            lost.append(f"{row.where}: {paper}")
        elif row.key in items:
            repeats += 1
        else:
            items[row.key] = Candidate(row.where, paper, row.moves)
    if not items:
        raise InputError(
            f"no row can be reviewed: {lost[0]}",
            hint="`--from papers.csv` names a table that has the abstracts.",
        )
    return Candidates(tuple(items.values()), id_column, lost, len(rows) - len(full), repeats)


@dataclass(frozen=True, slots=True)
class _Found:
    """A row as the table has it: its abstract may be ""; `digest` is of the one it was made from,
    where the row tells it."""

    where: str
    paper: Paper
    moves: Mapping[str, str]
    digest: str = ""

    @property
    def key(self) -> str:
        return key_of(self.paper.id)


def _rows(path: Path, framework: Framework, columns: Columns) -> tuple[list[_Found], str]:
    """All rows, and the name of the ids' column."""
    reader = READERS[path.suffix.lower()](regular_file(path))
    names = tuple(name for name in reader.header() if name)
    given = _those_of(names, columns)
    has_abstracts = given.abstract or any(name.casefold() == "abstract" for name in names)
    seen = names if has_abstracts else (*names, "abstract")
    layout = find_columns(seen, given, framework.names, shown(path))
    if lacks := [name for name in framework.names if name not in layout.moves]:
        raise InputError(
            f"has no column {lacks[0]!r}",
            where=shown(path),
            hint=f"A review needs a column for each move: {', '.join(framework.names)}.",
        )
    if has_abstracts:
        table = open_table(path, given, moves=framework.names)
        found = [_of_table(row, framework) for row in table.rows()]
    elif layout.id_column is None:
        raise InputError(
            "has neither abstracts nor ids to find them by",
            where=shown(path),
            hint=f"Ids stand in a column {', '.join(ID_NAMES)} or `--id-column NAME`.",
        )
    else:
        found = list(_bare_rows(path, layout, framework))
    first = next((row.paper.id_field for row in found), layout.id_field)
    return found, layout.id_column or first


def _those_of(names: Sequence[str], columns: Columns) -> Columns:
    """The options that name a column of this table: they may be meant for the other one."""
    there = {name.casefold() for name in names}

    def own(name: str | None) -> str | None:
        return name if name is not None and name.casefold() in there else None

    return Columns(own(columns.abstract), own(columns.id), own(columns.title))


def _of_table(row: Row, framework: Framework) -> _Found:
    return _Found(row.where, row.paper, _canonical(row.moves, framework))


def _canonical(moves: Mapping[str, str], framework: Framework) -> dict[str, str]:
    return {name: framework.canonical(moves[name]) for name in framework.names}


def _bare_rows(path: Path, layout: Layout, framework: Framework) -> Iterator[_Found]:
    """The rows of a table without abstracts."""
    reader = READERS[path.suffix.lower()](regular_file(path))
    wanted = tuple(want for want in layout.wanted if want.role != "abstract")
    records = reader.records(wanted)
    for number, (record, digest) in enumerate(zip(records, _digests(path), strict=False), start=1):
        values = dict(zip((want.role for want in wanted), record.values, strict=True))
        written = flatten(values["id"])
        paper = Paper(
            layout.id_field,
            bare_arxiv_id(written) or written if layout.id_field == "arxiv_id" else written,
            flatten(values.get("title", "")),
            "",
            {"kind": "table", "path": shown(path), "row": str(number)},
        )
        where = place(path, reader.unit, record.position)
        yield _Found(where, paper, _canonical(values, framework), digest)


def _digests(path: Path) -> Iterable[str]:
    """For each row, the sha256 of the abstract it was made from; "" where it does not say."""
    if path.suffix.lower() != ".jsonl":
        return itertools.repeat("")
    return (_digest(json.loads(line)) for line in text_lines(path) if line.strip())


def _digest(record: Mapping[str, object]) -> str:
    provenance = record.get(PROVENANCE)
    made_from = provenance.get("input") if isinstance(provenance, dict) else None
    return str(made_from.get("sha256", "")) if isinstance(made_from, dict) else ""


@dataclass(slots=True)
class _Library:
    """The papers whose abstracts are wanted, by the keys of their ids."""

    wanted: set[str]
    given: dict[str, Paper] = field(default_factory=dict)
    kept: dict[str, list[Paper]] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)

    def take_table(self, path: Path, columns: Columns) -> None:
        """Look for them in a table of papers, which has one abstract for an id."""
        if not self.wanted:
            return
        self.places.append(shown(path))
        make_reader = READERS.get(path.suffix.lower())
        names = make_reader(regular_file(path)).header() if make_reader else ()
        for row in open_table(path, _those_of(names, columns)).rows():
            key = key_of(row.paper.id)
            if key in self.wanted and row.paper.abstract:
                self.given.setdefault(key, row.paper)

    def take_corpus(self, path: Path) -> None:
        """Look for them in the corpus, which keeps every abstract that an id has had."""
        if not self.wanted or not path.is_file():
            return
        self.places.append("the corpus")
        with open_corpus(path, must_exist=True) as db:
            for key in self.wanted:
                rows = db.conn.execute("SELECT * FROM papers WHERE source_id = ?", [key])
                self.kept[key] = [paper_of(row) for row in rows.fetchall()]

    def find(self, row: _Found) -> Paper | str:
        """The paper of a row with its abstract, or why there is none."""
        kept = self.kept.get(row.key, [])
        known = [self.given[row.key], *kept] if row.key in self.given else kept
        named = f"paper {row.paper.id}" if row.paper.id else "a paper without an id"
        if not known:
            return f"no abstract of {named} in {' or '.join(self.places) or 'the table'}"
        if row.digest:
            known = [paper for paper in known if paper.sha256 == row.digest]
            if not known:
                return f"the abstract of {named} has changed since it was annotated"
        elif row.key not in self.given and len({paper.sha256 for paper in known}) > 1:
            return f"the corpus has several abstracts of {named}"
        return replace(
            known[0],
            id_field=row.paper.id_field,
            id=row.paper.id,
            title=row.paper.title or known[0].title,
            source=row.paper.source,
        )
