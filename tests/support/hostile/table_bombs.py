"""Small tables that expand, endless rows of large ones, and the memory that reading them takes."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
GROWTH = 50_000_000
"""Bytes that a process may grow by while a file is read."""
ABSTRACT = "We present Ledger, which books every tool call of an agent."
WARM = {
    ".csv": f"id,abstract\n1,{ABSTRACT}\n",
    ".jsonl": json.dumps({"id": "1", "abstract": ABSTRACT}),
    ".bib": f"@article{{a, title={{B}}, abstract={{{ABSTRACT}}}}}\n",
    ".ris": f"TY  - JOUR\nTI  - B\nAB  - {ABSTRACT}\nER  - \n",
    ".nbib": f"PMID- 1\nTI  - B\nAB  - {ABSTRACT}\n",
    ".json": json.dumps([{"type": "article", "title": "B", "abstract": ABSTRACT}]),
    ".md": f"# A\n\n## B\n\nAuthors: C\n\n{ABSTRACT}\n",
}
"""A harmless table of each suffix."""
Write = Callable[[Path, random.Random], None]


def _repeated(begin: str, part: str, end: str = "", mb: int = 60) -> Write:
    """Return what writes a file of about this size; the number of the parts differs by the seed."""

    def write(path: Path, rng: random.Random) -> None:
        count = mb * 1_000_000 // len(part) + rng.randrange(1000)
        with path.open("w") as file:
            file.write(begin)
            for _ in range(count // 10_000 + 1):
                file.write(part * 10_000)
            file.write(end)

    return write


def _macros(path: Path, rng: random.Random) -> None:
    text, factor = '@string{m0 = "' + "x" * rng.randrange(1, 9) + '"}\n', rng.randrange(2, 9)
    for number in range(1, 41):
        text += f"@string{{m{number} = {' # '.join([f'm{number - 1}'] * factor)}}}\n"
    path.write_text(text + "@article{a, title = m40, abstract = m40}\n")


def _macro_repeated(path: Path, rng: random.Random) -> None:
    parts = " # ".join(["m"] * rng.randrange(20_000, 90_000))
    path.write_text(f'@string{{m = "{"x" * 40_000}"}}\n@article{{a, abstract = {parts}}}\n')


def _sparse(path: Path, rng: random.Random) -> None:
    path.write_text(WARM.get(path.suffix, "x"))
    os.truncate(path, rng.randrange(200_000_000, 900_000_000))


def _parquet(**columns: Callable[[random.Random], list[object]]) -> Write:
    def write(path: Path, rng: random.Random) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        made = {name: make(rng) for name, make in columns.items()}
        compression = rng.choice(["zstd", "gzip", "snappy"])
        pq.write_table(pa.table(made), path, compression=compression, data_page_size=1 << 30)

    return write


def _large(path: Path, rng: random.Random) -> None:
    """Write texts of which each differs, so that they are in one page and not in a dictionary."""
    texts = [f"{number} {'x' * 1_000_000}" for number in range(rng.randrange(40, 90))]
    _parquet(abstract=lambda _: list(texts))(path, rng)


def _far_cell(path: Path, rng: random.Random) -> None:
    from xlsxwriter import Workbook

    with Workbook(path) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ("id", "abstract"))
        sheet.write(rng.randrange(900_000, 1_048_576), rng.randrange(9_000, 16_384), "x")


def _rich_row(path: Path, rng: random.Random) -> None:
    from xlsxwriter import Workbook

    with Workbook(path) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ("id", "abstract"))
        for column in range(rng.randrange(2_000, 9_000)):
            sheet.write_string(1, column, "x" * 32_000)


def _pdf(name: str) -> Write:
    def write(path: Path, rng: random.Random) -> None:
        from pdf_bombs import BOMBS

        path.write_bytes(BOMBS[name]())

    return write


BOMBS: dict[str, Write] = {
    "macros.bib": _macros,
    "macro-repeated.bib": _macro_repeated,
    "entry.bib": _repeated("@article{a, title={\n", "text of an entry without an end\n"),
    "line.bib": _repeated("@article{a, title={", "x"),
    "line.csv": _repeated("id,abstract\n1,", "x"),
    "separators.csv": _repeated("id,abstract\n1,", ","),
    "quoted.csv": _repeated('id,abstract\n1,"', "a line in quotes\n", mb=30),
    "cells.csv": _repeated("id,abstract\n1", ',"a\n"', mb=20),
    "header.csv": _repeated("id,abstract", ",x"),
    "letters.csv": _repeated("id,abstract\n1,", "\N{GRINNING FACE}", mb=15),
    "line.jsonl": _repeated('{"id": "1", "abstract": "', "x", '"}'),
    "objects.jsonl": _repeated('{"f": 0.5, "abstract": "x", "y": [', '{"":0},', "0]}", 1),
    "lists.jsonl": _repeated('{"id": "1", "abstract": "x", "y": [', "[],", "0]}", 9),
    "record.ris": _repeated("TY  - JOUR\n", "AB  - an endless record\n", mb=30),
    "lines.ris": _repeated("TY  - JOUR\n", "\n", mb=9),
    "record.nbib": _repeated("PMID- 1\n", "AB  - an endless record\n", mb=30),
    "objects.json": _repeated('[{"type": "book", "y": [', '{"":0},', "0]}]", 9),
    "string.json": _repeated('[{"type": "book", "title": "', "x", '"}]', 30),
    "list.md": _repeated("# A\n\n", "- x\n", mb=4),
    "text.md": _repeated("# A\n\n", "a line of a text\n", mb=20),
    "sparse.csv": _sparse,
    "sparse.jsonl": _sparse,
    "value.parquet": _parquet(abstract=lambda rng: ["x" * rng.randrange(10**8, 2 * 10**8)]),
    "page.parquet": _large,
    "dictionary.parquet": _parquet(abstract=lambda rng: ["x" * 900_000] * rng.randrange(256, 900)),
    "list.parquet": _parquet(
        abstract=lambda _: [ABSTRACT], authors=lambda rng: [["x"] * rng.randrange(10**7, 2 * 10**7)]
    ),
    "cell.xlsx": _far_cell,
    "row.xlsx": _rich_row,
    **{f"{name}.pdf": _pdf(name) for name in ("compressed", "characters", "nested", "many-pages")},
    "texts.parquet": _parquet(
        abstract=lambda _: [ABSTRACT] * 9,
        authors=lambda rng: [["x" * rng.randrange(10**5, 9 * 10**5)] * 300] * 9,
    ),
}
"""What writes each file, by name."""


def read_in_child(path: Path) -> tuple[int, str]:
    """Return the bytes that a process grows by while it reads a table, and its message.

    The message is the error of the file or of its last row, or "read".
    """
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests" / "support" / "pdf")))
    }
    made = subprocess.run(
        [sys.executable, __file__, str(path)], env=environment, capture_output=True, text=True
    )
    assert made.returncode == 0, f"{path.name} ended the process: {made.stderr[-300:]}"
    grown, _, message = made.stdout.partition(" ")
    return int(grown), message.strip()


def _rows(path: Path) -> Iterator[object]:
    from skills.corpus.table import open_table

    return open_table(path, abstract_by="id").rows_or_errors()


def _peak() -> int:
    """Return the most memory that this process has taken, and that a reader process has.

    The kernel counts the memory of the process that started it as that of a new process, but not
    in VmHWM.
    """
    status = Path("/proc/self/status").read_text()
    own = int(status.partition("VmHWM:")[2].split()[0])
    return 1024 * (own + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def main(path: Path) -> None:
    """Read a harmless table first, so that modules and buffers do not count."""
    from harness.errors import InputError

    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    warm = path.with_name(f"warm{path.suffix}")
    if path.suffix == ".parquet":
        _parquet(id=lambda _: ["1"], abstract=lambda _: [ABSTRACT])(warm, random.Random(1))
    elif path.suffix == ".xlsx":
        from skills.corpus.tables.spreadsheets import write_xlsx

        with warm.open("wb") as file:
            write_xlsx(file, [("id", "abstract"), ("1", ABSTRACT)])
    elif path.suffix == ".pdf":
        from pdf_bombs import one_page, stream

        warm.write_bytes(one_page(stream(b"BT /F1 10 Tf 50 700 Td (a page) Tj ET")))
    else:
        warm.write_text(WARM[path.suffix])
    list(_rows(warm))
    before, message = _peak(), "read"
    try:
        for row in _rows(path):
            message = str(row) if isinstance(row, InputError) else message
    except InputError as error:
        message = str(error)
    print(_peak() - before, message)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
