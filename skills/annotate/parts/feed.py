"""The papers of a table that are due, a batch at a time: the table is never read as a whole."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.errors import InputError
from harness.support.reading.text_input import shown
from skills.annotate.parts.rows import paper_key
from skills.annotate.parts.scan import Scan
from skills.annotate.table.sources import reason_to_leave_out
from skills.corpus.tables.reader import Columns, TableRow, open_table
from skills.corpus.tables.refusals import Refusals
from skills.nanda.paper import Paper

TICK_ROWS = 1000
"""Rows between two reports of the progress."""


@dataclass(frozen=True, slots=True)
class Input:
    """A table of papers, as the driver and the node that reads it open it."""

    path: Path
    columns: Columns
    limit: int | None = None

    def rows(self) -> Iterator[TableRow | InputError]:
        """Yield the rows, or why one is refused.

        Raises:
            InputError: the table cannot be read.
        """
        return open_table(self.path, self.columns, limit=self.limit).rows_or_errors()


@dataclass(slots=True)
class Counts:
    """What a table holds, in rows.

    Attributes:
        done, failed: before the run.
        due: what the run has to annotate.
        chars: of the abstracts that are due.
    """

    rows: int = 0
    done: int = 0
    failed: int = 0
    due: int = 0
    chars: int = 0
    filtered: Counter[str] = field(default_factory=Counter)
    refused: Refusals = field(default_factory=Refusals)


def count(
    table: Input,
    before: Scan,
    *,
    retry_failed: bool,
    tick: Callable[[str], None] = lambda _: None,
) -> Counts:
    """Read the whole table once, before any work, and count its rows.

    Args:
        tick: called with the progress.

    Raises:
        InputError: the table cannot be read, or has no paper to annotate.
    """
    found = Counts()
    for found.rows, row in enumerate(table.rows(), start=1):
        if found.rows % TICK_ROWS == 0:
            tick(f"{found.rows:,} rows")
        if isinstance(row, InputError):
            found.refused.add(row)
            found.filtered["refused"] += 1
        elif reason := reason_to_leave_out(row.paper, repeat=row.repeat):
            found.filtered[reason] += 1
        else:
            key = paper_key(row.paper)
            found.done += key in before.done
            found.failed += key in before.failed and key not in before.done
            if before.is_due(key, retry_failed=retry_failed):
                found.due += 1
                found.chars += len(row.paper.abstract)
    if found.rows == found.filtered.total():
        found.refused.raise_first()
        what = "no row has an abstract" if found.rows else "has no rows below its header"
        raise InputError(what, where=shown(table.path))
    return found


def batches(
    before: Scan, *, table: Input, retry_failed: bool, size: int
) -> Iterator[Mapping[str, str]]:
    """Yield the papers that are due, `size` at a time, as `BatchAnnotator` takes them."""
    papers = _papers(table)
    due = (p for p in papers if before.is_due(paper_key(p), retry_failed=retry_failed))
    while batch := list(itertools.islice(due, size)):
        yield {"papers": json.dumps([asdict(paper) for paper in batch])}


def _papers(table: Input) -> Iterator[Paper]:
    for row in table.rows():
        if isinstance(row, InputError) or reason_to_leave_out(row.paper, repeat=row.repeat):
            continue
        yield row.paper
