"""Read parts with DuckDB: the connection, the views, and names for SQL."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.support.process import available_cores, require

if TYPE_CHECKING:
    import duckdb

    from skills.corpus.parquet_store.index import Index

_MOVE_SUMS = {
    "move": "{move}",
    "supports": "count(support_{place})",
    "support": "coalesce(sum(support_{place}), 0)",
    "numbers": "count(*) FILTER (WHERE list_contains(numbers, {move}))",
    "names": "count(*) FILTER (WHERE list_contains(names, {move}))",
}
"""The columns of the relation "moves", as SQL expressions for a move."""


@contextlib.contextmanager
def connected(where: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database in memory.

    Args:
        where: the folder for the message of an error of DuckDB.

    SQL must not call Python functions: a thread of DuckDB that waits for Python when Python ends
    aborts the process.

    Raises:
        UsageError: duckdb is not installed.
        InputError: DuckDB cannot read a file.
    """
    require("duckdb", extra="duckdb")
    import duckdb

    spilled = Path(tempfile.gettempdir()) / f"nanda-duckdb-{os.getpid()}"
    settings: dict[str, Any] = {
        "threads": available_cores(),
        "temp_directory": str(spilled),  # by default, it would be in the current folder
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    try:
        with duckdb.connect(":memory:", config=settings) as db:
            try:
                yield db
            except BaseException:
                db.interrupt()  # after Ctrl-C its threads continue, and closing would wait for them
                raise
    except RuntimeError as exc:
        if type(exc) is not RuntimeError:
            raise
        raise KeyboardInterrupt from exc  # DuckDB raises an error of its own after Ctrl-C
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException):
        raise  # an error of this code
    except duckdb.Error as exc:
        first = (str(exc).splitlines() or [type(exc).__name__])[0]
        raise InputError(
            f"the parts or their index cannot be read: {first}",
            where=str(where),
            hint=f"`/corpus index {where}` names the parts that cannot be read.",
        ) from exc


def sql_text(value: str) -> str:
    """Return a string for SQL."""
    return "'" + value.replace("'", "''") + "'"


def sql_name(column: str) -> str:
    """Return the name of a column for SQL."""
    return '"' + column.replace('"', '""') + '"'


def sql_files(paths: Iterable[Path]) -> str:
    """Return a list of files for SQL; their names are not used as patterns.

    For an absolute path, DuckDB returns the same path as the name of the file.
    """
    return "[" + ", ".join(sql_text(glob.escape(str(path))) for path in paths) + "]"


def prepare(db: duckdb.DuckDBPyConnection, index: Index) -> None:
    """Create the view `facts` with all rows, and the relations of `search/engine.py`.

    `facts` and `annotations` have the columns `paper`, the number of the paper, and `current`.
    """
    read = f"SELECT * FROM read_parquet({sql_files(index.facts())})"
    [(rows,)] = db.execute(f"SELECT count(*) FROM ({read})").fetchall()
    live = sum(part.rows for part in index.parts)
    if rows != live:  # a file also contains facts of parts that were changed or removed
        ids = ", ".join(str(part.id) for part in index.parts)
        read += f" WHERE part IN ({ids})"
    repeats = index.db.execute("SELECT id, paper, current FROM repeats").fetchall()
    if repeats:
        import numpy as np

        again = np.array(repeats, dtype=np.int64)
        columns = {"id": again[:, 0], "paper": again[:, 1], "current": again[:, 2] == 1}
        db.register("repeats", columns)
        read = (
            "SELECT f.*, coalesce(r.paper, f.id) AS paper, coalesce(r.current, TRUE) AS current"
            f" FROM ({read}) f LEFT JOIN repeats r ON r.id = f.id"
        )
    else:
        read = f"SELECT *, id AS paper, TRUE AS current FROM ({read})"
    db.execute(f"CREATE VIEW facts AS {read}")
    db.execute("CREATE VIEW annotations AS SELECT * FROM facts WHERE annotated AND current")
    moves = [(place, sql_text(move)) for place, move in enumerate(index.framework.names)]
    sums = ", ".join(
        f"unnest([{', '.join(sql.format(place=n, move=move) for n, move in moves)}]) AS {name}"
        for name, sql in _MOVE_SUMS.items()
    )
    db.execute(f"CREATE VIEW moves AS SELECT {sums} FROM annotations")
    db.execute(
        "CREATE VIEW failures AS SELECT paper, error FROM facts WHERE current AND error <> ''"
    )
    db.execute("CREATE MACRO has_category(of, wanted) AS list_contains(of, wanted)")
