"""Attack by files that are read, and by texts that are written: bombs, formulas, escapes.

A bomb is a small file with a huge content: a table, reference file, Parquet file, spreadsheet, PDF
file, YAML file or SKILL.md. Each bomb is read in a separate process, whose memory may grow by
`GROWTH` bytes. Texts with formulas and escapes are saved as tables, and printed on terminals and
into files.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from agent_process import environment_of
from corpus_papers import annotated, paper
from fuzzed_documents import FRONT_MATTER, ODD, READERS, SHIPPED, outcome
from hostile_files import DOCUMENTS, laughs
from pseudo_terminal import pseudo_terminal
from table_bombs import BOMBS, GROWTH, read_in_child

from skills.corpus.parquet_store.index import MOST_ROW
from skills.corpus.tables.parquet_files import parquet_row, parquet_schema
from skills.nanda.framework import nanda

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 2
"""Number of bombs of each kind."""
PART_GROWTH = 500_000_000
"""Bytes by which the memory of a process may grow while it indexes a part with long texts."""
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Program that runs a command and prints the peak memory of this command alone, in KB."""
BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "'", "''", "'=", "-0", "+1", "", " ", '"', ";", "\n")
REST = (
    "1+1",
    "cmd|' /C calc'!A0",
    'HYPERLINK("http://x")',
    "0.3",
    "5e7",
    "'",
    "a, b",
    "é",
    "\r\n=1",
)
CONTROLS = (
    "\x1b[2J", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\", "\x9b31m", "\x07", "\x08" * 9, "\x7f",
    "\x00", "\u202e", "\u202a", "\u2066", "\u2069", "\r", "\x85", "\x1bP+q\x1b\\",
)  # fmt: skip
WORDS = ("Ledger", "**books**", "[every](http://x)", "`tool`", "call of", "\n\n- an agent", "| a |")
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
NUMBER = re.compile(r"[+-]?[\d.]+(?:[eE][+-]?\d+)?%?")
ABSTRACT = "We present Ledger, which books every tool call of an agent."


def bombs(folder: Path, rng: random.Random) -> Iterator[str | None]:
    """Read bombs: files with contents that expand, or with endless rows."""
    for name in rng.sample([*BOMBS] * ROUNDS, ROUNDS * len(BOMBS)):
        path = folder / name
        BOMBS[name](path, rng)
        try:
            grown, message = read_in_child(path)
        except AssertionError as error:
            yield f"{error}"
        else:
            refused = name in message or name == "dictionary.parquet"
            held = refused and grown < GROWTH
            yield None if held else f"{name}: {grown / 1e6:.0f} MB more memory, {message[:150]}"
        path.unlink()


def parts(folder: Path, rng: random.Random) -> Iterator[str | None]:
    """Index parts with long compressed texts: rows of over 100 KB must be refused unread."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = parquet_schema(nanda(), "arxiv_id")
    columns = [field.name for field in schema if field.type == pa.string()]

    def indexed(number: int, column: str, size: int) -> tuple[int, bool]:
        """Index a part in a new process, and measure the memory.

        Args:
            column, size: the column with long texts, and the number of characters of each text.

        Returns:
            The peak memory in bytes, and True if the part was accepted.
        """
        rows = [parquet_row(annotated(paper(n)), nanda(), "arxiv_id") for n in range(1, 300)]
        differ = rng.random() < 0.5  # Parquet stores equal texts once, in a dictionary
        for place, row in enumerate(rows):
            row[column] = f"{place * differ}{'x' * size}" if size else row[column]
        part = folder / f"{number}" / "a.parquet"
        part.parent.mkdir()
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), part, compression="zstd")
        line = [sys.executable, str(ROOT / "agent.py"), f"/corpus index {part.parent.name}"]
        command = [sys.executable, "-c", PEAK, *line]
        made = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        assert made.returncode == 0, made.stderr[-300:]
        return 1024 * int(made.stdout.split()[-1]), "has 1 part" in made.stdout

    usual, _ = indexed(0, "title", 0)
    for number in range(1, 21):
        column, size = rng.choice(columns), rng.choice((20_000, 90_000, 120_000, 900_000))
        peak, read = indexed(number, column, size)
        most = PART_GROWTH if size < MOST_ROW else GROWTH
        held = (size < MOST_ROW or not read) and peak - usual < most
        grown = f"{(peak - usual) / 1e6:.0f} MB more memory"
        yield None if held else f"{size:,} bytes in {column}: {'read' * read}, {grown}"


def documents(folder: Path, rng: random.Random) -> Iterator[str | None]:
    """Read registries, recipes, frameworks and SKILL.md files with hostile text inserted."""
    parts = [
        *ODD,
        *DOCUMENTS.values(),
        laughs(5, 4),
        laughs(30, 2),
        "a: &a [" + "*a, " * 9000 + "]\n",
    ]
    for kind in READERS:
        path = folder / kind.replace(" ", "-") / ("SKILL.md" if "matter" in kind else "file.yaml")
        path.parent.mkdir()
        for _ in range(40):
            text = json.dumps(FRONT_MATTER) if "matter" in kind else SHIPPED[kind].read_text()
            for part in rng.sample(parts, rng.randrange(1, 4)):
                place = rng.choice([0, len(text), rng.randrange(len(text))])
                text = text[:place] + part + text[place:]
            if "matter" in kind:
                text = f"---\n{text}\n---\nCount the words.\n"
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            try:
                outcome(kind, path)
            except Exception as error:  # noqa: BLE001 an error other than the documented error
                yield f"{kind}: {type(error).__name__}: {error}: {text[:80]!r}"
                continue
            grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
            yield None if grown < GROWTH else f"{kind}: {grown / 1e6:.0f} MB more: {text[:80]!r}"


def formulas(folder: Path, rng: random.Random) -> Iterator[str | None]:
    """Save texts that a spreadsheet would run as formulas, and read the tables again."""
    from python_calamine import CalamineWorkbook

    from skills.corpus.table import Columns, reader_of
    from skills.corpus.tables.saved_tables import write_csv
    from skills.corpus.tables.spreadsheets import write_xlsx

    for number in range(100):
        texts = [
            "".join((*rng.choices(BEGINNINGS, k=rng.randrange(1, 4)), rng.choice(REST)))
            for _ in range(40)
        ]
        text, sheet = folder / f"{number}.csv", folder / f"{number}.xlsx"
        for path, write in ((text, write_csv), (sheet, write_xlsx)):
            with path.open("wb") as file:
                write(file, [("id", "title", "abstract"), *(("1", one, one) for one in texts)])
        with text.open(newline="", encoding="utf-8") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        cells += [
            f"{cell}"
            for row in CalamineWorkbook.from_path(sheet).get_sheet_by_index(0).to_python()
            for cell in row
        ]
        run = [one for one in cells if one[:1] in tuple("=+-@\t\r") and not NUMBER.fullmatch(one)]
        read = {
            path: [row["title"] for _, row in reader_of(path, Columns()).rows(())]
            for path in (text, sheet)
        }
        changed = [path.suffix for path, found in read.items() if found != texts]
        if run:
            yield f"would be run: {run[0]!r}"
        else:
            yield f"{changed} are not as they were saved: {texts}" if changed else None


def terminals(folder: Path, rng: random.Random) -> Iterator[str | None]:
    """Print hostile texts on a terminal and into a file, with each function that shows results."""
    from harness.terminal.console import Screen, render_markdown
    from harness.terminal.rendering import table

    for number in range(150):
        text = "".join(rng.choices((*CONTROLS, *WORDS, " "), k=20))
        out = io.StringIO()
        with pseudo_terminal(rng.choice((40, 80, 200))) as terminal:
            for stream in (terminal.stream, out):
                screen = Screen(stream, stream)
                screen.notice(text)
                screen.result(text)
                writer = screen.markdown_writer()
                for piece in re.findall(r"(?s).{1,7}", text):
                    writer.write(piece)
                writer.close()
                screen.result(table(("a", "b"), [(text, number)]))
            screen = Screen(terminal.stream, terminal.stream)
            screen.show(render_markdown(text))
        raw = terminal.raw.replace("\r", "")
        found = FORBIDDEN.search(raw) or re.search(r"\x1b[\]P]|\x1b\[2J", raw)
        found = found or FORBIDDEN.search(out.getvalue()) or re.search("\x1b", out.getvalue())
        yield f"{found[0]!r} of {text!r} is printed" if found else None


def streams(folder: Path, rng: random.Random) -> Iterator[str | None]:
    """Run lines with hostile names and texts, and search stdout and stderr for escapes."""
    project = folder / "project"
    project.mkdir()
    (project / "registry.yaml").write_text("models: {}\ntasks: {}\n")
    for number in range(6):
        name = "".join(
            one for one in rng.choices(CONTROLS, k=4) if "\0" not in one and "/" not in one
        )
        table = project / f"{number}{name}.csv"
        table.write_text(f'id,abstract\n1,"{ABSTRACT}"\n1,"{name} another"\n')
        for line in (
            f'/corpus add "{table.name}"',
            f'/annotate "missing{name}.csv"',
            "/logs",
            f"/{name}x",
        ):
            made = subprocess.run(
                [sys.executable, str(ROOT / "agent.py"), line],
                cwd=project,
                env=environment_of(project) | {"PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=120,
            )
            shown = (made.stdout + made.stderr).decode()
            found = FORBIDDEN.search(shown) or re.search("\x1b", shown)
            yield f"{line!r} prints {found[0]!r}" if found else None


AREAS: dict[str, Callable[[Path, random.Random], Iterator[str | None]]] = {
    "bombs": bombs,
    "expanding-parts": parts,
    "yaml-documents": documents,
    "formulas": formulas,
    "terminals": terminals,
    "redirected-streams": streams,
}
