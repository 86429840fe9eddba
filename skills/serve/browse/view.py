"""What the page of papers shows, all of it in its address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from skills.corpus.browsing.facet_counts import COLUMNS
from skills.corpus.browsing.listing import BEST
from skills.corpus.browsing.selection import (
    ANNOTATED,
    MOVE,
    STATED,
    UNKNOWN,
    WAYS,
    Selection,
)

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

    from skills.nanda.framework import Framework

PATH = "/papers"
REVIEW = "/review"
FIRST = "added"
"""The order without a search."""


@dataclass(frozen=True, slots=True)
class View:
    """A selection, its order, and the place in it.

    Attributes:
        sort: as chosen; "" for the default.
        after, before: keys of `listing.page`; at most one is set.
    """

    selection: Selection
    sort: str = ""
    after: str = ""
    before: str = ""

    @property
    def order(self) -> str:
        """The order of the papers: best matches first where words are searched for."""
        has_words = bool(self.selection.words.strip())
        if self.sort and (has_words or self.sort != BEST):
            return self.sort
        return BEST if has_words else FIRST

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The parameters of its address."""
        one = self.selection
        by = one.by if one.by != "words" else ""
        pairs = [("q", one.words), ("by", by), ("where", one.conditions), ("sort", self.sort)]
        pairs += [("after", self.after), ("before", self.before)]
        pairs += [(name, value) for name, values in one.facets.items() for value in values]
        return [(name, value) for name, value in pairs if value]

    @property
    def address(self) -> str:
        query = urlencode(self.pairs, errors="replace")
        return f"{PATH}?{query}" if query else PATH

    @property
    def review(self) -> str:
        """The address that offers these papers for review; "" if a review cannot select them.

        A review takes no search by meaning, and one value of each facet.
        """
        one = self.selection
        conditions = [_condition(name, values) for name, values in one.facets.items() if values]
        if None in conditions or (one.words and one.by != "words"):
            return ""
        where = " ".join(filter(None, (one.conditions.strip(), *conditions)))
        chosen = {name: text for name, text in (("words", one.words), ("where", where)) if text}
        query = urlencode(chosen, errors="replace")
        return f"{REVIEW}?{query}" if query else REVIEW

    def toggled(self, facet: str, value: str) -> View:
        """Return the first page with this value of a facet chosen, or no longer."""
        chosen = self.selection.facets.get(facet, ())
        left = tuple(one for one in chosen if one != value)
        values = left if value in chosen else (*chosen, value)
        facets = {**self.selection.facets, facet: values}
        return View(replace(self.selection, facets=facets), self.sort)

    def at(self, *, after: str = "", before: str = "") -> View:
        """Return another page of the same selection."""
        return replace(self, after=after, before=before)


def _condition(facet: str, values: Sequence[str]) -> str | None:
    """Return the condition of a chosen facet; "" if every annotation meets it, None without one."""
    value, *more = values
    if more or value == UNKNOWN or '"' in value:
        return None
    if facet == "state":
        return "" if value == ANNOTATED else None
    if facet.startswith(MOVE):
        return f"{facet.removeprefix(MOVE)}={'stated' if value == STATED else 'unstated'}"
    return f'{facet}="{value}"' if " " in value else f"{facet}={value}"


def view_of(query: QueryParams, framework: Framework) -> View:
    """Return the view of an address; parameters that it does not have are ignored."""
    names = (*COLUMNS, *(MOVE + name for name in framework.names))
    facets: Mapping[str, tuple[str, ...]] = {
        name: tuple(dict.fromkeys(query.getlist(name))) for name in names if name in query
    }
    asked = query.get("by")
    by = next((by for by in WAYS if by == asked), WAYS[0])
    selection = Selection(query.get("q", ""), query.get("where", ""), facets, by)
    return View(selection, query.get("sort", ""), query.get("after", ""), query.get("before", ""))


def filtered(**facets: str) -> str:
    """Return the address of the papers with these values of facets."""
    return View(Selection(facets={name: (value,) for name, value in facets.items()})).address
