"""The papers of a job, and the plan with content key, request and annotation of each paper.

The plan and the papers of `from_table` are in temporary files, since a table may have millions of
rows.
"""

from __future__ import annotations

import json
import pickle
import weakref
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import InputError
from harness.support.text_input import shown
from skills.annotate.annotator import Prepared
from skills.annotate.papers import FEWEST_WORDS, problem_of
from skills.corpus.db.connection import open_temporary
from skills.corpus.db.store import State
from skills.corpus.table import Columns, Table, TableRow, open_table
from skills.corpus.tables.refusals import Refusals, accepted
from skills.nanda.forms import Form
from skills.nanda.paper import Paper

READ = 1000
"""Number of rows of a plan that are read from the database together."""
MOST_SHARED = 32_768
"""Maximum size in bytes of a zlib dictionary."""
TICK_ROWS = 1000
"""Number of rows between two reports of the progress of reading a table."""


class Entry(NamedTuple):
    """A row of a plan.

    Attributes:
        place: the index of the row.
        key: the content key of the request for the paper of this row.
        state: the state of the work for this key, "done" or "failed"; None before the work is done.
        first: the index of the first row with this key. Only the first row is annotated.
        made: True if this run made the annotation, or failed to make it.
    """

    place: int
    key: str
    state: State | None
    first: int
    made: bool

    @property
    def is_first(self) -> bool:
        return self.place == self.first

    @property
    def is_linked(self) -> bool:
        """True if the annotation was made for another row or by an earlier run."""
        return self.state == "done" and not (self.made and self.is_first)


class Total(NamedTuple):
    """Totals of the rows of a plan with the same state.

    Attributes:
        weight: the sum of the weights of the rows.
        keys: number of distinct content keys.
        weight_of_keys: the sum of the weights, in which rows with the same key count once.
    """

    weight: int
    keys: int
    weight_of_keys: int


class Plan:
    """The rows of a job, with the requests and annotations of a run, in a temporary file."""

    def __init__(self) -> None:
        self._db = open_temporary(
            "CREATE TABLE work (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, state TEXT,"
            " first INTEGER NOT NULL, request BLOB, record TEXT)",
            "CREATE TABLE entries (place INTEGER PRIMARY KEY, work INTEGER NOT NULL,"
            " weight INTEGER NOT NULL)",
            "CREATE VIEW plan AS SELECT place, key, state, first, record IS NOT NULL AS made,"
            " weight, place = first AS is_first FROM entries JOIN work ON work.id = work",
        )
        weakref.finalize(self, self._db.close)
        self._rows = 0
        self._forms = list[Form]()
        self._shared = b""  # zlib's dictionary: the first request, which later requests resemble

    def __len__(self) -> int:
        return self._rows

    def add(self, key: str, weight: int, find_state: Callable[[str], State | None]) -> Entry | None:
        """Add the next row; return its entry if no earlier row has this key, otherwise None.

        Args:
            weight: the number of characters of the abstract, for estimates of the remaining time.
            find_state: returns the stored state of the work with a key; called once for each key.
        """
        place, self._rows = self._rows, self._rows + 1
        is_first = self._add_work(key, place)
        self._db.execute(
            "INSERT INTO entries SELECT ?, id, ? FROM work WHERE key = ?", [place, weight, key]
        )
        if not is_first:
            return None
        if state := find_state(key):
            self._db.execute("UPDATE work SET state = ? WHERE key = ?", [state, key])
        return Entry(place, key, state, place, made=False)

    def replace(self, place: int, key: str, record: Mapping[str, Any]) -> None:
        """Replace the content key and the annotation of a row.

        Args:
            key: the content key of the annotation `record`, which another model made.
        """
        if self._add_work(key, place):
            self.set_done(key, record)
        self._db.execute(
            "UPDATE entries SET work = (SELECT id FROM work WHERE key = ?) WHERE place = ?",
            [key, place],
        )

    def _add_work(self, key: str, first: int) -> bool:
        add = "INSERT OR IGNORE INTO work (key, first) VALUES (?, ?)"
        return self._db.execute(add, [key, first]).rowcount > 0

    def keep_request(self, prepared: Prepared) -> None:
        """Compress a request, and store it under the content key."""
        if prepared.form not in self._forms:
            self._forms.append(prepared.form)
        form = self._forms.index(prepared.form)
        content = pickle.dumps((form, prepared.request, prepared.provenance))
        self._shared = self._shared or content[:MOST_SHARED]
        packing = zlib.compressobj(1, zdict=self._shared)
        packed = packing.compress(content) + packing.flush()
        sql = "UPDATE work SET request = ? WHERE key = ?"
        self._db.execute(sql, [packed, prepared.key])

    def request(self, key: str, paper: Paper) -> Prepared | None:
        """Return the stored request with a content key, or None if no request was stored."""
        sql = "SELECT request FROM work WHERE key = ?"
        [packed] = self._db.execute(sql, [key]).fetchone()
        if packed is None:
            return None
        content = zlib.decompressobj(zdict=self._shared).decompress(packed)
        form, request, provenance = pickle.loads(content)  # noqa: S301  by `keep_request`
        return Prepared(paper, self._forms[form], request, provenance)

    def set_done(self, key: str, record: Mapping[str, Any]) -> None:
        """Store the annotation for a content key, and record that the work is done."""
        sql = "UPDATE work SET state = 'done', record = ? WHERE key = ?"
        self._db.execute(sql, [json.dumps(record), key])

    def set_failed(self, key: str) -> None:
        """Record that the work for a content key has failed."""
        self._db.execute("UPDATE work SET state = 'failed', record = '' WHERE key = ?", [key])

    def record(self, key: str) -> dict[str, Any]:
        """Return the annotation that this run made for a content key."""
        sql = "SELECT record FROM work WHERE key = ?"
        [content] = self._db.execute(sql, [key]).fetchone()
        return dict(json.loads(content))

    def entries(self, state: State | None = None) -> Iterator[Entry]:
        """Yield the entry of each row in order; with `state`, only of rows with this state."""
        for begin in range(0, self._rows, READ):
            # `fetchall` reads the rows now, since the caller may change their states
            yield from map(
                Entry._make,
                self._db.execute(
                    "SELECT place, key, state, first, made FROM plan"
                    " WHERE place >= ? AND place < ? AND (? IS NULL OR state = ?) ORDER BY place",
                    [begin, begin + READ, state, state],
                ).fetchall(),
            )

    def totals(self) -> dict[State | None, Total]:
        """Return the totals of the rows with each state."""
        query = (
            "SELECT state, sum(weight), sum(is_first), sum(weight * is_first)"
            " FROM plan GROUP BY state"
        )
        return {state: Total(*found) for state, *found in self._db.execute(query)}

    def count(self, state: State, *, made: bool = False) -> int:
        """Return the number of rows with this state; with `made`, only rows of this run's work."""
        query = "SELECT count(*) FROM plan WHERE state = ? AND made >= ?"
        return int(self._db.execute(query, [state, made]).fetchone()[0])


class PaperFile:
    """A sequence of papers in a temporary file."""

    def __init__(self) -> None:
        self._db = open_temporary(
            "CREATE TABLE papers (place INTEGER PRIMARY KEY, paper BLOB NOT NULL)"
        )
        weakref.finalize(self, self._db.close)
        self._count = 0

    def append(self, paper: Paper) -> None:
        self._db.execute("INSERT INTO papers VALUES (?, ?)", [self._count, pickle.dumps(paper)])
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Paper]:
        return map(self.__getitem__, range(self._count))

    def __getitem__(self, place: int) -> Paper:
        query = "SELECT paper FROM papers WHERE place = ?"
        paper: Paper = pickle.loads(self._db.execute(query, [place]).fetchone()[0])  # noqa: S301
        return paper


Papers = Sequence[Paper] | PaperFile


@dataclass(frozen=True, slots=True)
class Source:
    """Papers to annotate, and their origin.

    Attributes:
        name: the path of the table or list of ids, or the topic.
        id_column: the name of the id column in a saved table of these papers.
        filtered: the number of left-out rows by reason.
        refused: the errors of left-out rows that cannot be used.
        doubts: the locations of rows that are probably not English abstracts, by reason.
        path: the file that the papers were read from, or None.
    """

    name: str
    papers: Papers
    id_column: str
    filtered: Counter[str] = field(default_factory=Counter)
    refused: Refusals = field(default_factory=Refusals)
    path: Path | None = None
    doubts: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def title(self) -> str:
        """A name for headings and progress: the file name of `path`, or `name` without a path."""
        return self.path.name if self.path else self.name


def from_table(
    path: Path,
    columns: Columns,
    limit: int | None,
    tick: Callable[[str], None] = lambda status: None,
    notice: Callable[[str], None] = lambda _: None,
    *,
    strict: bool = False,
) -> Source:
    """Return a source with the papers of a table, which are kept in a temporary file.

    Rows that cannot be used, rows with an abstract of fewer than `FEWEST_WORDS` words, and rows
    that repeat an earlier row are left out.

    Args:
        limit: the maximum number of rows; None for all rows.
        tick: called with the progress as text.
        notice: called with assumptions about the file, and with the columns that are not read.
        strict: also leave out rows that are probably not English abstracts.

    Raises:
        InputError: the table cannot be read, or no paper is left.
    """
    table = open_table(path, columns, limit=limit, notice=notice)
    tick_rows = TICK_ROWS if table.is_read_fast else 1
    source = source_of(table, papers := PaperFile())
    for row in usable_rows(source, table.rows_or_errors(), strict=strict):
        papers.append(row.paper)
        if not strict and (problem := problem_of(row.paper.abstract)):
            source.doubts[problem].append(row.where.rpartition(", ")[2])
        if len(papers) % tick_rows == 0:
            tick(f"{len(papers):,} papers")
    return source


def source_of(table: Table, papers: Papers) -> Source:
    """Return a source with papers of a table."""
    return Source(shown(table.path), papers, table.id_column or "id", path=table.path)


def from_papers(topic: str, papers: Sequence[Paper]) -> Source:
    """Return a source with the papers that were found on a topic."""
    return Source(topic, papers, id_column(papers))


def id_column(papers: Sequence[Paper]) -> str:
    """Return the name of the id column of all these papers, or "id" if their columns differ."""
    fields = {paper.id_field for paper in papers}
    return fields.pop() if len(fields) == 1 else "id"


def is_long_enough(paper: Paper) -> bool:
    """Return True if the abstract of a paper has at least `FEWEST_WORDS` words."""
    return len(paper.abstract.split()) >= FEWEST_WORDS


def usable_rows(
    source: Source, rows: Generator[TableRow | InputError, None, None], *, strict: bool = False
) -> Iterator[TableRow]:
    """Yield the rows of a table that can be annotated.

    Args:
        source: receives the number of left-out rows by reason, and the errors of rows that cannot
            be used.
        strict: refuse rows that are probably not English abstracts.

    Raises:
        InputError: no row can be annotated, or the table cannot be read.
    """
    count, filtered, refused = 0, source.filtered, source.refused
    for row in accepted(rows, refused.add):
        if reason := _reason_to_leave_out(row.paper, repeat=row.repeat):
            filtered[reason] += 1
        elif strict and (problem := problem_of(row.paper.abstract)):
            hint = "Omit `--strict` to annotate the row."
            refused.add(InputError(problem, where=row.where, hint=hint))
        else:
            count += 1
            yield row
    if refused:
        filtered["refused"] = len(refused)
    if not count:
        refused.raise_first()
        left_out = ", ".join(f"{n:,} ({reason})" for reason, n in filtered.items())
        problem = f"no row can be used: {left_out}" if filtered else "has no rows below its header"
        raise InputError(problem, where=source.name)


def _reason_to_leave_out(paper: Paper, *, repeat: bool) -> str:
    """Return the reason why a row is left out, or "".

    Args:
        repeat: True if the row repeats an earlier row.
    """
    if not paper.abstract:
        return "no abstract"
    if not is_long_enough(paper):
        return f"fewer than {FEWEST_WORDS} words"
    return "repeats an earlier row" if repeat else ""
