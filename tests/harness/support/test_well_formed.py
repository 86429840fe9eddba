"""Text whose surrogates are joined or replaced."""

from __future__ import annotations

import json

import pytest

from harness.support.well_formed import SurrogateJoiner, well_formed, well_formed_json


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("\N{GRINNING FACE}", "\N{GRINNING FACE}"),
        ("\ud83d\ude00", "\N{GRINNING FACE}"),
        ("a\ud83d b\udc00", "a\ufffd b\ufffd"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("", ""),
    ],
)
def test_halves_are_joined_or_replaced(text: str, expected: str) -> None:
    assert well_formed(text) == expected
    pieces = SurrogateJoiner()
    assert "".join(map(pieces.feed, text)) + pieces.flush() == expected


def test_a_half_waits_for_the_next_piece() -> None:
    pieces = SurrogateJoiner()
    assert [pieces.feed(piece) for piece in ("a\ud83d", "\ude00b", "\ud83d")] == [
        "a",
        "\N{GRINNING FACE}b",
        "",
    ]
    assert pieces.flush() == "\ufffd"


def test_escapes_in_json() -> None:
    assert json.loads(well_formed_json(r'{"text": "\ud83d", "\udc00": 1}')) == {
        "text": "\ufffd",
        "\ufffd": 1,
    }
    whole = r'{ "text":"\ud83d\ude00" }'
    assert well_formed_json(whole) == whole
    assert well_formed_json("no JSON \ud83d") == "no JSON \ufffd"
    assert well_formed_json("[" * 100_000 + "\ud83d").endswith("[\ufffd")
