"""Filter annotations: `limitation=stated comparison~baseline year=2024.. support<0.5`.

    MOVE=stated  MOVE=unstated  MOVE~word  MOVE~"a phrase"
    year=2024..  category=cs.CL  model=NAME  support<0.5  unsupported>0  cited>=10  retracted=yes

All conditions must hold. `!=` and `!~` negate one.
"""

from __future__ import annotations

import functools
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import InputError
from skills.corpus.db.facets import categories, word
from skills.corpus.search.query_syntax import all_of, parse_years, quoted, tokens, unknown
from skills.nanda.framework import Framework

NUMBERS = ("support", "unsupported")
"""Columns of annotations: the mean support of the moves, 0 to 1; how many numbers and names in them
are not in the abstract."""
LOOKED_UP = ("cited", "retracted")
"""Columns of papers that `/corpus complete` fills; a folder of parts does not have them."""
FIELDS = ("year", "category", "model", *NUMBERS, *LOOKED_UP)
EXAMPLE = "For example: limitation=stated comparison~baseline year=2024.. support<0.5"

MATCHED = "(matched)"

_MATCHED = """(
    SELECT annotation_id FROM moves_fts CROSS JOIN moves ON moves.id = moves_fts.rowid
    WHERE moves_fts MATCH ? AND moves.framework = ? AND moves.current = 1)"""
_CONDITION = re.compile(
    r"""\s*(?P<name>[^\s=~<>!"']+)\s*(?P<op>!~|!=|<=|>=|~|=|<|>)\s*"""
    r"""(?P<value>"[^"]*"|'[^']*'|[^\s"']\S*)(?=\s|\Z)"""
)


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition in SQL, over the tables annotations and papers, for any storage.

    A storage has the function `has_category`, and puts a query for `MATCHED`: the ids of the
    annotations with a current move that `match` finds.

    Attributes:
        parameters: those of the SQL, without that of `MATCHED`.
        needs: the column that must not be null for it to be true or false; "" for none.
        match: an FTS5 expression over texts and facets; "" for none.
    """

    sql: str
    parameters: tuple[Any, ...]
    needs: str = ""
    match: str = ""


@dataclass(frozen=True, slots=True)
class Selected:
    """The annotations that meet all conditions.

    Attributes:
        ids: of annotations, in the order of their papers.
        unknown: by column, how many others lack the value that a condition needs.
    """

    ids: list[int]
    unknown: dict[str, int]


def parse(text: str, framework: Framework) -> list[Condition]:
    """Parse conditions.

    Raises:
        InputError: there are none, or one is not valid.
    """
    text, conditions, at = text.rstrip(), [], 0
    while at < len(text):
        match = _CONDITION.match(text, at)
        if match is None:
            raise InputError(f"{text[at:].strip()[:40]!r} is not a condition", hint=EXAMPLE)
        name, op, value = match["name"], match["op"], match["value"]
        if name in framework.names:
            conditions.append(_move(name, op, value, framework))
        elif name in FIELDS:
            conditions.append(_FIELDS[name](name, op, _unquoted(value)))
        else:
            raise unknown("move or field", name, (*framework.names, *FIELDS))
        at = match.end()
    if not conditions:
        raise InputError("there is no condition", hint=EXAMPLE)
    return conditions


def select(
    db: sqlite3.Connection, conditions: Sequence[Condition], framework: Framework
) -> Selected:
    """Select the current annotations of `framework` that meet all conditions."""
    create_functions(db)
    # From papers to annotations, each by an index: their rows are long.
    base = (
        "FROM papers INDEXED BY papers_facets CROSS JOIN annotations ON paper_id = papers.id"
        " WHERE framework = ? AND current = 1"
    )
    wanted, parameters = conjunction(conditions, framework)
    rows = db.execute(
        f"SELECT annotations.id {base} {wanted} ORDER BY papers.id, annotations.id",
        [framework.name, *parameters],
    )
    ids = [row["id"] for row in rows]
    unknown = {}
    for column, others in without_value(conditions):
        rest, parameters = conjunction(others, framework)
        counted = db.execute(
            f"SELECT count(*) {base} AND {column} IS NULL {rest}", [framework.name, *parameters]
        )
        if number := counted.fetchone()[0]:
            unknown[column] = number
    return Selected(ids, unknown)


def create_functions(db: sqlite3.Connection) -> None:
    """Create what conditions call."""
    db.create_function("has_category", 2, _has_category, deterministic=True)


def without_value(conditions: Sequence[Condition]) -> Iterator[tuple[str, list[Condition]]]:
    """Yield each column that a condition needs, with the conditions that do not need it."""
    for column in dict.fromkeys(filter(None, (condition.needs for condition in conditions))):
        yield column, [condition for condition in conditions if condition.needs != column]


def conjunction(conditions: Sequence[Condition], framework: Framework) -> tuple[str, list[Any]]:
    """Return the SQL for all conditions, to be added to a WHERE, and its parameters."""
    sql, parameters = "", list[Any]()
    for one in conditions:
        sql += f" AND ({one.sql.replace(MATCHED, _MATCHED)})"
        parameters += (*one.parameters, *((one.match, framework.name) if one.match else ()))
    return sql, parameters


def _move(name: str, op: str, value: str, framework: Framework) -> Condition:
    """Return the condition that a move is stated, or that a stated one contains words."""
    negated = "NOT " if op.startswith("!") else ""
    if op in ("~", "!~"):
        match = f"text : ({all_of(tokens(value))}) AND facets : {quoted(word('move', name))}"
        return Condition(f"annotations.id {negated}IN {MATCHED}", (), match=match)
    state = _unquoted(value).casefold()
    if op not in ("=", "!=") or state not in ("stated", "unstated"):
        raise _invalid(
            f"{name}{op}{value}", f"{name}=stated, {name}=unstated, {name}~word or {name}!~word"
        )
    found = "=" if (op == "=") == (state == "unstated") else ">"
    # The names of the stated moves, separated by blanks.
    return Condition(f"instr(' ' || stated || ' ', ?) {found} 0", (f" {name} ",))


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
    negated = "NOT " if op == "!=" else ""
    return Condition(f"{negated}has_category(categories, ?)", (value.casefold(),))


def _number(name: str, op: str, value: str) -> Condition:
    try:
        number: float | None = float(value)
    except ValueError:
        number = None
    if number is None or op in ("~", "!~"):
        raise _invalid(f"{name}{op}{value}", f"{name}<0.5")
    return Condition(f"{name} {op} ?", (number,), name)


def _retracted(name: str, op: str, value: str) -> Condition:
    states = {"yes": 1, "no": 0}
    if op not in ("=", "!=") or value.casefold() not in states:
        raise _invalid(f"{name}{op}{value}", "retracted=yes or retracted=no")
    return Condition(f"retracted {op} ?", (states[value.casefold()],), name)


_FIELDS: Mapping[str, Callable[[str, str, str], Condition]] = {
    "year": _year,
    "category": _exact,
    "model": _exact,
    **dict.fromkeys((*NUMBERS, "cited"), _number),
    "retracted": _retracted,
}


def _invalid(condition: str, example: str) -> InputError:
    return InputError(f"{condition} is not a valid condition", hint=f"Write {example}.")


def _unquoted(value: str) -> str:
    return value[1:-1] if value[0] in "\"'" else value


@functools.lru_cache(maxsize=4096)
def _has_category(text: str, wanted: str) -> bool:
    return wanted in (category.casefold() for category in categories(text))
