"""Parse the conditions of `/corpus filter`.

The forms of conditions are:

    MOVE=stated  MOVE=unstated  MOVE~word  MOVE~"a phrase"
    year=2024..  category=cs.CL  model=NAME  support<0.5  unsupported>0  cited>=10  retracted=yes

An annotation must meet all conditions. `!=` and `!~` negate a condition.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import InputError
from skills.corpus.db.facets import MOVE, UNKNOWN, UNSTATED, word
from skills.corpus.search.query_syntax import all_of, parse_years, quoted, tokens, unknown
from skills.nanda.framework import Framework

NUMBERS = ("support", "unsupported")
"""Numeric columns of annotations.

`support` is the mean support of the stated moves, 0 to 1. `unsupported` counts the numbers and
names in the moves that do not occur in the abstract.
"""
LOOKED_UP = ("cited", "retracted")
"""Columns of papers that `/corpus complete` fills; a folder of parts lacks these columns."""
EXAMPLE = "For example: limitation=stated comparison~baseline year=2024.. support<0.5"

MATCHED = "(matched)"

_CONDITION = re.compile(
    r"""\s*(?P<name>[^\s=~<>!"']+)\s*(?P<op>!~|!=|<=|>=|~|=|<|>)\s*"""
    r"""(?P<value>"[^"]*"|'[^']*'|[^\s"']\S*)(?=\s|\Z)"""
)


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on the relation "annotations", in SQL that SQLite and DuckDB understand.

    The SQL may use the columns of the relation (see `engine.py`) and the function `has_category`.

    Attributes:
        sql: the condition, in which `MATCHED` stands for the subquery of `match`.
        parameters: the values of the placeholders in `sql`.
        needs: the column that must have a value, or "". If the value is null, it is unknown whether
            the annotation meets the condition.
        match: an FTS5 expression over the texts and facets of moves, or "". The subquery selects
            the ids of annotations with a matching move.
    """

    sql: str
    parameters: tuple[Any, ...] = ()
    needs: str = ""
    match: str = ""


@dataclass(frozen=True, slots=True)
class Selected:
    """The annotations that meet all conditions.

    Attributes:
        ids: the ids of the annotations, sorted by paper.
        unknown: for each column that a condition needs, the number of annotations that have no
            value in this column and meet all conditions that do not need the column. Columns
            without such annotations are omitted.
    """

    ids: list[int]
    unknown: dict[str, int]


def parse(text: str, framework: Framework) -> list[Condition]:
    """Parse conditions that are separated by blanks.

    Raises:
        InputError: `text` contains an invalid condition.
    """
    text, conditions, at = text.rstrip(), [], 0
    while at < len(text):
        match = _CONDITION.match(text, at)
        if match is None:
            raise InputError(f"{text[at:].strip()[:40]!r} is not a condition", hint=EXAMPLE)
        name, op, value = match["name"], match["op"], match["value"]
        if name in framework.names:
            conditions.append(_move(name, op, value))
        elif name in FIELDS:
            conditions.append(FIELDS[name](name, op, _unquoted(value)))
        else:
            raise unknown("move or field", name, (*framework.names, *FIELDS))
        at = match.end()
    return conditions


def facet(name: str, value: str) -> Condition:
    """Return the condition that selects papers with a facet value in a listing (`listing.py`).

    Args:
        name: "year", "category", "model", "state", or "move." and the name of a move.
    """
    if value == UNKNOWN and name in ("year", "category"):
        return Condition("year IS NULL" if name == "year" else "category = ''")
    if name == "category":
        return _has_category(value)
    if name in ("year", "model", "state"):
        return Condition(f"{name} = ?", (value,))
    return _states(name.removeprefix(MOVE), value != UNSTATED)


def any_of(conditions: Sequence[Condition]) -> Condition:
    """Return a condition that is met if one of `conditions` is met.

    No condition may use `match`.
    """
    either = " OR ".join(one.sql for one in conditions)
    return Condition(either, tuple(value for one in conditions for value in one.parameters))


def _move(name: str, op: str, value: str) -> Condition:
    """Return the condition MOVE=stated, MOVE=unstated or MOVE~words, which `op` may negate."""
    negated = "NOT " if op.startswith("!") else ""
    if op in ("~", "!~"):
        match = f"text : ({all_of(tokens(value))}) AND facets : {quoted(word('move', name))}"
        return Condition(f"id {negated}IN {MATCHED}", (), match=match)
    state = _unquoted(value).casefold()
    if op not in ("=", "!=") or state not in ("stated", "unstated"):
        raise _invalid(
            f"{name}{op}{value}", f"{name}=stated, {name}=unstated, {name}~word or {name}!~word"
        )
    return _states(name, (op == "=") == (state == "stated"))


def _states(move: str, is_stated: bool) -> Condition:
    return Condition(
        f"instr(' ' || stated || ' ', ?) {'>' if is_stated else '='} 0", (f" {move} ",)
    )


def _has_category(value: str, negated: str = "") -> Condition:
    return Condition(f"{negated}has_category(categories, ?)", (value.casefold(),))


def _year(name: str, op: str, value: str) -> Condition:
    years = parse_years(value)
    if op in ("=", "!="):
        negated = "NOT " if op == "!=" else ""
        limits = (years.first or 0, years.last or 9999)
        return Condition(f"{negated}year BETWEEN ? AND ?", limits, name)
    if op in ("~", "!~") or years.first is None or years.first != years.last:
        raise _invalid(f"year{op}{value}", "year>=2024 or year=2023..2025")
    return Condition(f"year {op} ?", (years.first,), name)


def _exact(name: str, op: str, value: str) -> Condition:
    if op not in ("=", "!="):
        raise _invalid(f"{name}{op}{value}", f"{name}={value} or {name}!={value}")
    if name == "model":
        return Condition(f"model {op} ?", (value,))
    return _has_category(value, "NOT " if op == "!=" else "")


def _number(name: str, op: str, value: str) -> Condition:
    with contextlib.suppress(ValueError):
        if op not in ("~", "!~"):
            return Condition(f"{name} {op} ?", (float(value),), name)
    raise _invalid(f"{name}{op}{value}", f"{name}<0.5")


def _retracted(name: str, op: str, value: str) -> Condition:
    states = {"yes": 1, "no": 0}
    if op not in ("=", "!=") or value.casefold() not in states:
        raise _invalid(f"{name}{op}{value}", "retracted=yes or retracted=no")
    return Condition(f"retracted {op} ?", (states[value.casefold()],), name)


FIELDS: Mapping[str, Callable[[str, str, str], Condition]] = {
    "year": _year,
    "category": _exact,
    "model": _exact,
    **dict.fromkeys((*NUMBERS, "cited"), _number),
    "retracted": _retracted,
}
"""For each field, the function that returns a condition on the field."""


def _invalid(condition: str, example: str) -> InputError:
    return InputError(f"{condition} is not a valid condition", hint=f"Write {example}.")


def _unquoted(value: str) -> str:
    return value[1:-1] if value[0] in "\"'" else value
