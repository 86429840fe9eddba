"""Several Parquet files are one table: a folder, or a pattern."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.errors import InputError, UsageError
from skills.corpus.table import TableRow, open_table, read_header, refuse_targets

TEXT = "We present method {0} for the task of sorting papers."


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder "papers" with two files, written in the other order, in the current folder."""
    monkeypatch.chdir(tmp_path)
    write("papers/b.parquet", 3, 4, 5)
    write("papers/a.parquet", 1, 2)
    return Path("papers")


def write(name: str, *numbers: int, **columns: Any) -> Path:
    path = Path(name)
    path.parent.mkdir(exist_ok=True, parents=True)
    texts = [TEXT.format(number) for number in numbers]
    known = {"id": [f"p{number}" for number in numbers], "abstract": texts}
    pq.write_table(pa.table({**known, **columns}), path)
    return path


def ids(path: Path | str, **options: Any) -> list[str]:
    return [row.paper.id for row in open_table(Path(path), **options).rows()]


def refused(path: Path | str) -> InputError:
    with pytest.raises(InputError) as caught:
        ids(path)
    return caught.value


@pytest.mark.parametrize("name", ["papers", "papers/", "papers/*.parquet", "p*/[ab].parquet"])
def test_a_folder_or_pattern_is_one_table_in_the_order_of_names(folder: Path, name: str) -> None:
    assert ids(name) == ["p1", "p2", "p3", "p4", "p5"]
    assert ids(name, limit=3) == ["p1", "p2", "p3"]
    assert read_header(Path(name)) == ("id", "abstract")


def test_a_folder_may_be_named_as_a_file(folder: Path) -> None:
    assert ids(folder.rename("papers.parquet")) == ["p1", "p2", "p3", "p4", "p5"]


def test_a_row_is_located_in_its_file(folder: Path) -> None:
    row = list(open_table(folder).rows())[3]
    assert row.where == "papers/b.parquet, row 2"
    assert row.paper.source == {"kind": "table", "path": "papers/b.parquet", "row": "2"}


def test_what_is_not_a_part_is_left_out_of_a_folder(folder: Path) -> None:
    (folder / "_SUCCESS").touch()
    for name in ("_metadata.parquet", ".b.parquet.tmp", ".hidden.parquet", "notes.txt"):
        (folder / name).write_text("not whole")
    (folder / "sub.parquet").mkdir()
    assert ids(folder) == ["p1", "p2", "p3", "p4", "p5"]


def test_a_pattern_may_match_folders(folder: Path) -> None:
    write("papers/deep/c.parquet", 6)
    assert ids("papers/**/*.parquet") == ["p1", "p2", "p3", "p4", "p5", "p6"]
    assert ids(Path("papers/*.parquet").absolute()) == ["p1", "p2", "p3", "p4", "p5"]


def test_a_file_with_the_name_of_a_pattern_is_itself(folder: Path) -> None:
    assert ids(write("papers/[ab].parquet", 9)) == ["p9"]


def test_a_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    assert ids("~/papers") == ids("~/papers/*.parquet") == ids(folder)


def test_rows_that_repeat_rows_of_other_files(folder: Path) -> None:
    write("papers/c.parquet", 2, 6, id=["p2", "p1"])
    repeated, clash = list(open_table(folder).rows_or_errors())[5:]
    assert isinstance(repeated, TableRow)
    assert repeated.repeat
    assert isinstance(clash, InputError)
    assert clash.where == "papers/c.parquet, row 2"
    assert clash.message == "has the id p1 of row 1 of papers/a.parquet, but another abstract"


def test_a_column_may_be_empty_in_one_file_and_columns_in_any_order(folder: Path) -> None:
    write("other/a.parquet", 1, title=pa.nulls(1))
    table = pa.table({"title": ["T"], "abstract": [TEXT.format(2)], "id": ["p2"]})
    pq.write_table(table, "other/b.parquet")
    assert [row.paper.title for row in open_table(Path("other")).rows()] == ["", "T"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"title": ["One"]}, "has another column 'title': papers/a.parquet differs"),
        ({"id": [6]}, "has int64 in the column 'id', and papers/a.parquet has string"),
    ],
)
def test_files_with_other_columns(folder: Path, columns: Any, message: str) -> None:
    write("papers/c.parquet", 6, **columns)
    error = refused(folder)
    assert (error.where, error.message) == ("papers/c.parquet", message)


def test_a_file_that_lacks_a_column(folder: Path) -> None:
    pq.write_table(pa.table({"id": ["p6"]}), "papers/c.parquet")
    assert "lacks the column 'abstract'" in refused(folder).message


def test_a_file_that_is_not_whole(folder: Path) -> None:
    whole = (folder / "b.parquet").read_bytes()
    (folder / "b.parquet").write_bytes(whole[:-20])
    error = refused(folder)
    assert error.where == "papers/b.parquet"
    assert "is not a Parquet file" in error.message
    (folder / "b.parquet").write_bytes(b"")
    assert (refused(folder).where, refused(folder).message) == ("papers/b.parquet", "is empty")


def test_nothing_to_read(folder: Path) -> None:
    Path("empty").mkdir()
    assert "is a folder without .parquet and .pdf files" in refused("empty").message
    assert refused("none/*.parquet").message == "no file matches this pattern"
    assert refused("none").message == "there is no such file"
    Path("LICENSE").write_text("MIT")
    assert refused("LICENSE").message == "cannot read a table from a file without a suffix"


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("papers", "papers/new.parquet"),
        ("papers", "papers/a.parquet"),
        ("papers/*.parquet", "papers/new.parquet"),
    ],
)
def test_a_target_that_would_become_a_part(folder: Path, name: str, target: str) -> None:
    with pytest.raises(UsageError, match=r"would be a part of the input papers"):
        refuse_targets([Path("out.csv"), Path(target)], Path(name))


def test_other_targets_are_accepted(folder: Path) -> None:
    targets = [Path("papers/out.jsonl"), Path("out.parquet"), Path("other/a.parquet")]
    for name in ("papers", "papers/[ab].parquet", "papers/a.parquet"):
        refuse_targets([*targets, Path("papers/c.csv")], Path(name))
