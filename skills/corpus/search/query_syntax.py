"""Parse search queries and ranges of years, and quote words for FTS5."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from harness.errors import InputError, did_you_mean
from skills.nanda.framework import Framework
from skills.nanda.text import flatten

By = Literal["words", "meaning", "both"]
"""The kinds of searches for moves: by words, by meaning, or by words and meaning."""

_TOKEN = re.compile(r'"([^"]*)"|(\S+)')


def tokens(text: str) -> list[str]:
    """Return the words and phrases of a query; the double quotes around a phrase are removed.

    Words and phrases without a letter or digit are omitted.

    Raises:
        InputError: the query contains no word.
    """
    query = flatten(text)
    found = [match[1] or match[2] or "" for match in _TOKEN.finditer(query)]
    found = list(filter(_has_word, found))
    if not found:
        raise InputError(
            f"{query[:40]!r} contains no word to search for",
            hint='Write words, all of which must match, or a "phrase in double quotes".',
        )
    return found


def phrases(text: str) -> list[str]:
    """Return the phrases of a query that are in double quotes, without the quotes."""
    return [match[1] for match in _TOKEN.finditer(flatten(text)) if _has_word(match[1] or "")]


def _has_word(token: str) -> bool:
    return any(map(str.isalnum, token))


def quoted(token: str) -> str:
    """Return a word or phrase as an FTS5 string, or a column name as an SQL identifier."""
    return '"' + token.replace('"', '""') + '"'


def all_of(found: list[str]) -> str:
    """Return the FTS5 expression for texts that contain all words and phrases."""
    return " AND ".join(map(quoted, found))


def unknown(noun: str, name: str, known: Sequence[str]) -> InputError:
    """Return the error for an unknown name, with a hint that suggests known names.

    Args:
        noun: the noun before the name in the message, such as "move".
        known: the known names.
    """
    hint = did_you_mean(name.casefold(), known) or f"Names: {', '.join(known)}."
    return InputError(f"there is no {noun} {name[:40]!r}", hint=hint)


def check_moves(names: Iterable[str], framework: Framework) -> None:
    """Raise an InputError if a name is not the name of a move of `framework`."""
    for name in names:
        if name not in framework.names:
            raise unknown("move", name, framework.names)


@dataclass(frozen=True, slots=True)
class Years:
    """A range of years that includes its ends; an end that is None does not limit the range."""

    first: int | None = None
    last: int | None = None

    @property
    def days(self) -> tuple[date | None, date | None]:
        """The first and the last day of the range; None for an open end."""
        first = None if self.first is None else date(max(1, self.first), 1, 1)
        last = None if self.last is None else date(max(1, self.last), 12, 31)
        return first, last

    def among(self, years: Iterable[int | None]) -> list[int]:
        """Return the given years that are in the range."""
        first, last = self.first or 0, self.last or 9999
        return [year for year in years if year is not None and first <= year <= last]


@dataclass(frozen=True, slots=True)
class Query:
    """A search for moves.

    Attributes:
        text: the words and phrases to search for.
        moves: the names of the moves to search; all moves if empty.
        categories: the paper must have one of these categories; case is ignored. If empty, papers
            of all categories match.
        years: the allowed years of papers; None for all papers.
        limit: maximum number of results.
        by: the kind of search.
    """

    text: str
    moves: Sequence[str] = ()
    categories: Sequence[str] = ()
    years: Years | None = None
    limit: int = 20
    by: By = "words"


def parse_years(text: str) -> Years:
    """Parse a year or a range of years: "2024", "2023..2025", "2024.." or "..2022".

    Raises:
        InputError: the text has another form, or the later year comes first.
    """
    if found := re.fullmatch(r"(\d{4})|(?=.*\d)(\d{4})?\.\.(\d{4})?", text.strip(), re.ASCII):
        only, first, last = (int(year) if year else None for year in found.groups())
        if first is None or last is None or first <= last:
            return Years(first if only is None else only, last if only is None else only)
    raise InputError(
        f"{text!r} is not a range of years",
        hint="Write 2024, 2023..2025 (the earlier year first), 2024.. or ..2022.",
    )
