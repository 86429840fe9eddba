"""The routes of the corpus: its papers, and each of them."""

from __future__ import annotations

import importlib.util
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.routing import Route

from harness.errors import InputError
from skills.corpus.browsing.facet_counts import FacetCounts
from skills.corpus.browsing.listing import BEST, SORTS
from skills.corpus.browsing.listing import page as page_of
from skills.corpus.browsing.selection import Selection, prepare
from skills.serve.browse.facets import facets_of
from skills.serve.browse.paper import paper_page
from skills.serve.browse.similar import similar_page
from skills.serve.browse.view import PATH, view_of
from skills.serve.pages import page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from skills.serve.state import State

TAB = (PATH, "Papers")
ORDERS = {
    BEST: "Best matches first",
    "added": "Last added first",
    "newest": "Newest first",
    "oldest": "Oldest first",
    "support": "Least supported first",
    "unsupported": "Most unknown numbers and names first",
}
WAYS = {"words": "words", "both": "words and meaning", "meaning": "meaning"}
"""How words are searched for, where the extra `meaning` is installed."""
SHOWN = 8
"""Values of a facet that are shown at once."""


def routes(state: State) -> list[Route]:
    counts = FacetCounts(state.database, state.framework)
    return [
        Route(PATH, partial(_papers, state, counts)),
        Route(PATH + "/{number:int}", partial(paper_page, state)),
        Route(PATH + "/{number:int}/similar", partial(similar_page, state)),
    ]


def _papers(state: State, counts: FacetCounts, request: Request) -> Response:
    framework = state.framework
    view = view_of(request.query_params, framework)
    error, status = "", HTTPStatus.OK
    with state.corpus() as db:
        try:
            prepare(db, view.selection, framework)
            counted = counts.of(db, view.selection)
            order, after, before = view.order, view.after, view.before
            found = page_of(db, view.selection, framework, sort=order, after=after, before=before)
        except InputError as exc:  # beside the form, which keeps what was written
            error, status, found = f"{exc}", HTTPStatus.BAD_REQUEST, None
            counted = counts.of(db, Selection())
    return page(
        request,
        "browse/papers.html",
        status,
        title="Papers",
        view=view,
        found=found,
        review=view.review if state.review.is_corpus else "",
        facets=facets_of(counted, view, framework),
        total=counted.total,
        orders={name: ORDERS[name] for name in SORTS if name != BEST or view.selection.words},
        framework=framework,
        ways=WAYS if importlib.util.find_spec("wordllama") else {},
        error=error,
        shown=SHOWN,
    )
