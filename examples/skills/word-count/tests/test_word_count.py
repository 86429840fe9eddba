"""The counts and the limit of /word-count."""

import json
from pathlib import Path

import pytest
from harness_word_count.plugin import WordCount

from harness import InputError
from harness.testing import run_skill

SKILL = WordCount()


@pytest.mark.parametrize(
    ("text", "words", "sentences", "characters"),
    [
        ("It rises from 41.3% to 58.9%. Is that so?", 9, 2, 41),
        ("open-weight models -- all of them", 5, 1, 33),
        ('She said "no." Then\n\n she  left!', 6, 2, 29),
        ("Größe 日本", 2, 1, 8),
        (" ... ", 0, 0, 3),
    ],
)
def test_what_is_counted(text: str, words: int, sentences: int, characters: int) -> None:
    expected = {"words": words, "sentences": sentences, "characters": characters}
    assert run_skill(SKILL, text).data == expected


def test_a_limit_is_checked() -> None:
    inside = run_skill(SKILL, "one two three", options={"limit": 3})
    assert (inside.code, inside.data["over"]) == (0, 0)
    over = run_skill(SKILL, "one two three", options={"limit": 1})
    assert (over.code, over.data["over"]) == (1, 2)
    assert "2 over the limit of 1" in over.text


def test_a_file_is_read_and_the_counts_are_saved(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Three words here.", encoding="utf-8")
    result = run_skill(SKILL, str(path))
    assert result.text.splitlines()[0] == "3 words"
    assert json.loads(result.renderers[".json"]()) == result.data
    with pytest.raises(InputError):
        run_skill(SKILL, str(tmp_path / "b.txt"))
