"""Properties are written as YAML, and changed without any other byte."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from skills.corpus.exports.user_edited import (
    BrokenFrontMatterError,
    as_yaml,
    parse,
    with_properties,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))

PERSONS = """\
# mine
tags:
- agents
- to-read
rating:   5     # of 5
nested: {a: [1,
  2]}
claim: >-
  An old
  claim.

note: |
  Two
  lines.
aliases: ['x']
"""


@given(TEXTS)
def test_any_text_is_read_as_it_was(text: str) -> None:
    for parsed in (
        parse(f"---\n{as_yaml('claim', text)}---\n").values,
        yaml.safe_load(as_yaml("claim", text)),
    ):
        assert parsed == {"claim": text}


@given(st.lists(TEXTS, min_size=1), st.integers(0, 9999))
def test_lists_and_numbers_keep_their_types(texts: list[str], number: int) -> None:
    written = as_yaml("authors", texts) + as_yaml("year", number)
    assert yaml.safe_load(written) == {"authors": texts, "year": number}


@given(TEXTS)
def test_a_property_is_replaced_where_it_is_and_the_rest_stays(text: str) -> None:
    after = with_properties(PERSONS, {"claim": text, "doi": "10.1/2", "gone": None})
    head, tail = PERSONS.split("claim: >-\n  An old\n  claim.\n\n")
    assert after == f'{head}{as_yaml("claim", text)}{tail}doi: "10.1/2"\n'


def test_a_property_is_removed_with_all_its_lines() -> None:
    after = with_properties(PERSONS, {"tags": None, "nested": None, "claim": None, "note": None})
    assert after == "# mine\nrating:   5     # of 5\naliases: ['x']\n"


def test_the_last_line_may_lack_its_end() -> None:
    assert with_properties("a: 1", {"b": "2"}) == 'a: 1\nb: "2"\n'
    assert with_properties("a: 1", {"a": "2"}) == 'a: "2"\n'
    assert with_properties("", {"a": 1}) == "a: 1\n"


@pytest.mark.parametrize("text", ["", "text\n---\nmore", " ---\na: 1\n---\n", "---\na: 1\n"])
def test_files_without_front_matter(text: str) -> None:
    assert parse(text).values == {}
    assert (parse(text).start, parse(text).end) == (0, 0)


BOMB = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]" for n in range(9))


@pytest.mark.parametrize(
    "text",
    [
        "---\n- a\n---\n",
        "---\na: [\n---\n",
        "---\nplain\n---\n",
        f"---\n{BOMB}\n---\n",
        f"---\na: {'[' * 99}{']' * 99}\n---\n",
    ],
)
def test_broken_front_matter(text: str) -> None:
    with pytest.raises(BrokenFrontMatterError):
        parse(text)
