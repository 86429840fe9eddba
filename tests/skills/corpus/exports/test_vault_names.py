"""Names of notes are safe on every file system, and no two are the same file on one of them."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skills.corpus.exports.vault import file_name, key, unused


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Über Größe: a/b\\c?", "Über Größe a b c"),
        ("[[Link|alias]] #tag ^block", "Link alias tag block"),
        ("..hidden. ", "hidden"),
        ("CON", "CON (paper)"),
        ("lpt1.txt", "lpt1.txt (paper)"),
        ("U\u0308ber", "Über"),
        ("a\nb\u200b\u202ec", "a bc"),
        ("???", "12"),
        ("%%x%%", "x"),
    ],
)
def test_names(title: str, name: str) -> None:
    assert file_name(title, "12") == name


@given(st.text(min_size=1), st.text())
@example("\U00010000" * 60, "\U00010000" * 60)  # four bytes each in UTF-8
def test_any_title_is_a_name(title: str, paper_id: str) -> None:
    name = file_name(title, paper_id)
    assert name == name.strip(" .")
    assert name
    assert not re.search(r'[\\/:*?"<>|#^\[\]\x00-\x1f]', name)
    assert len(unused(name, paper_id, {key(name)}).encode()) <= 250
    assert len(name) <= 128


@given(st.lists(st.sampled_from(["Plan", "PLAN", "plan", "Pla\u0301n", "Pl\u00e1n"]), max_size=9))
def test_no_two_names_are_the_same_file(names: list[str]) -> None:
    taken: set[str] = set()
    made = [unused(name, "7", taken) for name in names]
    assert len({key(name) for name in made}) == len(names)
    assert made[:1] == names[:1]


def test_a_long_title_is_cut_at_a_word() -> None:
    name = file_name("planning " * 40, "1")
    assert name == " ".join(["planning"] * 13)
    assert len(file_name("计划" * 200, "1").encode()) <= 200
