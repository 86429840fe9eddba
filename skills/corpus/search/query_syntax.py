"""What a user writes to find something, made into what the database understands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.support.suggestions import did_you_mean
from skills.nanda.text import flatten

if TYPE_CHECKING:
    from sqlite_utils import Database

_TOKEN = re.compile(r'"([^"]*)"|(\S+)')


def tokens(text: str) -> list[str]:
    """The words of a query, and its phrases: what stands in double quotes.

    Single quotes around all of it are no more than a quoting of the argument. What holds neither a
    letter nor a digit is no word.

    Raises:
        InputError: there is no word in it.
    """
    asked = flatten(text)
    if len(asked) > 1 and asked[0] == asked[-1] == "'":
        asked = asked[1:-1]
    found = [match[1] or match[2] or "" for match in _TOKEN.finditer(asked)]
    found = [token for token in found if any(map(str.isalnum, token))]
    if not found:
        raise InputError(
            f"{asked[:40]!r} holds no word to look for",
            hint='Write words, all of which must be found, or a "phrase in double quotes".',
        )
    return found


def quoted(token: str) -> str:
    """One word or phrase as FTS5 takes it for text, whatever signs and keywords it holds."""
    return '"' + token.replace('"', '""') + '"'


def all_of(found: list[str]) -> str:
    """The FTS5 expression for all of some words and phrases."""
    return " AND ".join(map(quoted, found))


def unknown(what: str, name: str, known: Sequence[str]) -> InputError:
    """The error for a name that nothing has, with those that are near."""
    hint = did_you_mean(name.casefold(), known) or f"There are {', '.join(known)}."
    return InputError(f"there is no {what} {name[:40]!r}", hint=hint)


@dataclass(frozen=True, slots=True)
class Years:
    """A range of years, both ends included; None where it is open."""

    first: int | None = None
    last: int | None = None

    def among(self, db: Database) -> list[int]:
        """The years in it that the corpus has papers of."""
        found: list[int] = []
        after = (self.first or 0) - 1
        # Each the least one after the last: as many steps in the index as there are years.
        while (year := _next_year(db, after)) is not None and year <= (self.last or 9999):
            found.append(year)
            after = year
        return found


def parse_years(text: str) -> Years:
    """ "2024", "2023..2025", "2024.." or "..2022".

    Raises:
        InputError: it is none of these, or ends before it begins.
    """
    parts = text.strip().partition("..")
    ends = [part for part in parts[::2] if part]
    if not ends or not all(re.fullmatch(r"\d{4}", part, re.ASCII) for part in ends):
        raise InputError(
            f"{text!r} is no range of years", hint="Write 2024, 2023..2025, 2024.. or ..2022."
        )
    first, last = (int(part) if part else None for part in parts[::2])
    if not parts[1]:
        last = first
    if first is not None and last is not None and first > last:
        raise InputError(
            f"the years {text} end before they begin", hint="Write the earlier year first."
        )
    return Years(first, last)


def _next_year(db: Database, after: int) -> int | None:
    year = db.conn.execute("SELECT min(year) FROM papers WHERE year > ?", [after]).fetchone()[0]
    return None if year is None else int(year)
