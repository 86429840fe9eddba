"""The difference of two texts, by words."""

from __future__ import annotations

import pytest

from skills.reporting.word_diff import MOST, word_diff


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("", "", []),
        ("same words", "same words", [("same", "same words")]),
        ("", "new", [("added", "new")]),
        ("old", "", [("removed", "old")]),
        (
            "It saves 4 cm of rope.",
            "It saves 12 m of rope!",
            [
                ("same", "It saves "),
                ("removed", "4 cm "),
                ("added", "12 m "),
                ("same", "of rope"),
                ("removed", "."),
                ("added", "!"),
            ],
        ),
        (
            "The crane stops at noon.",
            "A tent in the rain leaks.",
            [("removed", "The crane stops at noon."), ("added", "A tent in the rain leaks.")],
        ),
        ("a b", "a\nb  c", [("same", "a\nb  "), ("added", "c")]),
    ],
)
def test_words_that_differ(old: str, new: str, shown: list[tuple[str, str]]) -> None:
    assert list(word_diff(old, new)) == shown


def test_long_texts_are_replaced_as_wholes() -> None:
    long = "word " * (MOST + 1)
    assert [kind for kind, _ in word_diff(long, f"{long}more")] == ["removed", "added"]
