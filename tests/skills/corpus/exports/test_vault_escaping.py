"""Nothing in a text is mark-up of a note."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from skills.corpus.exports.vault_note import at_start, escaped
from skills.nanda.text import flatten

MARKS = st.text("ab1 *_`[]()<>#$^|~=:%&;-+.!\\\"'\n/{}", max_size=30)


def shown(text: str) -> str:
    """Return what CommonMark with strikethrough shows of a line, as text."""
    tokens = MarkdownIt("commonmark").enable("strikethrough").parse(text)
    assert [token.type for token in tokens] in (
        [],
        ["paragraph_open", "inline", "paragraph_close"],
    )
    pieces = [piece for token in tokens for piece in token.children or ()]
    assert {piece.type for piece in pieces} <= {"text", "text_special"}
    return "".join(piece.content for piece in pieces)


@given(MARKS)
def test_text_is_shown_as_it_is(text: str) -> None:
    assert shown(at_start(escaped(text))) == flatten(text)


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("a #tag", r"(?<!\\)#"),
        ("[[link]] ![[embed]]", r"(?<!\\)\["),
        ("costs $5 and $6", r"(?<!\\)\$"),
        ("a ==b== c", "=="),
        ("key:: value", "::"),
        ("a %%hidden%% b", "%%"),
        ("a ^id", r"(?<!\\)\^"),
        ("<script>", r"(?<!\\)<"),
    ],
)
def test_marks_of_obsidian(text: str, mark: str) -> None:
    assert not re.search(mark, escaped(text))
