"""Test spreadsheets: which sheet is read, what cells become, and hostile files."""

from __future__ import annotations

import datetime
import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from harness.errors import InputError, OutputError
from skills.corpus.table import Columns, TableRow, open_table
from skills.corpus.tables.spreadsheets import write_xlsx

ONE = "We present Ledger, which books every tool call of an agent."
OTHER = "We present Quarry, which digs facts out of old manuals."
Sheets = dict[str, dict[tuple[int, int], object]]
ODS = (
    '<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:spreadsheet>'
    '<table:table table:name="Papers">{}</table:table></office:spreadsheet></office:body>'
    "</office:document-content>"
)


def xlsx(path: Path, sheets: Sheets) -> Path:
    with xlsxwriter.Workbook(path, {"default_date_format": "yyyy-mm-dd"}) as book:
        for name, cells in sheets.items():
            sheet = book.add_worksheet(name)
            for (row, column), value in cells.items():
                sheet.write(row, column, value)
    return path


def table(*rows: Sequence[object], first: int = 0) -> dict[tuple[int, int], object]:
    """Return the cells of rows that begin in a row, counted from 0."""
    return {
        (first + number, column): value
        for number, row in enumerate(rows)
        for column, value in enumerate(row)
    }


def ods(path: Path, *rows: Sequence[str], attributes: str = "") -> Path:
    def cell(text: str) -> str:
        inner = f"<text:p>{text}</text:p>"
        return (
            f'<table:table-cell office:value-type="string"{attributes}>{inner}</table:table-cell>'
        )

    written = (f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in rows)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", ODS.format("".join(written)))
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
    return path


def rows(path: Path, notice: Callable[[str], None] = print, **options: Any) -> list[TableRow]:
    return list(open_table(path, notice=notice, **options).rows())


def refused(path: Path, columns: Columns | None = None) -> str:
    with pytest.raises(InputError) as caught:
        rows(path, columns=columns)
    assert caught.value.where is not None
    assert caught.value.where.startswith(str(path))
    return str(caught.value)


def test_cells_become_text(tmp_path: Path) -> None:
    header = ("arxiv_id", "Title", "abstract", "year", "published", "authors")
    day = datetime.date(2024, 5, 17)
    cells = table(header, ("2405.10", 1984, f" {ONE}", 2024, day, "A, B"), first=2)
    path = xlsx(tmp_path / "t.xlsx", {"Papers": cells | table(("", "", OTHER), first=5)})
    first, second = rows(path)
    paper = first.paper
    assert (paper.id, paper.title, paper.abstract) == ("2405.10", "1984", ONE)
    assert (paper.published, paper.authors) == ("2024-05-17", "A, B")
    assert (first.where, second.where) == (f"{path}, row 4", f"{path}, row 6")
    assert second.paper.abstract == OTHER


def test_number_is_no_id(tmp_path: Path) -> None:
    cells = table(("arxiv_id", "abstract"), (2405.1, ONE))
    message = refused(xlsx(tmp_path / "t.xlsx", {"Papers": cells}))
    assert "row 2" in message
    assert "as a number, 2405.10 is 2405.1" in message


def test_first_sheet_with_abstracts_is_read(tmp_path: Path) -> None:
    papers = table(("Titel", "Zusammenfassung"), ("T", ONE))
    sheets: Sheets = {"Empty": {}, "Notes": table(("Who", "What")), "Papers": papers}
    notices: list[str] = []
    path = xlsx(tmp_path / "t.xlsx", {**sheets, "More": papers})
    [row] = rows(path, notices.append)
    assert row.paper.abstract == ONE
    assert notices == [
        f"{path}: sheet 'Papers', abstract from 'Zusammenfassung', title from 'Titel'"
    ]
    assert [one.paper.abstract for one in rows(path, columns=Columns(abstract="what"))] == []
    message = refused(path, Columns(abstract="Text"))
    assert "no sheet has a column 'Text'" in message
    assert "'Notes' with Who, What; 'Papers' with Titel, Zusammenfassung" in message


def test_ods(tmp_path: Path) -> None:
    [row] = rows(ods(tmp_path / "t.ods", ("id", "Abstract"), ("7", ONE)))
    assert (row.paper.id, row.paper.abstract, row.where[-5:]) == ("7", ONE, "row 2")


def test_xls() -> None:
    [row] = rows(Path(__file__).with_name("papers.xls"))
    assert (row.paper.id, row.paper.abstract) == ("7", "An invented abstract of six words.")


@pytest.mark.parametrize("suffix", [".xlsx", ".ods", ".xls"])
@pytest.mark.parametrize("content", [b"id,abstract\n", b"PK\x03\x04 and no more", bytes(4096)])
def test_other_files(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"t{suffix}"
    path.write_bytes(content)
    assert "is not a readable spreadsheet" in refused(path)


def test_sheets_without_rows(tmp_path: Path) -> None:
    assert "has no rows" in refused(xlsx(tmp_path / "t.xlsx", {"One": {}, "Two": {}}))


def test_archive_that_unpacks_to_too_much(tmp_path: Path) -> None:
    path = xlsx(tmp_path / "t.xlsx", {"Papers": table(("abstract",))})
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("xl/more.xml", "w") as entry,
    ):
        for _ in range(51):
            entry.write(bytes(10_000_000))
    assert path.stat().st_size < 1_000_000
    assert "has more than 500 MB unpacked" in refused(path)


def test_cell_far_away_ends_the_other_process(tmp_path: Path) -> None:
    cells = table(("abstract",), (ONE,)) | {(1_048_575, 16_383): "x"}
    message = refused(xlsx(tmp_path / "t.xlsx", {"Papers": cells}))
    assert "needs more than 45 MB of memory; a cell may be far from the others" in message
    repeated = ' table:number-columns-repeated="2000000000"'
    assert "t.ods" in refused(ods(tmp_path / "t.ods", ("abstract",), (ONE,), attributes=repeated))


def test_texts_stay_texts(tmp_path: Path) -> None:
    texts = ("=1+1", "http://example.org", "2405.10", "1e5", "_x0041_", "<b>&amp;", " a\n\tb ")
    path = tmp_path / "t.xlsx"
    with path.open("wb") as file:
        write_xlsx(file, [("id", "abstract"), *((text, text) for text in texts)])
    assert [row.paper.abstract for row in rows(path)] == [text.strip() for text in texts]
    with zipfile.ZipFile(path) as archive:
        written = archive.read("xl/worksheets/sheet1.xml")
    assert b"<f>" not in written
    assert b"hyperlink" not in written
    with pytest.raises(OutputError, match="32,767 characters at most: row 2, '1'"):
        write_xlsx(io.BytesIO(), [("id", "abstract"), ("1", "x" * 40_000)])
