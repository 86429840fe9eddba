"""The annotations to review, each with its paper's abstract.

The abstract is in the table itself, or is looked up by id: in a table of papers, then in the
corpus. If the annotation stores the digest of its abstract, only that abstract is used.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.errors import InputError
from harness.support.reading.text_input import shown
from skills.corpus.db import reads
from skills.corpus.db.connection import open_corpus
from skills.corpus.db.papers import paper_of
from skills.corpus.tables.columns import AbstractBy, Columns
from skills.corpus.tables.reader import Table, TableRow, open_table, paper_key, read_header
from skills.curate.inputs.items import Item
from skills.nanda.confidence import certainty_of
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper

Places = Mapping[str, Mapping[str, Sequence[Paper]]]
"""The papers found in each place by the key of their ids, with the name of the place."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The annotations of a table, the least certain first, then those without confidences.

    Attributes:
        id_column: the table's name of its id column.
        lost: the rows whose abstract cannot be found, with the reason.
        without_moves: number of rows without any move.
        repeats: number of rows about the paper of an earlier row.
        certainty: by the key of the item, where it is known.
    """

    items: Sequence[Item]
    id_column: str
    lost: Sequence[str] = ()
    without_moves: int = 0
    repeats: int = 0
    certainty: Mapping[str, float] = field(default_factory=dict)


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
    table = _open(path, columns, framework.names, "id")
    table.require_moves()
    rows = list(table.rows())
    full = [row for row in rows if row.has_moves]
    if not full:
        raise InputError("no row has any move", where=shown(path))
    wanted = {paper_key(row.paper.id) for row in full if not row.paper.abstract}
    places = _search(wanted, abstracts, columns, corpus) if wanted else {}
    items: dict[str, Item] = {}
    certainty: dict[str, float | None] = {}
    lost, repeats = [], 0
    for row in full:
        key = paper_key(row.paper.id)
        paper = row.paper if row.paper.abstract else _find(row, places)
        if isinstance(paper, str):
            lost.append(f"{row.where}: {paper}")
        elif key in items:
            repeats += 1
        else:
            moves = {name: framework.canonical(row.moves[name]) for name in framework.names}
            items[key] = Item(paper, moves, row.where)
            certainty[key] = certainty_of(row.confidence, framework.names)
    if not items:
        raise InputError(
            f"no row can be reviewed: {lost[0]}",
            hint="`--from papers.csv` names a table that has the abstracts.",
        )
    unknown = [item for item in items.values() if certainty[item.key] is None]
    certainty |= _stored_certainty(unknown, corpus, framework)
    known = {key: one for key, one in certainty.items() if one is not None}
    ordered = sorted(items.values(), key=lambda item: known.get(item.key, math.inf))
    id_column = table.id_column or rows[0].paper.id_field
    return Candidates(tuple(ordered), id_column, lost, len(rows) - len(full), repeats, known)


def _stored_certainty(
    items: Sequence[Item], corpus: Path, framework: Framework
) -> dict[str, float | None]:
    """Return the certainty of annotations that the corpus has, by the key of the paper."""
    if not items or not corpus.is_file():
        return {}
    with open_corpus(corpus, must_exist=True) as db:
        found = {one.key: reads.with_moves(db, one.paper, one.moves, framework) for one in items}
    return {
        key: certainty_of(one[1].record.get("confidence"), framework.names)
        for key, one in found.items()
        if one
    }


def _open(
    path: Path, columns: Columns, moves: Sequence[str] = (), abstract_by: AbstractBy = "column"
) -> Table:
    """Open a table, ignoring options that name columns of the other table."""
    present = columns.present_in(read_header(path))
    return open_table(path, present, moves=moves, abstract_by=abstract_by)


def _search(wanted: set[str], abstracts: Path | None, columns: Columns, corpus: Path) -> Places:
    """Find the papers with these keys in a table and in the corpus."""
    places: dict[str, Mapping[str, list[Paper]]] = {}
    if abstracts is not None:
        given = defaultdict(list)
        for row in _open(abstracts, columns).rows():
            if row.paper.abstract and (key := paper_key(row.paper.id)) in wanted:
                given[key].append(row.paper)
        places[shown(abstracts)] = given
    if corpus.is_file():
        with open_corpus(corpus, must_exist=True) as db:
            query = "SELECT * FROM papers WHERE source_id = ?"
            places["the corpus"] = {
                key: [paper_of(row) for row in db.execute(query, [key])] for key in wanted
            }
    return places


def _find(row: TableRow, places: Places) -> Paper | str:
    """Return the paper of a row with its abstract, or the reason why it is not found."""
    named = f"paper {row.paper.id}" if row.paper.id else "a paper without an id"
    reason = f"no abstract of {named} in {' or '.join(places) or 'the table'}"
    for place, papers in places.items():
        known = papers.get(paper_key(row.paper.id), ())
        if known and row.abstract_sha256:
            reason = f"the abstract of {named} has changed since it was annotated"
            known = [paper for paper in known if paper.sha256 == row.abstract_sha256]
        if len({paper.sha256 for paper in known}) > 1:
            return f"{place} has several abstracts of {named}"
        if known:
            return replace(
                known[0],
                id_field=row.paper.id_field,
                id=row.paper.id,
                title=row.paper.title or known[0].title,
                source=row.paper.source,
            )
    return reason
