"""Read and write the gold table of a review: a CSV file with a row for each accepted paper.

A new table has a column for the id, the title, the abstract and each move. An existing table keeps
its columns. Rows that the review does not change stay in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from harness.errors import InputError, UsageError
from harness.runs import targets
from harness.support.text_input import regular_file, shown
from skills.corpus.table import paper_key
from skills.corpus.tables.columns import Columns, find_columns
from skills.corpus.tables.saved_tables import csv_row
from skills.corpus.tables.text_tables import CsvReader, is_saved_table
from skills.nanda.framework import Framework
from skills.nanda.paper import ID_FIELDS, Paper, own_id
from skills.nanda.text import flatten


@dataclass(slots=True)
class GoldTable:
    """The gold table in memory, with each row as a line of CSV.

    Attributes:
        target: the file of the table.
        columns: the names of the columns, in order.
        roles: for each column, the name of the `Paper` field or of the move that the column
            contains. Columns with other contents have no role.
        rows: the line of each row, by the key of the paper, or by the index of the row if an
            earlier row has the same key.
    """

    target: Path
    columns: tuple[str, ...]
    roles: Mapping[str, str]
    rows: dict[str | int, bytes] = field(default_factory=dict)

    @property
    def is_raw(self) -> bool:
        """True if cells are read and written unchanged, since another program wrote the table."""
        return not is_saved_table(self.columns)

    def line(self, paper: Paper, moves: Mapping[str, str]) -> bytes:
        """Return the row of a paper as a line of CSV; cells of columns without a role are empty."""
        values = {**asdict(paper), **moves}
        cells = (values.get(self.roles.get(name, ""), "") for name in self.columns)
        return csv_row(cells, raw=self.is_raw)

    def write(self, about_to: Callable[[str], None]) -> None:
        """Replace the file atomically.

        The whole table is written each time a row changes, so that the file is always complete. A
        table of 5,000 rows (12 MB) is written in 0.15 s.

        Args:
            about_to: called with the SHA-256 of the new file before it replaces the old file.

        Raises:
            OutputError: the file cannot be written; the old file is unchanged.
        """
        targets.write(self.target, self.write_to, about_to)

    def write_to(self, file: IO[bytes]) -> None:
        """Write the table to an open file."""
        file.write(csv_row(self.columns, raw=self.is_raw))
        file.writelines(self.rows.values())


def read_gold(target: Path, framework: Framework, id_column: str) -> GoldTable:
    """Read the table at `target`, or return an empty table if there is no file.

    Args:
        id_column: the name of the id column of a new table.

    Raises:
        UsageError: the suffix of `target` is not .csv.
        InputError: the file is not a gold table.
    """
    if target.suffix.lower() != ".csv":
        raise UsageError("a gold table is a .csv file", where=shown(target))
    if target.exists():
        return _existing(target, framework)
    names = ("title", "abstract", *framework.names)
    id_name = "id" if id_column.casefold() in names else id_column
    roles = {id_name: "id", **{name: name for name in names}}
    return GoldTable(target, tuple(roles), roles)


def _existing(target: Path, framework: Framework) -> GoldTable:
    reader = CsvReader(regular_file(target))
    columns = reader.header()
    layout = find_columns(columns, Columns(), framework.names, shown(target))
    lacks = [repr(name) for name in framework.names if name not in layout.columns]
    if layout.id_column is None:
        lacks.insert(0, f"of ids ({', '.join(ID_FIELDS)})")
    if lacks:
        raise InputError(
            f"is not a gold table: it has no column {lacks[0]}",
            where=shown(target),
            hint="Name another file for the gold table.",
        )
    roles = {name: role for role, name in layout.columns.items()} | {str(layout.id_column): "id"}
    table = GoldTable(target, columns, roles)
    for number, (_, row) in enumerate(reader.rows(columns)):
        if isinstance(row, InputError):
            raise row
        by_role = {roles.get(name): value for name, value in row.items()}
        key = paper_key(flatten(by_role["id"]) or own_id(by_role["abstract"]))
        table.rows[number if key in table.rows else key] = csv_row(row.values(), raw=table.is_raw)
    return table
