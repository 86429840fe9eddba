"""The page that lists papers; search, filters and order are parameters of its URL."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from harness.errors import InputError
from skills.corpus.corpus_store import Database
from skills.corpus.db.facets import ANNOTATED, MOVE, STATED, UNKNOWN, UNSTATED
from skills.corpus.listing import (
    BEST,
    COLUMNS,
    SORTS,
    WAYS,
    Counts,
    FacetCounts,
    Listing,
    Selection,
)
from skills.nanda.framework import Framework
from skills.serve.pages import State, kept, page

PATH = "/papers"
REVIEW = "/review"
FIRST = "added"
"""The default order without a search."""
TAB = (PATH, "Papers")
ORDERS = {
    BEST: "Best matches first",
    "added": "Last added first",
    "newest": "Newest first",
    "oldest": "Oldest first",
    "support": "Least supported first",
    "unsupported": "Most unknown numbers and names first",
}
WAY_LABELS = {"words": "words", "both": "words and meaning", "meaning": "meaning"}
"""The labels of the kinds of search; the choice requires the extra `meaning`."""
SHOWN = 8
"""Number of values of a facet that are shown before the user selects "more"."""


@dataclass(frozen=True, slots=True)
class View:
    """A view of the papers: a selection, an order and a page.

    Attributes:
        sort: the selected order; "" for the default order.
        after: the key of the last paper of the previous page, or "".
        before: the key of the first paper of the next page, or ""; if it is set, `after` has no
            effect.
    """

    selection: Selection
    sort: str = ""
    after: str = ""
    before: str = ""

    @property
    def order(self) -> str:
        """The effective order; by default, a search for words shows the best matches first."""
        has_words = bool(self.selection.words.strip())
        if self.sort and (has_words or self.sort != BEST):
            return self.sort
        return BEST if has_words else FIRST

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The URL parameters of the view, as names and values."""
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
        """The URL of the review form for these papers, or "" if the form cannot select them.

        The form does not support a search by meaning, several values of a facet, or a value without
        a filter condition (see `_condition`).
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
        """Return the view with a value of a facet selected, or deselected if it was selected."""
        chosen = self.selection.facets.get(facet, ())
        left = tuple(one for one in chosen if one != value)
        values = left if value in chosen else (*chosen, value)
        facets = {**self.selection.facets, facet: values}
        return View(replace(self.selection, facets=facets), self.sort)

    def at(self, *, after: str = "", before: str = "") -> View:
        """Return another page of the same selection and order."""
        return replace(self, after=after, before=before)


def _condition(facet: str, values: Sequence[str]) -> str | None:
    """Return the selected values of a facet as a filter condition.

    The result is "" if all annotated papers meet the condition, and None if the syntax of filters
    has no such condition.
    """
    value, *more = values
    if more or value == UNKNOWN or '"' in value:
        return None
    if facet == "state":
        return "" if value == ANNOTATED else None
    if facet.startswith(MOVE):
        return f"{facet.removeprefix(MOVE)}={'stated' if value == STATED else 'unstated'}"
    return f'{facet}="{value}"' if " " in value else f"{facet}={value}"


def view_of(query: QueryParams, framework: Framework) -> View:
    """Return the view that URL parameters describe; unknown parameters are ignored."""
    names = (*COLUMNS, *(MOVE + name for name in framework.names))
    facets: Mapping[str, tuple[str, ...]] = {
        name: tuple(dict.fromkeys(query.getlist(name))) for name in names if name in query
    }
    by = next((by for by in WAYS if by == query.get("by")), WAYS[0])
    selection = Selection(query.get("q", ""), query.get("where", ""), facets, by)
    return View(selection, query.get("sort", ""), query.get("after", ""), query.get("before", ""))


def filtered(**facets: str) -> str:
    """Return the URL of the page that lists the papers with these values of facets."""
    return View(Selection(facets={name: (value,) for name, value in facets.items()})).address


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a facet.

    Attributes:
        count: number of papers with the value.
        is_chosen: True if the value is selected.
        address: the URL of the view after selecting or deselecting the value.
    """

    text: str
    count: int
    is_chosen: bool
    address: str


@dataclass(frozen=True, slots=True)
class Facet:
    """A facet and its values.

    Attributes:
        is_move: True if the facet is about a move: stated or not stated.
    """

    label: str
    values: tuple[Value, ...]
    is_move: bool


def facets_of(counts: Counts, view: View, framework: Framework) -> list[Facet]:
    """Return the facets to show, in the order of `counts`.

    A facet of a move is shown with both values if one of them is counted or selected. Other facets
    are shown if they have at least two values or a selected value.
    """
    labels = {MOVE + move.name: move.label for move in framework.moves}
    facets = []
    for name, counted in counts.facets.items():
        chosen = view.selection.facets.get(name, ())
        known = {**dict.fromkeys(chosen, 0), **counted}
        if name in labels and known:
            known = {value: known.get(value, 0) for value in (STATED, UNSTATED)}
        elif len(known) < 2 and not chosen:
            continue
        values = tuple(
            Value(value, known[value], value in chosen, view.toggled(name, value).address)
            for value in _sorted(name, known)
        )
        facets.append(Facet(labels.get(name, name.capitalize()), values, name in labels))
    return facets


def _sorted(name: str, known: Mapping[str, int]) -> list[str]:
    """Return the values of a facet in the order in which a page shows them.

    Years are in descending order. The values of a move keep their order, with "stated" first.
    Other values are ordered by the number of their papers, in descending order.
    """
    if name == "year":
        return sorted(known, key=lambda value: (value.isdigit(), value), reverse=True)
    if name.startswith(MOVE):
        return list(known)
    return sorted(known, key=lambda value: (-known[value], value))


def routes(state: State) -> list[Route]:
    return [Route(PATH, kept(state, _papers, FacetCounts(state.database, state.framework)))]


def _papers(state: State, counts: FacetCounts, request: Request) -> Response:
    framework = state.framework
    view = view_of(request.query_params, framework)
    error, status = "", HTTPStatus.OK
    with state.corpus() as db:
        try:
            listing = Listing(Database(db, framework), view.selection)
            counted = counts.of(listing)
            found = listing.page(sort=view.order, after=view.after, before=view.before)
        except InputError as exc:  # shown next to the form, which keeps the entered text
            error, status, found = f"{exc}", HTTPStatus.BAD_REQUEST, None
            counted = counts.of(Listing(Database(db, framework), Selection()))
    return page(
        request,
        "browse/papers.html",
        status,
        title="Papers",
        view=view,
        found=found,
        review=view.review if state.reviews_corpus else "",
        facets=facets_of(counted, view, framework),
        total=counted.total,
        orders={name: ORDERS[name] for name in SORTS if name != BEST or view.selection.words},
        framework=framework,
        ways=WAY_LABELS if importlib.util.find_spec("wordllama") else {},
        error=error,
        shown=SHOWN,
    )
