"""Damaged exports: an error with a place or papers, and notes that change nothing else."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from repository import ROOT

from harness.errors import InputError
from skills.corpus import exporters
from skills.corpus.records import Annotated
from skills.corpus.references.reference_files import WRITTEN
from skills.corpus.table import open_table
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper

EXPORTED = sorted((ROOT / "tests" / "data" / "references").iterdir())
PIECES = (
    *(char.encode() for char in "{}\"@#,=\\$%&~^_-[]:;\n\r\v\x85"),
    b"\xff", b"\xc3", b"\n@", b"\n\n", b"  - ", b"\nER  - ", b"\nTY  - JOUR\n", b"null", b"9" * 20,
)  # fmt: skip
ROUNDS = 150


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return a part of the data with bytes added, removed and repeated."""
    begin = rng.randrange(len(data)) if rng.random() < 0.5 else 0
    found = bytearray(data[begin : begin + rng.choice((300, 1500, 8000))])
    for _ in range(rng.choice((1, 3, 10, 40))):
        place = rng.randrange(len(found) + 1)
        match rng.randrange(3):
            case 0:
                found[place:place] = rng.choice(PIECES)
            case 1:
                del found[place : place + rng.choice((1, 3, 20))]
            case 2:
                found[place:place] = found[rng.randrange(len(found) + 1) :][:60]
    return bytes(found) or b"x"


def papers(path: Path) -> list[Paper]:
    """Return the papers of a file, none if it is refused as a whole."""
    try:
        rows = list(open_table(path).rows_or_errors())
    except InputError:
        return []
    unexpected = [str(row) for row in rows if isinstance(row, InputError) and "Please" in str(row)]
    assert not unexpected
    return [row.paper for row in rows if not isinstance(row, InputError)]


@pytest.mark.parametrize("source", EXPORTED, ids=lambda path: path.name)
def test_damaged_exports(source: Path, tmp_path: Path) -> None:
    rng = random.Random(source.name)
    path, noted = tmp_path / f"a{source.suffix}", tmp_path / f"b{source.suffix}"
    moves = {**dict.fromkeys(nanda().names, "Not stated."), "claim": "It works."}
    read = 0
    for _ in range(ROUNDS):
        path.write_bytes(damaged(source.read_bytes(), rng))
        found = papers(path)
        read += bool(found)

        def items(found: list[Paper] = found) -> Iterator[Annotated]:
            for paper in found:
                if paper.abstract:
                    yield Annotated(paper, {**moves, "provenance": {"input": {}}})

        writers = exporters.writers(nanda(), "id", items, lambda: iter(()), title="x", library=path)
        for suffix in WRITTEN if found else ():
            file = io.BytesIO()
            writers[suffix](file)
            if suffix.endswith(path.suffix):
                noted.write_bytes(file.getvalue())
                assert [p.abstract for p in papers(noted)] == [p.abstract for p in found]
    assert read > ROUNDS / 30
