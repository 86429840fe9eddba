"""The gold table that a review grows: a CSV file with a row for each paper.

A new one has the columns that `corpus.writers.write_csv` gives a table. One that is there already
keeps its columns, rows and their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from harness.errors import InputError, OutputError, UsageError
from harness.runs import targets
from harness.support.text_input import regular_file, shown
from skills.corpus.tables.columns import Column, Columns, Layout, find_columns
from skills.corpus.tables.csv_reader import CsvReader
from skills.corpus.tables.reader import paper_key
from skills.corpus.tables.writers import csv_row
from skills.nanda.framework import Framework
from skills.nanda.paper import ID_FIELDS, Paper, own_id
from skills.nanda.text import flatten


@dataclass(slots=True)
class GoldTable:
    """The table in memory, each row as its line of CSV.

    Attributes:
        columns: the header.
        roles: what the columns hold: a field of `Paper`, or a move.
        rows: by the key of the paper's id, or by their number where they repeat one.
    """

    target: Path
    columns: tuple[str, ...]
    roles: Mapping[str, str]
    rows: dict[str | int, bytes] = field(default_factory=dict)

    def line(self, paper: Paper, moves: Mapping[str, str]) -> bytes:
        """The row of an annotated paper. A column that nothing is known of stays empty."""
        values = {
            "id": paper.id,
            "title": paper.title,
            "abstract": paper.abstract,
            "authors": paper.authors,
            "published": paper.published,
            "categories": paper.categories,
            **moves,
        }
        return csv_row(values.get(self.roles.get(name, ""), "") for name in self.columns)

    def write(self, about_to: Callable[[str], None]) -> None:
        """Put the table in place, whole or not at all.

        All of it is written after each decision: a reader, or a process that is killed, then always
        has a whole table, and 5,000 rows (12 MB) take 0.15 s.

        Args:
            about_to: told the sha256 of the file just before.

        Raises:
            OutputError: it cannot be written; it is as it was.
        """
        targets.write(self.target, self.write_to, about_to)

    def write_to(self, file: IO[bytes]) -> None:
        """Write the table to an open file."""
        file.write(csv_row(self.columns))
        file.writelines(self.rows.values())


def read_gold(target: Path, framework: Framework, id_column: str) -> GoldTable:
    """The table at `target`, or an empty one where there is no file.

    Args:
        id_column: what a new table calls its ids.

    Raises:
        UsageError: it is no .csv file.
        InputError: there is a file that is no table of gold.
        OutputError: there is no folder for it.
    """
    where = shown(target)
    if target.suffix.lower() != ".csv":
        raise UsageError("gold is kept in a .csv file", where=where)
    if target.exists():
        return _existing(target, framework)
    if not target.resolve().parent.is_dir():
        raise OutputError(
            f"there is no folder {target.resolve().parent}", where=where, hint="Make it first."
        )
    names = ("title", "abstract", *framework.names)
    id_name = "id" if id_column.casefold() in names else id_column
    roles = {id_name: "id", **{name: name for name in names}}
    return GoldTable(target, tuple(roles), roles)


def _existing(target: Path, framework: Framework) -> GoldTable:
    reader = CsvReader(regular_file(target))
    columns = reader.header()
    layout = find_columns(columns, Columns(), framework.names, shown(target))
    _refuse_other_tables(layout, framework, target)
    table = GoldTable(target, columns, _roles(layout))
    for number, values in enumerate(_values(reader, columns)):
        by_role = {
            table.roles.get(name): value for name, value in zip(columns, values, strict=True)
        }
        key = paper_key(flatten(by_role["id"]) or own_id(by_role["abstract"]))
        table.rows[number if key in table.rows else key] = csv_row(values)
    return table


def _roles(layout: Layout) -> dict[str, str]:
    roles = {column.name: column.role for column in layout.columns}
    return {**roles, str(layout.id_column): "id"}


def _refuse_other_tables(layout: Layout, framework: Framework, target: Path) -> None:
    lacks = [repr(name) for name in framework.names if name not in layout.moves]
    if layout.id_column is None:
        lacks.insert(0, f"of ids ({', '.join(ID_FIELDS)})")
    if lacks:
        raise InputError(
            f"is no table that gold can be added to: it has no column {lacks[0]}",
            where=shown(target),
            hint="Name another file for the gold.",
        )


def _values(reader: CsvReader, columns: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """All cells of each row."""
    for record in reader.records(tuple(Column(name, name, "text") for name in columns)):
        yield record.values
