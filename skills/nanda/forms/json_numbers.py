"""Sentence numbers in the JSON replies of general models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from skills.nanda.framework import NUMBERS

_BEFORE_TEXT = re.compile(r"\s*\[(\d{1,3}(?:,\s*\d{1,3})*)\]:?\s+(?=\S)")


def text_of(value: Any) -> Any:
    """Return a move of a reply without the sentence numbers before its text."""
    return _split(value)[1]


def numbers_in(reply: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return the sentence numbers that a reply gives by move: those listed, else before a text."""
    numbers: dict[str, Any] = {name: _split(value)[0] for name, value in reply.items()}
    if isinstance(listed := reply.get(NUMBERS), dict):
        numbers |= {name: of_move for name, of_move in listed.items() if of_move}
    as_lists = {name: n if isinstance(n, list) else [n] for name, n in numbers.items()}
    return {name: n for name, n in as_lists.items() if {*map(type, n)} == {int}}


def _split(value: Any) -> tuple[list[int], Any]:
    """Return the sentence numbers before the text of a move, and the text alone."""
    marked = _BEFORE_TEXT.match(value) if isinstance(value, str) else None
    if marked is None:
        return [], value
    return [int(number) for number in marked[1].split(",")], value[marked.end() :]
