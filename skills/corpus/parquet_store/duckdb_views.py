"""Query parts with DuckDB: open a connection, create views, and quote names and values."""

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
from skills.corpus.tables.parquet_files import first_line

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
"""The columns of the relation "moves", as SQL templates for one move."""


@contextlib.contextmanager
def connected(where: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection to DuckDB in memory; the connection is closed after the block.

    Queries must not call Python functions: DuckDB aborts the process if one of its threads waits
    for Python while Python exits.

    Args:
        where: the folder of the parts, for messages.

    Raises:
        UsageError: duckdb is not installed.
        InputError: DuckDB cannot read a file.
    """
    require("duckdb", extra="duckdb")
    import duckdb

    spilled = Path(tempfile.gettempdir()) / f"nanda-duckdb-{os.getpid()}"
    settings: dict[str, Any] = {
        "threads": available_cores(),
        "temp_directory": str(spilled),  # the default would be in the current folder
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    try:
        with duckdb.connect(":memory:", config=settings) as db:
            try:
                yield db
            except BaseException:
                db.interrupt()  # otherwise closing would wait for the running query
                raise
    except RuntimeError as exc:
        if type(exc) is not RuntimeError:
            raise
        raise KeyboardInterrupt from exc  # DuckDB raises RuntimeError on Ctrl-C
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException):
        raise  # a fault of the query, not of a file
    except duckdb.Error as exc:
        raise InputError(
            f"the parts or their index cannot be read: {first_line(exc)}",
            where=str(where),
            hint=f"`/corpus index {where}` names the parts that cannot be read.",
        ) from exc


def sql_text(value: str) -> str:
    """Return a string as an SQL literal in quotation marks."""
    return "'" + value.replace("'", "''") + "'"


def sql_files(paths: Iterable[Path]) -> str:
    """Return paths as an SQL literal of a list, with escaped pattern characters such as `*`.

    Paths should be absolute: DuckDB's column `filename` then contains the same paths.
    """
    return "[" + ", ".join(sql_text(glob.escape(str(path))) for path in paths) + "]"


def prepare(db: duckdb.DuckDBPyConnection, index: Index) -> None:
    """Create the views `facts`, `annotations`, `moves` and `failures`, and a macro for filters.

    `facts` has a row for each row of the parts, with the stored facts, `paper` (the number of the
    paper) and `current`, which is false if another row replaces the row. The other views
    are described in `search/engine.py`; `annotations` has the columns of `facts`.
    """
    import numpy as np

    files = [index.place / name for name in dict.fromkeys(part.facts for part in index.parts)]
    # A file may contain facts of changed or removed parts.
    ids = ", ".join(str(part.id) for part in index.parts)
    read = f"SELECT * FROM read_parquet({sql_files(files)}) WHERE part IN ({ids})"
    repeats = index.db.execute("SELECT id, paper, current FROM repeats").fetchall()
    again = np.array(repeats, dtype=np.int64).reshape(-1, 3)
    columns = {"id": again[:, 0], "paper": again[:, 1], "current": again[:, 2] == 1}
    db.register("repeats", columns)
    db.execute(
        "CREATE VIEW facts AS SELECT f.*, coalesce(r.paper, f.id) AS paper,"
        f" coalesce(r.current, TRUE) AS current FROM ({read}) f LEFT JOIN repeats r ON r.id = f.id"
    )
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
