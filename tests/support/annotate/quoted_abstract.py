"""An abstract, the completion of a tuned model, and checks of moves that are quotes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from repository import ROOT

from skills.nanda.framework import nanda
from skills.nanda.passages import numbered

EXAMPLE = (ROOT / "examples" / "abstract.txt").read_text(encoding="utf-8").partition("\n\n")[2]
NAMES = nanda().names
WRITTEN = {
    "claim": "DryRun lets an agent rehearse each command.",
    "evidence": "DryRun raises the success rate of three models to 58.9%.",
    "method": "The agent revises its plan.",
    "scope": "Large language model agents that operate a shell.",
    "limitation": "It does not cover commands that act over the network.",
}
"""Moves of the example in other words."""


def completion(moves: Mapping[str, str]) -> str:
    """Return the completion of a tuned model; the other moves are not stated."""
    lines = (f"{one.label}: {moves.get(one.name, 'Not stated.')}" for one in nanda().moves)
    return "\n".join(("<annotation>", *lines))


def letters(text: str) -> str:
    """Return the letters and digits of a text: blanks and marks at joints may differ."""
    return re.sub(r"[\W_]+", "", re.sub("[\u00ad\u200b]", "", text)).casefold()


def assert_quotes(record: Any, text: str, names: Sequence[str] = NAMES) -> dict[str, str]:
    """Assert that each stated move is the text of its span, and return these moves."""
    stated = {name: record[name] for name in names if record[name] != "Not stated."}
    assert list(record["anchors"]) == list(stated)
    assert {*record["confidence"]} == {*names}
    assert all(0 <= one <= 1 for one in record["confidence"].values())
    sentences = numbered(text)
    for name, move in stated.items():
        anchor = record["anchors"][name]
        (number,), ((start, end),) = anchor["sentences"], anchor["spans"]
        assert letters(move) == letters(text[start:end]), name
        assert anchor["by"] == "model"
        assert sentences[number - 1].start <= start < end <= sentences[number - 1].end
    return stated
