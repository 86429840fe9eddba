"""A file is written again without losing what a person wrote into it, byte for byte."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from skills.corpus.exports.user_edited import (
    HTML,
    OBSIDIAN,
    Owned,
    as_yaml,
    parse,
    with_properties,
)

OLD = Owned({"nanda-id": "x:1", "claim": "Old.", "year": 2024}, "> Old text.\n")
NEW = Owned({"nanda-id": "x:1", "claim": "New.", "method": "A way."}, "> New text.\n- [[B]]: x\n")

LINES = st.text(
    st.characters(exclude_characters="\r\n-", exclude_categories=["C", "Z"]), max_size=9
)
BELOW = st.lists(LINES, max_size=4).map("\n".join)


def edited(before: str, below: str, extra: str = 'rating: "5"\n') -> str:
    """Return a file with a property, and text before and after the block, of a person."""
    head, mark, rest = OLD.text.partition("---\n%%")
    assert mark
    return f"{head}{extra}---\n{before}\n%%{rest}{below}"


@given(BELOW, BELOW)
def test_what_a_person_wrote_outside_stays(before: str, below: str) -> None:
    after, state = NEW.merged(edited(before, below))
    assert state == "updated"
    read = parse(after)
    assert dict(read.values) == {
        "nanda-id": "x:1",
        "claim": "New.",
        "rating": "5",
        "method": "A way.",
    }
    assert after[read.end :] == f"---\n{before}\n{NEW.marked}{below}"
    assert NEW.merged(after) == (after, "unchanged")


@pytest.mark.parametrize("comment", [OBSIDIAN, HTML])
def test_a_new_file_is_unchanged(comment: str) -> None:
    new = Owned(OLD.properties, OLD.block, comment)
    assert new.merged(new.text) == (new.text, "unchanged")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("> Old text.", "> My text."),
        ('claim: "Old."', "claim: Mine."),
        ('claim: "Old."\n', ""),
        (OLD.marked, ""),
    ],
)
def test_what_a_person_has_changed_is_kept(old: str, new: str) -> None:
    text = edited("", "below").replace(old, new)
    assert NEW.merged(text) == (text, "kept")
    after, state = NEW.merged(text, force=True)
    assert state == "updated"
    assert NEW.marked in after
    assert "below" in after
    assert parse(after).values["rating"] == "5"
    assert parse(after).values["claim"] == "New."


def test_a_change_by_a_person_is_no_news_while_ours_is_the_same() -> None:
    text = OLD.text.replace("> Old text.", "> My text.")
    assert OLD.merged(text) == (text, "unchanged")


def test_a_property_of_a_person_with_our_name_is_theirs() -> None:
    text = edited("", "", extra="method: my own\n")
    after, _ = NEW.merged(text)
    assert parse(after).values["method"] == "my own"
    assert NEW.merged(after) == (after, "unchanged")


def test_another_style_of_yaml_is_no_change() -> None:
    """Obsidian writes all properties anew if one is changed."""
    text = (
        OLD.text.replace('"x:1"', "x:1").replace('"Old."', ">-\n  Old.").replace("2024", "'2024'")
    )
    assert OLD.merged(text) == (text, "unchanged")
    assert NEW.merged(text)[1] == "updated"


def test_a_renamed_link_is_no_change_by_a_person() -> None:
    """Obsidian changes the links to a note that is renamed."""
    text = NEW.text.replace("[[B]]", "[[Better name]]")
    after, state = NEW.merged(text)
    assert (after, state) == (NEW.text, "updated")


def test_a_beginning_without_an_end_is_of_the_person() -> None:
    begin = OLD.marked.partition("\n")[0]
    after, state = NEW.merged(OLD.text.replace(begin, f"{begin}\n{begin}"))
    assert state == "updated"
    assert after.count(begin) == 1
    assert NEW.marked in after


def test_line_ends_stay() -> None:
    text = edited("mine", "below\n").replace("\n", "\r\n")
    after, state = NEW.merged(text)
    assert state == "updated"
    assert after.replace("\r\n", "\n").replace("\n", "\r\n") == after
    assert NEW.merged(after) == (after, "unchanged")


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
    with pytest.raises(yaml.YAMLError):
        parse(text)
