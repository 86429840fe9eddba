"""Rows that tables found in the wild may have, and what becomes of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from skills.nanda.framework import nanda

ABSTRACT = "We present method {0} for the task of sorting papers, and it is {0} times as fast."
ZALGO = "Z\u0335\u0322\u0301a\u0336\u0327\u0300l\u0334\u0316\u0312" * 500


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        line: of the .jsonl file.
        refused: part of the reason for which it is refused; "" if its text can be used.
        empty: whether it is left out, since it has no abstract.
    """

    name: str
    line: str
    refused: str = ""
    empty: bool = False


def moves(number: int) -> dict[str, str]:
    """Return valid moves in the words of the abstract."""
    texts = {name: f"The {name} of method {number} for papers." for name in nanda().names}
    return {**texts, "limitation": "Not stated."}


def cells(number: int, **changed: Any) -> dict[str, Any]:
    abstract = ABSTRACT.format(number)
    return {"id": f"p{number}", "abstract": abstract, **moves(number), **changed}


def _line(number: int, extra: str = "", **changed: Any) -> str:
    """Return a line; `extra` is added to the abstract."""
    made = {"abstract": f"{ABSTRACT.format(number)} {extra}", **changed}
    return json.dumps(cells(number, **made))


def rows() -> list[Row]:
    """Return all rows, good ones between them."""
    long = 400_000
    texts = {
        "a plain abstract": "",
        "half a surrogate pair": "\ud83d and \ude00",
        "a NUL": "a\0b",
        "text from right to left": "\u202e\u05e9\u05dc\u05d5\u05dd\u202c \u0645\u0631\u062d\u0628",
        "joined emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467" * 200,
        "piles of marks": ZALGO,
        "escape sequences": "\x1b[2J\x1b]0;title\x07\x9b31m\x08\x7f",
        "HTML": "</script><script>alert(1)</script><!-- ]]>",
        "a formula": '=HYPERLINK("http://localhost","x"),+1,@SUM(A1)',
        "a byte order mark": "\ufeffa\ufeffb",
        "lone carriage returns": "a\rb\r\rc",
        "line feeds": "\n" * 100_000,
        "dots": "." * long,
        "one word": "a" * long,
    }
    found = [Row(name, _line(number, text)) for number, (name, text) in enumerate(texts.items())]
    values: dict[str, tuple[Any, str]] = {
        "a list": (["a", "b"], "'abstract' is a list, not text"),
        "an object": ({"text": "a"}, "'abstract' is an object, not text"),
        "a truth value": (True, "'abstract' is true or false, not text"),
        "a cell of 10 MB": ("word " * 2_000_000, "has more than 1,500,000 characters"),
    }
    for number, (name, (value, reason)) in enumerate(values.items(), start=len(found)):
        found.append(Row(name, _line(number, abstract=value), reason))
    number = len(found)
    found += [
        Row("no number", _line(number, abstract=float("nan")), empty=True),
        Row("empty", _line(number + 1, abstract=""), empty=True),
        Row("only blanks", _line(number + 2, abstract=" \t\u00a0 "), empty=True),
        Row("a number of 5,000 digits", f'{{"id": {"9" * 5000}}}', "cannot be read as JSON"),
        Row("deep nesting", "[" * 200_000, "cannot be read as JSON"),
        Row("no object", "[1, 2]", "is not a JSON object"),
        Row("no JSON", '{"id": "a", "abstract"', "is not JSON"),
        Row("a control character", '{"id": "a\x01"}', "is not JSON (Invalid control character"),
        Row("a NUL in the file", '{"id": "a\0"}', "is not JSON (Invalid control character"),
        Row("another abstract of an id", _line(number + 3, id="p0"), "has the id p0 of line 1"),
        Row("keys twice", '{"id": "x", ' + _line(number + 4)[1:]),
        Row("a plain abstract at the end", _line(number + 5)),
    ]
    return found
