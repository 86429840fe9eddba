"""Count the papers of each cluster by year."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MOST = 20
"""Years with a column of their own; earlier ones share the first."""


@dataclass(frozen=True, slots=True)
class Years:
    """The years of a map, without those before and after its papers.

    Attributes:
        first, last: the years of the first and last column; None if no paper has a year.
        earlier: whether the first column also has the papers before it.
    """

    first: int | None
    last: int | None
    earlier: bool = False

    @property
    def columns(self) -> range:
        """The years in order, one without papers too."""
        return range(self.first, self.last + 1) if self.first and self.last else range(0)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        before = "\N{LESS-THAN OR EQUAL TO}" if self.earlier else ""
        return [f"{before if year == self.first else ''}{year}" for year in self.columns]

    def counts(self, years: Iterable[int | None]) -> list[int]:
        """Return how many of these years are in each column; unknown ones are in none."""
        assert self.first is not None or not self.columns
        found = Counter(max(year, self.first or year) for year in years if year is not None)
        return [found[year] for year in self.columns]


def years_of(known: Sequence[int | None]) -> Years:
    """Return the columns for the years of papers."""
    years = {year for year in known if year is not None}
    if not years:
        return Years(None, None)
    first, last = min(years), max(years)
    return Years(max(first, last - MOST + 1), last, first <= last - MOST)
