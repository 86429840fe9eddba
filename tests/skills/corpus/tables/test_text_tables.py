"""Test writers of tables, and that readers return what was written."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from python_calamine import CalamineWorkbook

from skills.corpus import exporters
from skills.corpus.records import Annotated, record_of
from skills.corpus.table import open_table, reader_of
from skills.corpus.tables.columns import DOUBT, Columns
from skills.corpus.tables.markdown_lists import write_markdown
from skills.corpus.tables.parquet_files import parquet_schema, write_parquet
from skills.corpus.tables.saved_tables import table_rows, write_csv
from skills.corpus.tables.spreadsheets import write_xlsx
from skills.corpus.tables.text_tables import write_jsonl
from skills.curate.review.gold_table import read_gold
from skills.nanda.framework import Framework, nanda
from skills.nanda.paper import Paper, own_id
from skills.nanda.text import flatten

NANDA = nanda()
ABSTRACTS = (
    "We present Ledger, which books every tool call of an agent.",
    'Lines\nof "many",\r\nkinds;\rwith\ttabs, é, 中文, 😀 and \u2028 in 3 rows.',
    '"',
    "=SUM(A1), '', \\, {}, null",
)


def annotated(number: int, abstract: str) -> Annotated:
    paper = Paper(
        "arxiv_id", f"2405.{number:05d}0", f"Title, {number}", abstract,
        {"kind": "table", "path": "papers.csv", "row": str(number)},
        "A. One, B. Two", "2024-05-17", "cs.AI",
    )  # fmt: skip
    moves = dict.fromkeys(NANDA.names, NANDA.not_stated) | {"claim": flatten(f"Says: {abstract}")}
    made = {"resolved": "model", "digests": {f"{number}.gguf": "ab"}, "reason": None}
    return Annotated(paper, record_of(paper, moves, NANDA, made))


def doubtful() -> Annotated:
    """Return an annotation with an uncertain claim, and a suggestion for the method."""
    item = annotated(1, ABSTRACTS[0])
    moves = {name: item.record[name] for name in NANDA.names}
    start = ABSTRACTS[0].index("books")
    one = {"text": "Books every tool call.", "confidence": 0.21, "spans": [[start, start + 21]]}
    confidence = {"claim": 0.35, "method": 0.1, "scope": 0.9}
    more: Any = {"confidence": confidence, "suggestions": {"method": one}}
    made = item.record["provenance"]
    return Annotated(item.paper, record_of(item.paper, moves, NANDA, made, **more))


ITEMS = tuple(annotated(number, abstract) for number, abstract in enumerate(ABSTRACTS, start=1))


def as_csv(items: tuple[Annotated, ...], id_column: str = "arxiv_id") -> bytes:
    file = io.BytesIO()
    write_csv(file, table_rows(items, NANDA, id_column))
    return file.getvalue()


def as_xlsx(items: tuple[Annotated, ...]) -> bytes:
    file = io.BytesIO()
    write_xlsx(file, table_rows(items, NANDA, "arxiv_id"))
    return file.getvalue()


def test_markdown_links_to_arxiv_and_escapes_text() -> None:
    file, (item, *_) = io.BytesIO(), ITEMS
    for arxiv_id in ("2405.12345v1 [cs.CL]", "none | <b>"):
        odd = replace(item.paper, id=arxiv_id, published="*May* 2024")
        write_markdown(file, [replace(item, paper=odd)], NANDA, "List")
    text = file.getvalue().decode()
    assert "arXiv: [2405.12345v1 \\[cs.CL\\]](https://arxiv.org/abs/2405.12345v1) · A. One" in text
    assert "\narXiv: none \\| \\<b> · A. One, B. Two · \\*May\\* 2024 · cs.AI\n" in text


def as_parquet(items: tuple[Annotated, ...], id_column: str = "arxiv_id") -> io.BytesIO:
    file = io.BytesIO()
    write_parquet(file, items, NANDA, parquet_schema(NANDA, id_column))
    file.seek(0)
    return file


def other_framework() -> Framework:
    content = NANDA.model_dump()
    content["moves"] = [{**content["moves"][0], "name": name, "label": name} for name in "ab"]
    return Framework.model_validate(content | {"name": "other", "version": "2"})


def exported(items: tuple[Annotated, ...]) -> str:
    file = io.BytesIO()
    exporters.Export(NANDA, "id", lambda: iter(items), lambda: iter(()), title="").writers()[
        ".csv"
    ](file)
    return file.getvalue().decode()


def test_csv_has_the_columns_of_the_lesson() -> None:
    data = as_csv(ITEMS)
    assert data.startswith(
        b"arxiv_id,title,abstract,claim,evidence,method,scope,limitation,comparison,implication,"
        b'novelty\n2405.000010,"Title, 1","We present'
    )
    assert data.endswith(b"Not stated.\n")
    found = list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))
    assert [row["abstract"] for row in found] == [*ABSTRACTS[:3], f"'{ABSTRACTS[3]}"]
    assert [row["claim"] for row in found] == [item.record["claim"] for item in ITEMS]


@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".parquet"])
def test_written_tables_round_trip(tmp_path: Path, suffix: str) -> None:
    unnamed = replace(ITEMS[0].paper, id_field="id", id=own_id("No id."), abstract="No id.")
    items = (*ITEMS, Annotated(unnamed, ITEMS[0].record))
    path = tmp_path / f"out{suffix}"
    made = {
        ".csv": as_csv,
        ".xlsx": as_xlsx,
        ".parquet": lambda items: as_parquet(items).getvalue(),
    }
    path.write_bytes(made[suffix](items))
    table = open_table(path, moves=NANDA.names)
    assert table.id_column == "arxiv_id"
    for row, item in zip(table.rows(), items, strict=True):
        kept = ("id_field", "id", "title", "abstract")
        kept += ("authors", "published", "categories") if suffix == ".parquet" else ()
        for name in kept:
            assert getattr(row.paper, name) == getattr(item.paper, name)
        assert row.moves == {name: item.record[name] for name in NANDA.names}


def test_table_is_written_back_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_bytes(as_csv(ITEMS))
    again = tuple(
        Annotated(row.paper, row.moves) for row in open_table(path, moves=NANDA.names).rows()
    )
    assert as_csv(again) == path.read_bytes()


@pytest.mark.parametrize(
    ("given", "written"),
    [("DOI", "DOI"), ("title", "id"), ("Claim", "id"), ("abstract", "id")],
)
def test_id_column_keeps_its_name_unless_taken(given: str, written: str) -> None:
    assert as_csv(ITEMS, given).decode().partition(",")[0] == written
    assert parquet_schema(NANDA, given).names[0] == written


def test_more_names_are_taken_in_parquet() -> None:
    assert as_csv((), "provenance").startswith(b"provenance,title,")
    assert parquet_schema(NANDA, "provenance").names[0] == "id"


def test_json_lines_contain_the_records() -> None:
    file = io.BytesIO()
    write_jsonl(file, ITEMS)
    lines = file.getvalue().decode().removesuffix("\n").split("\n")
    assert [json.loads(line) for line in lines] == [item.record for item in ITEMS]
    assert lines[0].startswith('{"arxiv_id":"2405.000010","title":"Title, 1","claim":"Says: We')
    assert "中文" in lines[1]


def test_parquet_schema(tmp_path: Path) -> None:
    for items in (ITEMS, ()):
        table = pq.read_table(as_parquet(items))
        assert table.schema.equals(parquet_schema(NANDA, "arxiv_id"), check_metadata=True)
        assert table.num_rows == len(items)
    assert not any(field.nullable for field in table.schema)
    names = ("arxiv_id", "title", "authors", "published", "categories", "abstract")
    last = ("support", "confidence", "uncertain", "anchors", "suggestions", "checks", "provenance")
    assert tuple(table.schema.names) == (*names, *NANDA.names, *last)
    assert table.schema.metadata[b"framework"] == NANDA.name.encode()
    assert table.schema.metadata[b"framework_version"] == NANDA.version.encode()


def test_parquet_has_anchors_checks_and_provenance_as_json() -> None:
    rows = pq.read_table(as_parquet(ITEMS)).to_pylist()
    for row, item in zip(rows, ITEMS, strict=True):
        assert json.loads(row["anchors"]) == item.record["anchors"]
        assert json.loads(row["checks"]) == item.record["checks"]
        assert json.loads(row["provenance"]) == item.record["provenance"]
        claimed = item.record["checks"]["support"]["claim"]
        assert row["support"] == dict.fromkeys(NANDA.names) | {"claim": claimed}


def test_tables_have_the_doubts() -> None:
    item = doubtful()
    header, _, _ = exported(ITEMS).partition("\n")
    assert {*DOUBT}.isdisjoint(header.split(",")), "no annotation has a confidence"
    (_, row) = csv.DictReader(io.StringIO(exported((ITEMS[1], item)), newline=""), strict=True)
    assert (row["method"], row["uncertain"]) == (NANDA.not_stated, "claim")
    assert row["confidence"] == "claim 0.35; method 0.10; scope 0.90"
    assert row["suggestions"] == "method (0.21): Books every tool call."
    (row,) = pq.read_table(as_parquet((item,))).to_pylist()
    known = {"claim": 0.35, "method": 0.1, "scope": 0.9}
    assert row["confidence"] == dict.fromkeys(NANDA.names) | known
    assert row["uncertain"] == ["claim"]
    assert json.loads(row["suggestions"]) == item.record["suggestions"]


def test_markdown_has_the_doubts() -> None:
    file = io.BytesIO()
    write_markdown(file, [doubtful()], NANDA, "List")
    lines = file.getvalue().decode().splitlines()
    assert [line for line in lines if line.startswith("- ")] == [
        f"- **Claim:** Says: {ABSTRACTS[0]} ⚠ uncertain: confidence 0.35.",
        "- Suggestion for Method (0.21): Books every tool call.",
    ]


def test_other_framework_has_its_own_columns() -> None:
    other = other_framework()
    record = {**ITEMS[0].record, "a": "One.", "b": "Two.", "checks": {"support": {"a": 1.0}}}
    item = Annotated(ITEMS[0].paper, record)
    text, table = io.BytesIO(), io.BytesIO()
    write_csv(text, table_rows([item], other, "id"))
    write_parquet(table, [item], other, parquet_schema(other, "id"))
    assert text.getvalue().startswith(b"id,title,abstract,a,b\n")
    (row,) = pq.read_table(table).to_pylist()
    assert (row["a"], row["b"], row["support"]) == ("One.", "Two.", {"a": 1.0, "b": None})


def test_file_stays_open(tmp_path: Path) -> None:
    with (tmp_path / "out.parquet").open("wb") as file:
        write_parquet(file, ITEMS, NANDA, parquet_schema(NANDA, "arxiv_id"))
        assert not file.closed
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == len(ITEMS)


class Full(io.BytesIO):
    """A file on a disk with 2 kB of free space."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > 2000:
            raise OSError(28, "No space left on device")
        return super().write(data)


def test_full_disk_error_is_not_caught() -> None:
    many = tuple(annotated(number, ABSTRACTS[0]) for number in range(100))
    with pytest.raises(OSError, match="No space left"):
        write_csv(Full(), table_rows(many, NANDA, "arxiv_id"))
    with pytest.raises(OSError, match="No space left"):
        write_parquet(Full(), many, NANDA, parquet_schema(NANDA, "arxiv_id"))
    with pytest.raises(OSError, match="No space left"):
        write_jsonl(Full(), many)


def test_memory_does_not_grow_with_the_annotations(tmp_path: Path) -> None:
    one = annotated(1, "x" * 60_000)

    def many() -> Iterator[Annotated]:
        for number in range(400):
            yield Annotated(
                replace(one.paper, abstract=f"{number}{one.paper.abstract}"), one.record
            )

    with (tmp_path / "out").open("wb") as file:
        tracemalloc.start()
        try:
            write_csv(file, table_rows(many(), NANDA, "arxiv_id"))
            write_jsonl(file, many())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (tmp_path / "out").stat().st_size > 40_000_000
    assert peak < 3_000_000


def test_parquet_is_written_in_groups_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skills.corpus.tables.parquet_files.ROW_GROUP", 3)
    metadata = pq.read_metadata(as_parquet(ITEMS))
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [3, 1]
    assert metadata.row_group(0).column(0).compression == "ZSTD"


# Cells that a spreadsheet would evaluate as formulas

CELLS = {
    "=1+1": "'=1+1",
    '=HYPERLINK("http://localhost","x")': '\'=HYPERLINK("http://localhost","x")',
    "+cmd|' /C calc'!A0": "'+cmd|' /C calc'!A0",
    "-omics of cells": "'-omics of cells",
    "@SUM(A1)": "'@SUM(A1)",
    "\t=1": "'\t=1",
    "\r=1": "'\r=1",
    "'=1": "''=1",
    "''-x": "'''-x",
    "-": "'-",
    "--1": "'--1",
    "-0.3": "-0.3",
    "+1e-5": "+1e-5",
    "-5%": "-5%",
    "'-0.3": "''-0.3",
    "'quoted' words": "'quoted' words",
    "a = b": "a = b",
    "'": "'",
}
"""What is written, by the text."""


def test_cells_are_inert_and_are_read_as_they_were(tmp_path: Path) -> None:
    text, sheet = tmp_path / "t.csv", tmp_path / "t.xlsx"
    names = ("id", "title", "abstract", "=note")
    rows = [names, *((str(n), "", cell, cell) for n, cell in enumerate(CELLS))]
    for path, write in ((text, write_csv), (sheet, write_xlsx)):
        with path.open("wb") as file:
            write(file, rows)
        read = reader_of(path, Columns())
        assert read.header()[:3] == names[:3]
        assert [row["abstract"] for _, row in read.rows(())] == list(CELLS)
    with text.open(newline="", encoding="utf-8") as file:
        written = list(csv.reader(file))
    assert written[0][3] == "'=note"
    assert [row[2] for row in written[1:]] == list(CELLS.values())
    cells = CalamineWorkbook.from_path(sheet).get_sheet_by_index(0).to_python()
    assert [row[2] for row in cells[1:]] == list(CELLS.values())


@pytest.mark.parametrize(
    ("names", "text"), [(("id", "title", "abstract"), "=1"), (("id", "note", "abstract"), "'=1")]
)
def test_raw_cells_are_as_they_are(tmp_path: Path, names: tuple[str, ...], text: str) -> None:
    """A table with the columns of a saved one loses an apostrophe that looks like the mark."""
    for path, write in ((tmp_path / "t.csv", write_csv), (tmp_path / "t.xlsx", write_xlsx)):
        with path.open("wb") as file:
            write(file, [names, ("1", "", "=1+1"), ("2", "", "'=1")], raw=True)
        read = [row["abstract"] for _, row in reader_of(path, Columns()).rows(())]
        assert read == ["=1+1", text if write is write_csv else "=1"]


def test_other_formats_have_the_text_itself(tmp_path: Path) -> None:
    items = [annotated(number, abstract) for number, abstract in enumerate(CELLS)]
    with (tmp_path / "t.jsonl").open("wb") as lines, (tmp_path / "t.parquet").open("wb") as table:
        write_jsonl(lines, items)
        write_parquet(table, items, NANDA, parquet_schema(NANDA, "arxiv_id"))
    claims = [flatten(f"Says: {abstract}") for abstract in CELLS]
    read = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert [row["abstract"] for row in read] == list(CELLS)
    lines = (tmp_path / "t.jsonl").read_text().splitlines()
    assert [json.loads(line)["claim"] for line in lines] == claims


@pytest.mark.parametrize("names", [("id", "title", "abstract"), ("id", "abstract")])
def test_a_gold_table_is_rewritten_without_growing(tmp_path: Path, names: tuple[str, ...]) -> None:
    path = tmp_path / "gold.csv"
    rows = ((str(n), *[cell] * (len(names) + 7)) for n, cell in enumerate(CELLS))
    with path.open("wb") as file:
        write_csv(file, [(*names, *NANDA.names), *rows])
    before = path.read_bytes()
    for _ in range(2):
        with io.BytesIO() as file:
            read_gold(path, NANDA, "id").write_to(file)
            assert file.getvalue() == before
