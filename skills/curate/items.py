"""Read the annotations to be judged, from a table or from the corpus.

The moves of an item are not validated, so that the gates can report their faults. Each text is only
put on one line, and variants of "Not stated." are replaced.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from harness.errors import InputError
from harness.support.text_input import shown
from skills.corpus import importer
from skills.corpus.corpus_store import Database
from skills.corpus.db import reads
from skills.corpus.importer import complete_rows
from skills.corpus.records import Annotated
from skills.corpus.table import TableRow, open_table, paper_key
from skills.corpus.tables.columns import Columns
from skills.corpus.tables.refusals import Refusals, accepted, refusing
from skills.curate import gates
from skills.curate.gates import Finding
from skills.nanda.framework import Framework, sha256_of
from skills.nanda.paper import Paper

CORPUS = "corpus"
"""The word that names the user's corpus as the input."""


@dataclass(frozen=True)
class Item:
    """An annotation to be judged.

    Attributes:
        where: the row of the annotation, for messages.
        findings: the faults that the gates found.
        entry: the row of the table; None for a probe.
        probe: the kind of a probe; "" for an annotation of the input.
        changed: a description of the change that made a probe.
    """

    paper: Paper
    moves: Mapping[str, str]
    where: str
    findings: tuple[Finding, ...] = ()
    entry: TableRow | None = None
    probe: str = ""
    changed: str = ""

    @cached_property
    def key(self) -> str:
        """The id of the paper, normalized so that ids can be compared."""
        return paper_key(self.paper.id)

    @property
    def words(self) -> int:
        """The number of words of all moves."""
        return sum(len(text.split()) for text in self.moves.values())

    @cached_property
    def moves_sha256(self) -> str:
        return sha256_of(dict(self.moves))

    @cached_property
    def digests(self) -> tuple[str, str]:
        """The SHA-256 of the abstract and the SHA-256 of the moves."""
        return self.paper.sha256, self.moves_sha256


@dataclass(frozen=True, slots=True)
class Input:
    """The annotations in the input of a run.

    Attributes:
        name: the path of the table, or `CORPUS`.
        id_column: the name of the id column in output tables.
        filtered: number of left-out rows by reason.
        refused: the errors of rows that cannot be used; these rows also count in `filtered`.
        path: the file of the table; None for the corpus.
    """

    name: str
    items: tuple[Item, ...]
    id_column: str
    filtered: Counter[str] = field(default_factory=Counter)
    refused: Refusals = field(default_factory=Refusals)
    path: Path | None = None


def from_table(
    db: sqlite3.Connection,
    path: Path,
    columns: Columns,
    framework: Framework,
    limit: int | None,
    notice: Callable[[str], None] = lambda _: None,
) -> Input:
    """Read the annotations of a table.

    Args:
        db: the corpus, which provides the abstracts if the table has no column of abstracts.
        limit: maximum number of rows to read; None for all rows.
        notice: called with assumptions about the file, and with the columns that are not read.

    Raises:
        InputError: the table cannot be read, or has no annotations.
    """
    table = open_table(
        path, columns, moves=framework.names, limit=limit, abstract_by="provenance", notice=notice
    )
    table.require_moves()
    refused = Refusals()
    rows = accepted(complete_rows(db, table), refused.add)
    items, filtered = _gated(rows, framework, refused)
    if not items:
        what = "no row has an annotation" if filtered else "has no rows below its header"
        raise InputError(what, where=shown(path))
    # A saved .jsonl file has no abstracts, and may have a column for each id field: the id column
    # is then the id field of the first paper.
    own = table.id_column if table.has_abstracts else None
    return Input(shown(path), items, own or items[0].paper.id_field, filtered, refused, path)


def from_corpus(db: sqlite3.Connection, framework: Framework, limit: int | None) -> Input:
    """Read the current annotations of the corpus.

    Raises:
        InputError: the corpus has no annotations by this framework.
    """
    ids = Database(db, framework).ids()[:limit]
    refused = Refusals()
    entries = (as_entry(item, framework) for item in reads.annotated(db, framework, ids))
    items, filtered = _gated(entries, framework, refused)
    if not items:
        raise no_annotations(framework)
    return Input(CORPUS, items, reads.id_column(db, ids), filtered, refused)


def _gated(
    entries: Iterable[TableRow], framework: Framework, refused: Refusals
) -> tuple[tuple[Item, ...], Counter[str]]:
    """Check annotations by the gates; return items and the number of left-out rows by reason.

    Args:
        refused: receives the errors of rows that cannot be used.

    Raises:
        InputError: rows are refused, and no annotation is left.
    """
    found: dict[tuple[str, str, str], Item] = {}
    filtered: Counter[str] = Counter()
    for entry in entries:
        identity = (entry.paper.id_field, entry.paper.id, entry.paper.sha256)
        with refusing(entry.where) as gated:
            entry.require_framework(framework)
            moves = framework.written(entry.moves)
            if reason := _left_out(entry, moves, found.get(identity)):
                filtered[reason] += 1
            else:
                findings = gates.find(entry.paper, moves, framework)
                found[identity] = Item(entry.paper, moves, entry.where, findings, entry)
        if gated.error:
            refused.add(gated.error)
    if refused:
        filtered["refused"] = len(refused)
    if not found:
        refused.raise_first()
    return tuple(found.values()), filtered


def records(
    db: sqlite3.Connection, items: Iterable[Item], framework: Framework
) -> Iterator[Annotated]:
    """Yield the paper and the record of each item that is not a probe.

    If the corpus has an annotation of the paper with the same moves, the record is the stored
    record. Otherwise the record is made from the row of the table.

    Raises:
        InputError: the moves of a row are invalid.
    """
    for item in items:
        known = reads.with_moves(db, item.paper, item.moves, framework)
        if known is not None:
            yield Annotated(item.paper, known[1].record)
        elif item.entry is not None and (made := importer.annotated(item.entry, framework)):
            yield made


def _left_out(entry: TableRow, moves: Mapping[str, str], before: Item | None) -> str:
    """Return the reason why a row is left out, or "" if the row is used.

    Args:
        moves: the moves of the row in canonical form.
        before: the item of an earlier row about the same paper; None without such a row.
    """
    if not entry.paper.abstract:
        return "no abstract"
    if not entry.has_moves:
        return "no annotation"
    if before is None:
        return ""
    if moves == before.moves:
        return "repeats an earlier row"
    return "another annotation of an earlier row's paper"


def no_annotations(framework: Framework) -> InputError:
    """Return the error for a corpus without annotations by a framework."""
    return InputError(
        f"the corpus has no annotations by the framework {framework.name}",
        hint="`/annotate TABLE` creates annotations; `/corpus add TABLE` imports them.",
    )


def as_entry(item: Annotated, framework: Framework) -> TableRow:
    """Return a stored annotation in the form of a table row."""
    return TableRow(
        f"{item.paper.id_field} {item.paper.id}",
        item.paper,
        {name: item.record[name] for name in framework.names},
        anchors=item.record.get("anchors"),
        confidence=item.record.get("confidence"),
        suggestions=item.record.get("suggestions"),
        provenance=item.record["provenance"],
    )
