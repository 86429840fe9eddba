"""Test tables of papers: all formats, and invalid files."""

from __future__ import annotations

import csv
import datetime
import io
import itertools
import json
import os
import random
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from repository import SHARED
from table_bombs import BOMBS, GROWTH, read_in_child

from harness.errors import InputError
from skills.corpus.options import TABLES
from skills.corpus.table import READERS, Columns, TableRow, open_table, read_header
from skills.corpus.tables.parquet_files import ParquetReader
from skills.nanda.framework import nanda
from skills.nanda.paper import own_id

DATA = SHARED
ONE = "We present Ledger, which books every tool call of an agent."
OTHER = "We present Quarry, which digs facts out of old manuals."
NASTY = (
    "plain", 'a "quoted" word', "one,two", "semi;colon", "line\nbreak", "CR\rhere", "CRLF\r\nhere",
    "tab\there", '"', '""', "'", "\\", "é ü 中文 😀", "\u2028 separates", "\x0b\x0c", "$x_{i,j}$",
    "=1+1", "# not a heading", "{}", "null", "  inner   blanks  ", "\ufeff mark", "-",
)  # fmt: skip


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str | bytes], Path]:
    """Return a function that writes a file to the working directory and returns its path."""
    monkeypatch.chdir(tmp_path)

    def make(name: str, content: str | bytes) -> Path:
        data = content if isinstance(content, bytes) else content.encode()
        Path(name).write_bytes(data)
        return Path(name)

    return make


Write = Callable[[str, str | bytes], Path]


def rows(path: Path, **options: Any) -> list[TableRow]:
    return list(open_table(path, **options).rows())


def number(row: TableRow) -> int:
    return int(row.paper.source["row"])


def abstracts(path: Path, **options: Any) -> list[str]:
    return [row.paper.abstract for row in rows(path, **options)]


def refused(path: Path, columns: Columns | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        rows(path, columns=columns)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert not caught.value.message.endswith(".")
    return caught.value


# CSV


@pytest.mark.parametrize("name", ["gold_dev.csv", "gold_train_cs.csv", "pool.csv"])
def test_lesson_tables_equal_csv_module(name: str) -> None:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    with path.open(encoding="utf-8", newline="") as file:
        expected = list(csv.DictReader(file))
    table = open_table(path, moves=nanda().names)
    found = list(table.rows())
    assert table.id_column in ("arxiv_id", "paper_id")
    assert [row.paper.id for row in found] == [line[table.id_column] for line in expected]
    assert [row.paper.abstract for row in found] == [line["abstract"].strip() for line in expected]
    for row, line in zip(found, expected, strict=True):
        assert row.moves == {name: line[name] for name in nanda().names if name in line}
    assert not any(row.repeat for row in found)


def test_row_has_paper_and_position(write: Write) -> None:
    path = write(
        "papers.csv",
        "Notes, Title ,ABSTRACT,arXiv_ID,id,Authors,published,categories,claim\n"
        f'"two\nlines"," A\n title","{ONE}", 2405.10 ,7,"A, B",2024-05-17,cs.AI,Books calls.\n'
        f',,"  {OTHER} ",2405.2,8,,,,\n',
    )
    table = open_table(path, moves=("claim", "method"))
    first, second = table.rows()
    assert table.id_column == "arXiv_ID"
    assert read_header(path)[:4] == ("Notes", "Title", "ABSTRACT", "arXiv_ID")
    assert first.where == "papers.csv, line 2"
    assert (number(second), second.where) == (2, "papers.csv, line 5")
    paper = first.paper
    assert (paper.id_field, paper.id, paper.title) == ("arxiv_id", "2405.10", "A title")
    assert (paper.authors, paper.published, paper.categories) == ("A, B", "2024-05-17", "cs.AI")
    assert paper.source == {"kind": "table", "path": "papers.csv", "row": "1"}
    assert first.moves == {"claim": "Books calls."}
    assert (second.paper.abstract, second.moves) == (OTHER, {"claim": ""})


@pytest.mark.parametrize(
    ("header", "id_column", "id_field"),
    [
        ("id,paper_id,arxiv_id,abstract", "arxiv_id", "arxiv_id"),
        ("id,paper_id,abstract", "paper_id", "paper_id"),
        ("id,abstract", "id", "id"),
        ("doi,abstract", None, "id"),
    ],
)
def test_id_is_first_of_three_columns(
    write: Write, header: str, id_column: str | None, id_field: str
) -> None:
    cells = [f"{name}-1" for name in header.split(",")[:-1]]
    table = open_table(write("t.csv", f"{header}\n{','.join([*cells, ONE.replace(',', '')])}\n"))
    (row,) = table.rows()
    assert (table.id_column, row.paper.id_field) == (id_column, id_field)
    assert row.paper.id == (f"{id_column}-1" if id_column else own_id(row.paper.abstract))


def test_columns_named_by_option_take_precedence(write: Write) -> None:
    path = write("t.csv", f'abstract,id,title,Summary,DOI,name\nno,no,no,"{ONE}",10.1/x,Ledger\n')
    table = open_table(path, Columns(abstract="summary", id="doi", title="name"))
    (row,) = table.rows()
    assert table.id_column == "DOI"
    assert (row.paper.abstract, row.paper.title) == (ONE, "Ledger")
    assert (row.paper.id_field, row.paper.id) == ("id", "10.1/x")


@pytest.mark.parametrize(
    ("columns", "missing", "option"),
    [
        (Columns(), "'abstract'", "--abstract-column"),
        (Columns(abstract="text"), "'text'", "--abstract-column"),
        (Columns(abstract="body", id="doi"), "'doi'", "--id-column"),
        (Columns(abstract="body", title="name"), "'name'", "--title-column"),
    ],
)
def test_missing_column_is_reported_with_those_present(
    write: Write, columns: Columns, missing: str, option: str
) -> None:
    error = refused(write("t.csv", f'paper_id,body\n1,"{ONE}"\n'), columns)
    assert error.message == f"has no column {missing}"
    assert error.hint == f"The columns are paper_id, body; `{option} NAME` selects a column."
    assert error.where == "t.csv"


def test_long_names_are_shortened_in_messages(write: Write) -> None:
    names = ",".join(f"c{i}" for i in range(30))
    error = refused(write("t.csv", f'"{ONE * 9}",{names}\n'))
    assert len(str(error)) < 400


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("abstract,id,id", "both 'id' and 'id' match the column id"),
        ("Abstract,ABSTRACT,id", "both 'Abstract' and 'ABSTRACT' match the column abstract"),
    ],
)
def test_ambiguous_columns_are_rejected(write: Write, header: str, message: str) -> None:
    assert message in refused(write("t.csv", f"{header}\na,b,c\n")).message


def test_exact_column_name_takes_precedence(write: Write) -> None:
    assert abstracts(write("t.csv", f'Abstract,abstract\nno,"{ONE}"\n')) == [ONE]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_separators_and_byte_order_mark(
    write: Write, end: str, separator: str, mark: str
) -> None:
    lines = [
        separator.join(("id", '"abstract"', "title")),
        separator.join(("1", f'"{ONE}"', "a:b")),
        separator.join(("2", f'"{OTHER}{end}{ONE}"', "x")),
        "",
        "   ",
    ]
    path = write("t.csv", mark + end.join(lines) + end)
    assert [row.where for row in rows(path)] == ["t.csv, line 2", "t.csv, line 3"]
    assert [row.paper.id for row in rows(path)] == ["1", "2"]
    assert abstracts(path) == [ONE, f"{OTHER}{end}{ONE}"]


def test_quoted_comma_does_not_hide_semicolons(write: Write) -> None:
    path = write("t.csv", f'"note, long";abstract;id\nx;{ONE};1\n')
    assert [row.paper.id for row in rows(path)] == ["1"]
    assert abstracts(write("t.tsv", f"abstract\n{ONE}; and, more\n")) == [f"{ONE}; and, more"]


def test_blank_lines_and_unnamed_columns(write: Write) -> None:
    path = write("t.csv", f'\n\n,abstract,\n0,"{ONE}",\n')
    table = open_table(path)
    assert read_header(path) == ("abstract",)
    assert [row.where for row in table.rows()] == ["t.csv, line 4"]


def test_csv_cells_round_trip(write: Write) -> None:
    draw = random.Random(7)
    expected = [
        (str(number), "".join(draw.choices(NASTY, k=5)), "".join(draw.choices(NASTY, k=3)))
        for number in range(400)
    ]
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        buffer = io.StringIO(newline="")
        out = csv.writer(buffer, quoting=quoting, lineterminator="\r\n")
        out.writerows([("id", "abstract", "claim"), *expected])
        found = rows(write("t.csv", buffer.getvalue()), moves=("claim",))
        assert [(row.paper.id, row.paper.abstract, row.moves["claim"]) for row in found] == [
            (number, text.strip(), claim) for number, text, claim in expected
        ]


def test_long_abstract_is_read(write: Write) -> None:
    text = "word " * 60_000 + "end"
    assert abstracts(write("t.csv", f"id,abstract\n1,{text}\n")) == [text]


@pytest.mark.parametrize(
    ("content", "where", "message"),
    [
        ("id,abstract\n1,a\n2,b,c\n", "t.csv, line 3", "has 3 fields, and the header has 2"),
        ('id,abstract,x\n1,"a\nb",x\n2\n', "t.csv, line 4", "has 1 field, and the header has 3"),
        ('id,abstract\n1,a\n2,"b\n3,c\n4,d\n', "t.csv, line 3", "is not valid CSV"),
        ('id,abstract\n1,"a"b\n', "t.csv, line 2", "is not valid CSV"),
        ("id,abstract\n1,a\0b\n", "t.csv, line 2", "contains a NUL character"),
        (",,\n1,2,3\n", "t.csv", "has no header"),
        ("\n \n", "t.csv", "has no header"),
        ("\n\n", "t.csv", "has no header"),
        ("", "t.csv", "is empty"),
        ("é,abstract\n1,a\n2,caf".encode() + b"\xe9\n", "t.csv, line 3", "(byte 21 is 0xe9)"),
        ("é,abstract\r1,a\r2,caf".encode() + b"\xe9\r", "t.csv, line 3", "(byte 21 is 0xe9)"),
        ("é,abstract\r\n1,a\r2,".encode() + b"\xe9\r", "t.csv, line 3", "(byte 19 is 0xe9)"),
        ("é,abstract\r1,a\n2,caf".encode() + b"\xe9\n", "t.csv, line 3", "(byte 21 is 0xe9)"),
        ("é,abstract\n1,caf".encode() + b"\xc3", "t.csv, line 2", "(byte 17 is 0xc3)"),
        (b"id,abstract\n1,\x81\n", "t.csv", "is neither UTF-8 nor Windows-1252 text"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "t.csv", "is a binary file"),
    ],
)
def test_invalid_csv(write: Write, content: str | bytes, where: str, message: str) -> None:
    error = refused(write("t.csv", content))
    assert error.where == where
    assert message in error.message


@pytest.mark.parametrize(
    ("encoding", "separator", "assumed"),
    [
        ("utf-8", ",", ""),
        ("utf-8-sig", ";", "columns separated by ';'"),
        ("utf-8", "\t", "columns separated by tabs"),
        ("cp1252", ";", "read as Windows-1252, columns separated by ';'"),
        ("utf-16", "\t", "read as UTF-16, columns separated by tabs"),
        ("utf-16-le", ",", "read as UTF-16"),
        ("utf-16-be", ",", "read as UTF-16"),
    ],
)
def test_tables_as_spreadsheets_save_them(
    write: Write, encoding: str, separator: str, assumed: str
) -> None:
    text = f"id{separator}abstract\n1{separator}“Größe” books every call\n"
    notices: list[str] = []
    (row,) = open_table(write("t.csv", text.encode(encoding)), notice=notices.append).rows()
    assert row.paper.abstract == "“Größe” books every call"
    assert notices == [f"t.csv: {assumed}"] * bool(assumed)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_first_line_names_the_separator(write: Write, separator: str) -> None:
    lines = f"sep={separator}", f"id{separator}abstract", f'1{separator}"{ONE}"', "ragged"
    text = "\r\n".join(lines)
    first, second = open_table(write("t.csv", text)).rows_or_errors()
    assert isinstance(first, TableRow)
    assert first.paper.abstract == ONE
    assert isinstance(second, InputError)
    assert second.where == "t.csv, line 4"


@pytest.mark.parametrize(
    ("header", "guesses"),
    [
        (
            "Title;Abstract;Author(s);Year;Journal",
            ["published from 'Year'", "venue from 'Journal'"],
        ),
        ("Titel;ZUSAMMENFASSUNG;Autor(en);Jahr;Zeitschrift", ["from 'ZUSAMMENFASSUNG'"]),
        ("Titre;Resume;Auteurs;Année;Revue", ["abstract from 'Resume'", "title from 'Titre'"]),
        ("Título;Resumen;Autores;Año;Revista", ["abstract from 'Resumen'"]),
        ("Titolo;Riassunto;Autori;Anno;Rivista", ["abstract from 'Riassunto'"]),
        ("Título;Resumo;Autores;Ano;Revista", ["abstract from 'Resumo'"]),
        ("Titel;Samenvatting;Auteurs;Jaar;Tijdschrift", ["abstract from 'Samenvatting'"]),
        ("Tytuł;Streszczenie;Autorzy;Rok;Czasopismo", ["abstract from 'Streszczenie'"]),
        ("标题;摘要;作者;年份;期刊", ["abstract from '摘要'"]),
        ("タイトル;要旨;著者;年;雑誌", ["abstract from '要旨'"]),
        ("Title;Abstract Note;Author;Publication Year;Publication Title", ["'Abstract Note'"]),
        ("TI;AB;AU;PY;SO", ["abstract from 'AB'", "venue from 'SO'"]),
    ],
)
def test_headings_of_reference_managers(write: Write, header: str, guesses: list[str]) -> None:
    notices: list[str] = []
    path = write("t.csv", f"{header}\nT;{ONE};A. One;2024;J\n")
    (row,) = open_table(path, notice=notices.append).rows()
    paper = row.paper
    assert (paper.title, paper.abstract, paper.authors) == ("T", ONE, "A. One")
    assert (paper.published, paper.source["venue"]) == ("2024", "J")
    (notice,) = notices
    assert all(guess in notice for guess in guesses)
    assert "'Title'" not in notice


def test_columns_that_are_not_used_are_named_once(write: Write) -> None:
    header = "Key,DOI,Notes,Summary,Zusammenfassung,Abstract,Date,Year,claim,confidence"
    path = write("t.csv", f"{header}\nK,10.1234/x,n,no,no,{OTHER.split(',')[0]},May,2024,c,1\n")
    notices: list[str] = []
    (row,) = open_table(path, moves=("claim", "summary"), notice=notices.append).rows()
    assert (row.paper.source["doi"], row.paper.published) == ("10.1234/x", "2024")
    assert notices == [
        "t.csv: published from 'Year'",
        "t.csv: columns that are not used: Key, Notes, Zusammenfassung, Date",
    ]
    open_table(path, Columns(abstract="zusammenfassung"), notice=notices.append)
    assert notices[2] == "t.csv: published from 'Year'"
    error = refused(write("zh.csv", "题目,摘要\n".encode("gb18030")))
    assert error.where == "zh.csv (read as Windows-1252)"
    many = ",".join(f"column {number}" for number in range(90))
    open_table(write("t.csv", f"abstract,{many}\n"), notice=notices.append)
    assert len(notices[-1]) < 400


@pytest.mark.parametrize("content", ["id,abstract\n", "id,abstract"])
def test_header_without_rows(write: Write, content: str) -> None:
    assert rows(write("t.csv", content)) == []


def test_invalid_byte_far_into_the_file_is_located(write: Write) -> None:
    lines = [f"{i},an abstract “with” some words in it\n".encode() for i in range(2000)]
    error = refused(write("t.csv", b"id,abstract\n" + b"".join(lines) + b"x,\xff\n"))
    assert error.where == "t.csv, line 2002"
    assert error.hint == "Save the file as UTF-8."


# Files and folders


def test_help_names_the_tables() -> None:
    readers = ("CsvReader", "SheetReader", "JsonlReader", "ParquetReader")
    suffixes = [suffix for suffix, reader in READERS.items() if reader.endswith(readers)]
    assert re.findall(r"\.\w+", TABLES) == suffixes


def test_files_that_are_not_tables(write: Write, tmp_path: Path) -> None:
    Path("folder.csv").mkdir()
    assert "is a folder without .parquet" in refused(Path("folder.csv")).message
    assert refused(Path("none.csv")).message == "there is no such file"
    assert refused(Path("~nobody-of-this-name/t.csv")).message == "there is no such home folder"
    assert "cannot be read" in refused(Path("x\0.csv")).message
    assert "cannot read a table from .docx" in refused(write("t.docx", "x")).message
    os.mkfifo("pipe.csv")
    assert refused(Path("pipe.csv")).message == "is not a regular file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_read_permission(write: Write) -> None:
    path = write("t.csv", "id,abstract\n1,a\n")
    path.chmod(0)
    assert "cannot be read (Permission denied)" in refused(path).message


def test_suffix_in_capitals_and_home_folder(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("T.CSV", f'abstract\n"{ONE}"\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    assert abstracts(Path("~/T.CSV")) == [ONE]


# Ids and repeats


def test_rows_without_id_get_an_id_from_the_abstract(write: Write) -> None:
    first, second = rows(write("t.csv", f'arxiv_id,abstract\n,"{ONE}"\n2405.1,"{OTHER}"\n'))
    assert (first.paper.id_field, first.paper.id) == ("id", own_id(ONE))
    assert (second.paper.id_field, second.paper.id) == ("arxiv_id", "2405.1")


def test_id_from_abstract_round_trip(write: Write) -> None:
    (row,) = rows(write("t.csv", f'arxiv_id,abstract\n{own_id(ONE)},"{ONE}"\n'))
    assert (row.paper.id_field, row.paper.id) == ("id", own_id(ONE))


def test_repeats_and_empty_rows_are_marked(write: Write) -> None:
    broken = ONE.replace(" ", "\n", 1)
    path = write(
        "t.csv",
        f'id,abstract\n1,"{ONE}"\n2,\n1,"{broken}"\n3,"{OTHER}"\n,\n,  \n1,"{ONE}"\n,"{ONE}"\n',
    )
    table = open_table(path)
    for _ in range(2):
        assert [number(row) for row in table.rows() if row.repeat] == [3, 7]
        assert [number(row) for row in table.rows() if not row.paper.abstract] == [2, 5, 6]


def test_one_id_for_two_abstracts_is_rejected(write: Write) -> None:
    path = write("t.csv", f'id,abstract\n1,\n1,"{ONE}"\n2,"{ONE}"\n1,"{OTHER}"\n')
    error = refused(path)
    assert (error.where, error.message) == (
        "t.csv, line 5",
        "has the id 1 of line 3, but another abstract",
    )


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2401.00001", "2401.00001"),
        ("2401.00001v12", "2401.00001"),
        ("arXiv:2401.00001", "2401.00001"),
        ("arXiv: 2401.00001v1", "2401.00001"),
        ("https://arxiv.org/abs/2401.00001v2", "2401.00001"),
        ("http://www.arxiv.org/pdf/2401.00001v2.pdf", "2401.00001"),
        ("2401.00001v1 [cs.CL]", "2401.00001"),
        ("arXiv:2401.00001v1 [cs.CL] 2 Jan 2024", "2401.00001"),
        ("https://arxiv.org/abs/2401.00001v1?context=cs#S2", "2401.00001"),
        ("cs/0112017v3", "cs/0112017"),
        ("math.GT/0309136", "math.GT/0309136"),
        ("2401.00001 and 2401.00002", "2401.00001 and 2401.00002"),
        ("2401.00001vision", "2401.00001vision"),
        ("2413.00001v1", "2413.00001v1"),
        ("10.1/x", "10.1/x"),
    ],
)
def test_arxiv_id_is_read_without_version(write: Write, written: str, read: str) -> None:
    (row,) = rows(write("t.csv", f'arxiv_id,abstract\n{written},"{ONE}"\n'))
    assert (row.paper.id_field, row.paper.id) == ("arxiv_id", read)
    assert row.paper.source.get("arxiv_id", read) == written
    (row,) = rows(write("t.csv", f'paper_id,abstract\n{written},"{ONE}"\n'))
    assert (row.paper.id, "arxiv_id" in row.paper.source) == (written, False)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2024-05-17", "2024-05-17"),
        ("2024-05-17T01:57:12Z", "2024-05-17"),
        ("2024/5/7", "2024-05-07"),
        ("2024.05", "2024-05"),
        ("20240517", "2024-05-17"),
        ("202405", "2024-05"),
        ("2024.0", "2024"),
        ("2024", "2024"),
        ("2024-2025", "2024"),
        ("2024/17/05", "2024"),
        ("2024-05/17", "2024-05"),
        ("17 May 2024", "17 May 2024"),
        ("1715904000", "1715904000"),
        ("", ""),
    ],
)
def test_partial_dates(write: Write, written: str, read: str) -> None:
    (row,) = rows(write("t.csv", f'published,abstract\n{written},"{ONE}"\n'))
    assert row.paper.published == read


def test_two_versions_in_one_table_are_one_paper(write: Write) -> None:
    one = f'arxiv_id,abstract\n2401.00001v1,"{ONE}"\n'
    same = rows(write("t.csv", f'{one}arXiv:2401.00001,"{ONE}"\n'))
    assert [row.repeat for row in same] == [False, True]
    error = refused(write("t.csv", f'{one}2401.00001v2,"{OTHER}"\n'))
    assert (error.where, error.message) == (
        "t.csv, line 3",
        "has the id 2401.00001 of line 2, but another abstract",
    )
    assert "Versions of an arXiv paper count as one" in str(error.hint)


def test_limit_counts_rows_and_stops_reading(write: Write) -> None:
    path = write("t.csv", f'id,abstract\n1,\n2,"{ONE}"\n3,"{OTHER}",ragged\n')
    assert abstracts(path, limit=2) == ["", ONE]
    assert refused(path).where == "t.csv, line 4"


def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with path.open("w") as file:
        file.write("id,abstract\n")
        file.writelines(f"{number},{'x' * 60_000}{number}\n" for number in range(200))
    assert path.stat().st_size > 10_000_000
    tracemalloc.start()
    try:
        for _ in open_table(path).rows():
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000


# JSON Lines


def test_json_lines(write: Write) -> None:
    path = write(
        "t.jsonl",
        '{"arxiv_id": 2405.10, "abstract": "One\\nabstract.", "year": 3}\n\n'
        '{"abstract": null, "arxiv_id": "2405.2", "title": " T\\u0000 x", "authors": ["A", "B"]}'
        "\r\n"
        '{"abstract": "Half \\ud800 and \\u0000.", "arxiv_id": 7, "published": 2024, '
        '"authors": [{"name": "C"}, {"name": "D"}], "categories": {"a": 1}, "title": NaN}',
    )
    table = open_table(path)
    one, two, three = table.rows()
    assert read_header(path) == ("arxiv_id", "abstract", "year", "title", "authors", "published",
                             "categories")  # fmt: skip
    assert [row.where for row in (one, two, three)] == [f"t.jsonl, line {n}" for n in (1, 3, 4)]
    assert (one.paper.id, one.paper.abstract, one.paper.title) == ("2405.10", "One\nabstract.", "")
    assert (two.paper.abstract, two.paper.title, two.paper.authors) == ("", "T x", "A, B")
    assert (three.paper.id, three.paper.authors, three.paper.published) == ("7", "C, D", "2024")
    assert three.paper.abstract == "Half \N{REPLACEMENT CHARACTER} and  ."
    assert (three.paper.categories, three.paper.title) == ("", "")


def test_json_strings_round_trip(write: Write) -> None:
    for ascii_only in (True, False):
        lines = (
            json.dumps({"id": str(i), "abstract": f"x{text}x"}, ensure_ascii=ascii_only)
            for i, text in enumerate(NASTY)
        )
        assert abstracts(write("t.jsonl", "\n".join(lines))) == [f"x{text}x" for text in NASTY]


@pytest.mark.parametrize(
    ("line", "where", "message"),
    [
        ('{"abstract": "x"', "t.jsonl, line 2, column 17", "is not JSON"),
        (' {"abstract": x}', "t.jsonl, line 2, column 15", "is not JSON"),
        ("[1]", "t.jsonl, line 2", "is not a JSON object"),
        ("3", "t.jsonl, line 2", "is not a JSON object"),
        ("null", "t.jsonl, line 2", "is not a JSON object"),
        ('{"abstract": ["x"]}', "t.jsonl, line 2", "'abstract' is a list, not text"),
        ('{"abstract": {"x": 1}}', "t.jsonl, line 2", "'abstract' is an object, not text"),
        ('{"abstract": "x", "id": true}', "t.jsonl, line 2", "'id' is true or false"),
    ],
)
def test_invalid_json_lines(write: Write, line: str, where: str, message: str) -> None:
    error = refused(write("t.jsonl", f'{{"id": 1, "abstract": "a"}}\n{line}\n'))
    assert error.where == where
    assert message in error.message


def test_json_list_is_rejected_with_a_hint(write: Write) -> None:
    error = refused(write("t.jsonl", '[\n{"abstract": "x"}\n]\n'))
    assert error.where == "t.jsonl, line 1, column 2"
    assert error.hint == "Write one JSON object per line."
    assert refused(write("t.jsonl", "\n \n")).message == "has no rows"
    assert str(refused(write("t.jsonl", '{"\\ud800": 1}'))).encode()


# Parquet


def parquet(columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), "t.parquet", **options)
    return Path("t.parquet")


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
)
def test_parquet_string_types(write: Write, kind: pa.DataType) -> None:
    texts = [f"{text} {number}" for number in range(30) for text in NASTY]
    path = parquet(
        {
            "Title": pa.array(["T", *[None] * (len(texts) - 1)], kind),
            "abstract": pa.array(texts, kind),
            "paper_id": pa.array([str(i) for i in range(len(texts))], kind),
            "claim": pa.array([None] * len(texts), pa.null()),
        },
        row_group_size=100,
    )
    table = open_table(path, moves=("claim",))
    found = list(table.rows())
    assert [row.paper.abstract for row in found] == [text.strip() for text in texts]
    assert [row.paper.id for row in found] == [str(i) for i in range(len(texts))]
    assert (found[0].paper.title, found[1].paper.title) == ("T", "")
    assert found[0].moves == {"claim": ""}
    assert found[-1].where == f"t.parquet, row {len(texts)}"


def test_parquet_lists_and_dates_become_text(write: Write) -> None:
    stamp = datetime.datetime(2024, 5, 17, 9, 30, 1, 5, tzinfo=datetime.UTC)
    for published, text in (
        (pa.array([stamp], pa.timestamp("ns", "America/New_York")), "2024-05-17"),
        (pa.array([stamp.date()], pa.date32()), "2024-05-17"),
        (pa.array([2024], pa.int16()), "2024"),
        (pa.array([None], pa.timestamp("us")), ""),
        (pa.array([float("nan")]), ""),
        (pa.array([b"x"]), ""),
    ):
        path = parquet(
            {
                "abstract": [ONE],
                "id": pa.array([12], pa.uint32()),
                "authors": [["A", "B", None]],
                "categories": [[{"name": "cs.AI"}]],
                "published": published,
                "embedding": [[0.1, 0.2]],
                "a.b": ["dotted"],
            }
        )
        (row,) = rows(path, columns=Columns(title="a.b"))
        assert (row.paper.id, row.paper.authors, row.paper.categories, row.paper.title) == (
            "12", "A, B", "cs.AI", "dotted",
        )  # fmt: skip
        assert row.paper.published == text
        assert row.paper.year == (2024 if text else None)


def test_parquet_columns_that_are_not_text(write: Write) -> None:
    error = refused(parquet({"abstract": [ONE], "arxiv_id": [2405.10]}))
    assert error.message == "'arxiv_id' is a decimal number, not text"
    assert error.where == "t.parquet, row 1"
    assert error.hint == "Save ids as text: as a number, 2405.10 is 2405.1."
    error = refused(parquet({"abstract": [[ONE]]}))
    assert error.message == "'abstract' is a list, not text"


def test_invalid_and_damaged_parquet(write: Write) -> None:
    assert "is not a Parquet file" in refused(write("t.parquet", "PAR1 and not more")).message
    whole = parquet({"abstract": [f"{ONE} {i}" for i in range(3000)]}, row_group_size=1000)
    data = whole.read_bytes()
    assert "is not a Parquet file" in refused(write("u.parquet", data[: len(data) // 2])).message
    page = pq.ParquetFile(whole).metadata.row_group(1).column(0).data_page_offset
    damaged = data[:page] + b"\xff" * 2000 + data[page + 2000 :]
    error = refused(write("v.parquet", damaged))
    assert error.where == "v.parquet, row 1001"  # the first row of the row group
    assert "some of the rows from here on cannot be read" in error.message
    assert rows(parquet({"abstract": pa.array([], pa.string())})) == []


def test_parquet_text_that_is_not_utf8_is_rejected(write: Write) -> None:
    bad = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
    )
    error = refused(parquet({"abstract": bad}))
    assert error.where == "t.parquet, row 1"


def test_rows_are_read_lazily(write: Write) -> None:
    lines = itertools.chain(["id,abstract\n"], (f'{i},"{ONE}"\n' for i in range(9000)))
    path = write("t.csv", "".join(lines) + "ragged\n")
    found = open_table(path).rows()
    assert [number(next(found)) for _ in range(3)] == [1, 2, 3]


# Rows with a huge content, or without an end

LONG = 1_600_000


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("t.csv", f"id,abstract\n1,{'x' * LONG}\n", "t.csv, line 2"),
        ("t.csv", 'id,abstract\n1,"' + "a line\n" * (LONG // 7), "t.csv, line 2"),
        ("t.csv", b"id,abstract\n" + bytes(LONG), "t.csv, line 2"),
        ("t.jsonl", '{"abstract": "%s"}' % ("x" * LONG), "t.jsonl, line 1"),
        ("t.ris", "TY  - JOUR\n" + "AB  - a line\n" * (LONG // 12), "t.ris, line 1"),
        ("t.nbib", "PMID- 1\n" + "AB  - a line\n" * (LONG // 12), "t.nbib, line 1"),
        ("t.bib", "@misc{a,\ntitle = {\n" + "a line\n" * (LONG // 7), "t.bib, line 1"),
        (
            "t.bib",
            '@string{m0 = "x"}\n'
            + "".join(f"@string{{m{n} = m{n - 1} # m{n - 1}}}\n" for n in range(1, 41))
            + "@misc{a, title = m40}\n",
            "t.bib, line 21",
        ),
        ("t.json", '[{"type": "book"},\n{"type": "%s"}]' % ("x" * LONG), "t.json, item 2"),
    ],
)
def test_a_row_that_is_too_long_is_refused_with_its_place(
    write: Callable[[str, str | bytes], Path], name: str, content: str | bytes, where: str
) -> None:
    with pytest.raises(InputError, match="has more than 1,500,000 characters") as raised:
        list(open_table(write(name, content), abstract_by="id").rows_or_errors())
    assert raised.value.where == where


def test_a_macro_that_expands_in_one_entry_refuses_that_entry(
    write: Callable[[str, str | bytes], Path],
) -> None:
    macro = f"@string{{m = {{{'x' * 1000}}}}}\n"
    entries = f"@misc{{a, title = {'m # ' * 2000} m}}\n@misc{{b, abstract = {{{ONE}}}}}\n"
    expanded, good = open_table(write("t.bib", macro + entries)).rows_or_errors()
    assert isinstance(expanded, InputError)
    assert expanded.where == "t.bib, line 2"
    assert isinstance(good, TableRow)


def test_a_line_of_json_has_a_limited_number_of_values(
    write: Callable[[str, str | bytes], Path],
) -> None:
    lines = json.dumps({"abstract": ONE, "y": [{}] * 60_000}), json.dumps({"abstract": OTHER})
    refused, good = open_table(write("t.jsonl", "\n".join(lines))).rows_or_errors()
    assert isinstance(refused, InputError)
    assert refused.where == "t.jsonl, line 1"
    assert isinstance(good, TableRow)


@pytest.mark.parametrize("wrapper", ["%s", '{"total": 3, "items": %s}'])
def test_csl_json_is_read_in_blocks(
    write: Callable[[str, str | bytes], Path], wrapper: str
) -> None:
    items = [
        {"type": "book", "id": str(n), "abstract": f"{ONE} {'x' * length}"}
        for n, length in enumerate([10, 63_900, 64_100, 300_000, 1, 900_000, 5])
    ]
    for indent in (None, 2):
        path = write("t.json", wrapper % json.dumps(items, indent=indent))
        assert [row.paper.abstract for row in open_table(path).rows()] == [
            item["abstract"] for item in items
        ]
    path.write_text(wrapper % json.dumps(items, indent=2).replace('"id": "6"', '"id": x'))
    with pytest.raises(InputError, match="is not JSON") as raised:
        open_table(path)
    assert raised.value.where == "t.json, line 34, column 11"


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        ("abstract", [f"{n} {'x' * 1_000_000}" for n in range(9)]),
        ("abstract", ["x" * 9_000_000]),
        ("authors", [["x"] * 4_000_000]),
        ("authors", [["x" * 500_000] * 60]),
    ],
)
def test_a_parquet_page_that_is_too_large_is_refused(
    tmp_path: Path, column: str, texts: list[object]
) -> None:
    columns = {"abstract": [ONE] * len(texts), column: texts}
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns), path, compression="zstd", data_page_size=1 << 30)
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match=f"'{column}.*' of row group 1 is unpacked"):
        list(open_table(path).rows())


def test_parquet_values_are_as_pyarrow_reads_them(tmp_path: Path) -> None:
    """Texts that a file stores once are read as dictionaries."""
    columns = {
        "abstract": pa.array([ONE, None, OTHER, ONE]),
        "large": pa.array(["a", None, "", "a"], pa.large_string()),
        "lists": pa.array([["a", None], None, [], ["b"]]),
        "objects": pa.array([{"name": "a", "n": [1]}, None, {"name": None, "n": None}, {}]),
        "nested": pa.array([[{"name": "a"}, None], [], None, [{"name": "b"}]]),
        "bytes": pa.array([b"a", None, b"", b"b"]),
        "numbers": pa.array([1.5, None, 2.0, 3.0]),
        "times": pa.array([datetime.datetime(2024, 5, 1), None, None, None], pa.timestamp("us")),
    }
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=3)
    rows = [row for _, row in ParquetReader(path).rows(tuple(columns))]
    assert rows == pq.read_table(path).to_pylist()


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_take_little_memory(name: str, tmp_path: Path) -> None:
    BOMBS[name](tmp_path / name, random.Random(1))
    grown, message = read_in_child(tmp_path / name)
    assert grown < GROWTH
    assert name in message or name == "dictionary.parquet"
