"""Search texts outside the corpus as its indexes are searched."""

from __future__ import annotations

import pytest

from harness.errors import InputError
from skills.corpus.search.texts import keys_with

TEXTS = [
    ("a", "On Ships", "A planner moves ferries."),
    ("b", "On Rails", "Trains were timed at dawn."),
    ("b", "", "It moves planners."),
]


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("ships FERRY", {"a"}),
        ("planner", {"a", "b"}),
        ('"planner moves"', {"a"}),
        ("rails planners", set()),
        ("rails OR ships", set()),
    ],
)
def test_all_words_and_phrases_are_in_one_text(words: str, keys: set[str]) -> None:
    assert keys_with(TEXTS, words) == keys


def test_there_must_be_a_word() -> None:
    with pytest.raises(InputError, match="contains no word"):
        keys_with(TEXTS, " - ")
