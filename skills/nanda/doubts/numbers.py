"""Numbers of a move that are beside other words, or with another unit, than in the abstract."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from skills.nanda.doubts import context
from skills.nanda.doubts.context import Token

MARGIN = 0.15
"""By how much another number must fit the neighbours better than the number of the move."""
MOST_NUMBERS, MOST_OTHERS = 20, 200
"""Numbers of a move and of an abstract that are compared."""

_UNITS = """
    % percent; point points pp; x times fold; k thousand thousands; m million millions
    b bn billion billions; ms millisecond milliseconds; s sec second seconds; min minute minutes
    h hour hours; day days; week weeks; month months; year years; hz; khz; mhz; ghz; kb; mb; gb; tb
    db; mm; cm; km; meter meters; fps; kbps; mbps; gbps; nm; token tokens; watt watts; mw; kw
""".replace("\n    ", ";")
UNITS = {
    word: words.split()[0]
    for words in filter(str.strip, _UNITS.split(";"))
    for word in words.split()
}
"""Units, and words in place of a unit, by each way to write them."""


def moved_numbers(abstract: str, text: str, margin: float = MARGIN) -> list[str]:
    """Return the numerals of `text` whose neighbours belong to another number of the abstract.

    "Recall is 71% and precision 93%" becomes doubtful as "precision is 71%".
    """
    given, move = context.tokens(abstract), context.tokens_of_move(text)
    numbers = [index for index, token in enumerate(given) if token.number][:MOST_OTHERS]
    found: list[str] = []
    for index in itertools.islice(context.numerals(move), MOST_NUMBERS):
        value = move[index].key
        wanted = context.neighbours(move, index, context.OF_MOVE)
        own = [place for place in numbers if given[place].key == value]
        others = [place for place in numbers if given[place].key != value]
        if own and context.fit(wanted, abstract, others) > margin + context.fit(
            wanted, abstract, own
        ):
            found.append(move[index].text)
    return list(dict.fromkeys(found))


def changed_units(abstract: str, text: str) -> list[str]:
    """Return the numerals of `text`, with their unit, that the abstract has with other units alone.

    A number without a unit is not evidence: in "5 to 10%", 5 has none.
    """
    given, move = context.tokens(abstract), context.tokens_of_move(text)
    known: dict[str, set[str]] = {}
    for index, token in enumerate(given):
        if token.number:
            known.setdefault(token.key, set()).add(_unit(given, index)[0])
    found: list[str] = []
    for index in itertools.islice(context.numerals(move), MOST_NUMBERS):
        (unit, last), units = _unit(move, index), known.get(move[index].key, set())
        if unit and units and unit not in units and "" not in units:
            found.append(context.written(text, move[index], last))
    return list(dict.fromkeys(found))


def _unit(given: Sequence[Token], index: int) -> tuple[str, Token]:
    """Return the unit behind a number as `UNITS` names it, or "", and its token.

    "Percentage points" are points.
    """
    number, *following = given[index : index + 3]
    if following and following[0].text == "percentage":
        del following[0]
    token = following[0] if following else number
    return UNITS.get(token.text, ""), token
