"""Which text files are lists of ids, and what is read from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InputError
from skills.corpus.lookups import id_list


def read(tmp_path: Path, text: str, name: str = "ids.txt") -> id_list.IdList | None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return id_list.read(path)


@pytest.mark.parametrize(
    ("line", "kind", "value"),
    [
        ("10.1000/XYZ.1", "doi", "10.1000/xyz.1"),
        ("doi: 10.1000/xyz,", "doi", "10.1000/xyz"),
        ("https://doi.org/10.1000/a#b", "doi", "10.1000/a"),
        ("10.1000/xyz\t# a comment", "doi", "10.1000/xyz"),
        ("arXiv:2405.12345v2", "arxiv", "2405.12345"),
        ("https://arxiv.org/abs/cs/0112017", "arxiv", "cs/0112017"),
        ("10.48550/arXiv.2405.12345", "arxiv", "2405.12345"),
        ("PMID: 12345678", "pmid", "12345678"),
        ("https://pubmed.ncbi.nlm.nih.gov/12345678/", "pmid", "12345678"),
        ("31000002", "pmid", "31000002"),
        ("https://openalex.org/W2741809807", "openalex", "W2741809807"),
    ],
)
def test_each_spelling_of_an_id(tmp_path: Path, line: str, kind: str, value: str) -> None:
    made = read(tmp_path, f"\ufeff# list\r\n\r\n{line}\r\n")
    assert made is not None
    assert [dict(one.identifiers) for one in made.ids] == [{kind: value}]


@pytest.mark.parametrize(
    "text",
    [
        "We present a method.\nIt is fast.\n",
        "10.1000/xyz describes a method of planning.\n",
        "10.1000/xyz\n\nWe present a method that plans before it acts.\n",
        "Abstract\n10.1000/xyz\n",
        "# only a comment\n",
        "",
        "word\nby\nword\n",
    ],
)
def test_any_other_text_is_an_abstract(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) is None


def test_only_a_text_file_is_a_list(tmp_path: Path) -> None:
    assert read(tmp_path, "10.1000/xyz\n", "ids.md") is None
    assert id_list.read(tmp_path / "missing.txt") is None
    (tmp_path / "folder.txt").mkdir()
    assert id_list.read(tmp_path / "folder.txt") is None


def test_repetitions_and_words_that_are_no_ids(tmp_path: Path) -> None:
    made = read(tmp_path, "10.1000/a\nhttps://doi.org/10.1000/A\n10.1000/b\nPMC123\n")
    assert made is not None
    assert [one.text for one in made.ids] == ["10.1000/a", "10.1000/b"]
    assert (made.repeated, len(made.refused)) == (1, 1)
    limited = id_list.read(tmp_path / "ids.txt", limit=1)
    assert limited is not None
    assert len(limited.ids) == 1


def test_a_file_that_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes(b"10.1000/\xff\xfe\n")
    with pytest.raises(InputError, match="UTF-8"):
        id_list.read(tmp_path / "ids.txt")


@pytest.mark.parametrize("text", ["10.1000/xyz", "pmid:123", "https://doi.org/10.1000/x", "W12345"])
def test_an_id_on_a_line(text: str) -> None:
    assert id_list.id_in(f" {text} ") is not None


@pytest.mark.parametrize("text", ["2405.12345", "12345678", "plans", "10.1000/xyz is here", ""])
def test_what_is_no_id_on_a_line_or_arxivs(text: str) -> None:
    assert id_list.id_in(text) is None
